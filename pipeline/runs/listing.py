"""Lists of runs on a terminal: columns by their worth where it is narrow, and runs taken together in groups."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite, isnan
from statistics import fmean, stdev
from typing import Any, Literal

from rich.table import Table

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.seeds import seed_key, seed_means
from pipeline.reporting.text_table import NOTHING, left, list_table, right, shown
from pipeline.reporting.words import counted
from pipeline.runs.filters import is_known, nearest_field, path_of, places_of
from pipeline.runs.query import StoredRun
from pipeline.runs.summary import RunSummary, seconds_taken
from pipeline.tracking.kind import kind_of, model_and_data
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.run_document import aware, plugins_of, test_specs
from pipeline.util.errors import InvalidInput, brief
from pipeline.util.nested import flatten
from pipeline.util.plain_values import by_value

Grouping = Literal["seed", "sweep", "config"]
LONGEST_CELL = 40
"""Characters of a name, a note or a change; longer ones end in …"""
UNMISSED = 6
"""Columns of no more worth are left out without a word."""
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
Key = tuple[str, ...]


@dataclass(frozen=True)
class ListColumn:
    """A column of a list.

    Attributes:
        heading: above it.
        cells: one for each run.
        worth: columns of less worth are left out first where a terminal has no room; None: never.
        is_number: whether it is aligned to the right.
    """

    heading: str
    cells: tuple[str, ...]
    worth: int | None
    is_number: bool = False

    @property
    def width(self) -> int:
        return max(len(self.heading), *map(len, self.cells)) if self.cells else len(self.heading)

    @property
    def is_empty(self) -> bool:
        return all(cell in (NOTHING, "") for cell in self.cells)


def runs_table(rows: Sequence[RunSummary], width: int | None = None) -> Table:
    """One line a run, with a column for each metric of the test split that one of them has.

    Args:
        width: of the terminal. Columns that it has no room for are left out, and named below the table.
    """
    return fitted_table(list_columns(rows), width)


def field_table(runs: Sequence[StoredRun], fields: Mapping[str, list[Any]], width: int | None = None) -> Table:
    """One line a run, with its id, its status and its fields, as `field_values` gives them."""
    columns = [
        ListColumn("run", tuple(str(run.run_id) for run in runs), None),
        ListColumn("status", tuple(run.status.value for run in runs), None),
    ]
    for field, found in fields.items():
        is_number = all(isinstance(value, int | float | None) for value in found)
        columns.append(ListColumn(field, tuple(_cell(value) for value in found), None, is_number))
    return fitted_table(columns, width)


def field_values(runs: Sequence[StoredRun], fields: Sequence[str]) -> dict[str, list[Any]]:
    """Field -> what each run has there.

    Raises:
        InvalidInput: none of the runs has a field of this name.
    """
    values = [run_values(run) for run in runs]
    paths = {field: _path_in(field, values) for field in fields}
    return {field: [row.get(path) for row in values] for field, path in paths.items()}


def run_values(run: StoredRun) -> dict[str, Any]:
    """What a run can be sorted by or show: its document, flat, with `model`, `kind` and `status` as a list has them."""
    document = run.document
    computed = {
        "model": model_and_data(document)[0],
        "kind": str(kind_of(document)),
        "status": effective_status(document).value,
        "duration": seconds_taken(document),
    }
    return flatten(document) | computed


def sorted_runs(runs: Sequence[StoredRun], field: str) -> list[StoredRun]:
    """The runs by a field, ascending, or with `-` before it descending; those without it last.

    Raises:
        InvalidInput: none of the runs has a field of this name.
    """
    name, is_descending = field.removeprefix("-"), field.startswith("-")
    values = [run_values(run) for run in runs]
    path = _path_in(name, values)
    rows = list(zip(values, runs, strict=True))
    having = [(row[path], run) for row, run in rows if _is_there(row.get(path))]
    without = [run for row, run in rows if not _is_there(row.get(path))]
    kinds = {float if isinstance(value, int | float) else type(value) for value, _ in having}
    as_text = len(kinds) > 1 or not kinds <= {float, str, datetime}  # what cannot be ordered otherwise

    def key(pair: tuple[Any, StoredRun]) -> Any:
        return str(pair[0]) if as_text else pair[0]

    return [run for _, run in sorted(having, key=key, reverse=is_descending)] + without


def _is_there(value: Any) -> bool:
    """Whether there is a value, which what is no number has no place among."""
    return not (value is None or (isinstance(value, float) and isnan(value)))


@dataclass(frozen=True)
class RunGroup:
    """Runs that are taken together.

    Attributes:
        rows: of the group, newest first.
        is_of_sweep: they differ in more than their seeds, of which trials have one.
        completed: those of them that count for means.
    """

    rows: tuple[RunSummary, ...]
    is_of_sweep: bool = False

    @property
    def counted(self) -> str:
        """How many of the runs count, as in: 3 of 4, 2 seeds."""
        repeated = "" if self._seeds == len(self.completed) else f", {counted(self._seeds, 'seed')}"
        return f"{len(self.completed)} of {len(self.rows)}{repeated}"

    @property
    def completed(self) -> tuple[RunSummary, ...]:
        return tuple(row for row in self.rows if row.status == "COMPLETED")

    def spread(self, spec: MetricSpec) -> str:
        """Mean ± standard deviation of the sample over the seeds of the completed runs, or over all of a sweep."""
        values = self._values(spec)
        if not values:
            return NOTHING
        deviation = f" ± {shown(stdev(values), spec.format)}" if len(values) > 1 else ""
        left_out = f" ({len(values)} of {self._seeds})" if len(values) < self._seeds else ""
        return f"{shown(fmean(values), spec.format)}{deviation}{left_out}"

    def _values(self, spec: MetricSpec) -> list[float]:
        """The finite ones, one a seed."""
        found = ((self._seed(row), _result_of(row, _kind(spec))) for row in self.completed)
        return seed_means((key, value) for key, value in found if isinstance(value, int | float) and isfinite(value))

    @property
    def _seeds(self) -> int:
        return len(set(map(self._seed, self.completed)))

    def _seed(self, row: RunSummary) -> Hashable:
        return seed_key(row.run_id, None if self.is_of_sweep else row.seed)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        specs = {spec.quantity: spec for row in self.rows for spec in row.results}
        values = {name: self._values(spec) for name, spec in specs.items()}
        return {
            "run_ids": [row.run_id for row in self.rows],
            "completed": len(self.completed),
            "seeds": len({row.seed for row in self.completed if row.seed is not None}),
            "mean": {name: fmean(found) for name, found in values.items() if found},
            "standard_deviation": {name: stdev(found) for name, found in values.items() if len(found) > 1},
        }


def group_runs(runs: Sequence[StoredRun], rows: Sequence[RunSummary], by: Grouping) -> list[RunGroup]:
    """The runs in groups, in the order of their newest run.

    Args:
        by: `seed`: runs that differ in nothing but their seed; `config`: in nothing at all; `sweep`: of one sweep.
    """
    groups: dict[Hashable, list[RunSummary]] = {}
    for run, row in zip(runs, rows, strict=True):
        groups.setdefault(_GROUPED_BY[by](run, row), []).append(row)
    return [RunGroup(tuple(members), by == "sweep") for members in groups.values()]


def groups_table(groups: Sequence[RunGroup], width: int | None = None) -> Table:
    """One line a group: its runs, and the mean ± standard deviation of each metric of the test split."""
    first = [group.rows[0] for group in groups]
    results = _result_columns([row for group in groups for row in group.rows])
    columns = [
        ListColumn("runs", tuple(_ids(group.rows) for group in groups), None),
        ListColumn("n", tuple(group.counted for group in groups), None),
        ListColumn("model", tuple(row.model for row in first), 21),
        ListColumn("data", tuple(row.data for row in first), 20),
        ListColumn("changed", tuple(_changes(row) for row in first), 1),
        *(
            ListColumn(heading, tuple(_spread(group, kind) for group in groups), _worth(place, is_first), True)
            for place, (kind, (heading, is_first)) in enumerate(results.items())
        ),
    ]
    if any(row.tested for group in groups for row in group.rows):
        columns.append(ListColumn("tested on", tuple(_tested(group) for group in groups), None))
    return fitted_table(columns, width)


def duration(seconds: float | None) -> str:
    """As in: 45 s, 12 min, 3 h, 2 d."""
    if seconds is None:
        return NOTHING
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds / size:.0f} {unit}"


def list_columns(rows: Sequence[RunSummary]) -> list[ListColumn]:
    """All columns of a list of these runs."""

    def column(
        heading: str, cell: Callable[[RunSummary], str], worth: int | None, is_number: bool = False
    ) -> ListColumn:
        return ListColumn(heading, tuple(cell(row) for row in rows), worth, is_number)

    seeds = {row.seed for row in rows}
    optional = [
        column("name", lambda row: _short(row.name or NOTHING), 19),
        column("kind", lambda row: str(row.kind), 18),
        column("tags", lambda row: _short(", ".join(row.tags) or NOTHING), 9),
        column("changed", _changes, 8),
    ]
    name, kind, tags, changed = optional
    results = [
        column(heading, lambda row, of=column_kind: _result(row, of), _worth(place, is_first), True)  # type: ignore[misc]
        for place, (column_kind, (heading, is_first)) in enumerate(_result_columns(rows).items())
    ]
    found = [
        column("run", lambda row: str(row.run_id), None),
        name,
        column("status", lambda row: row.status.value, None),
        *([kind] if any(row.kind.name != "training" for row in rows) else []),
        column("model", lambda row: row.model, 21),
        column("data", lambda row: row.data, 20),
        *([column("seed", lambda row: shown(row.seed), 7, True)] if len(seeds) > 1 else []),
        *results,
        *([column("tested on", _tested_on, None)] if any(row.tested for row in rows) else []),
        column("params", lambda row: shown(row.parameters, ","), 14, True),
        column("NFE", _evaluations, 15, True),
        column("epochs", lambda row: shown(row.epochs, "d"), 17, True),
        column("s/epoch", lambda row: shown(row.epoch_seconds, ".1f"), 16, True),
        column("took", lambda row: duration(row.seconds), 5, True),
        column("age", lambda row: duration(row.age), 6, True),
        tags,
        changed,
    ]
    return [one for one in found if one not in (name, tags, changed) or not one.is_empty]


def fitted_table(columns: Sequence[ListColumn], width: int | None) -> Table:
    """As many of the columns as there is room for; where those that stay have none, words go on in the next line."""
    kept = list(columns)
    for column in sorted((one for one in columns if one.worth is not None), key=lambda one: one.worth or 0):
        if width is None or sum(one.width + 1 for one in kept) < width:  # a space before each, and one behind all
            break
        kept.remove(column)
    table = list_table(
        one for column in kept for one in (right(column.heading) if column.is_number else left(column.heading))
    )
    for printed in table.columns:
        printed.no_wrap, printed.overflow = False, "fold"  # rather than cut off
    if named := [column.heading for column in columns if column not in kept and (column.worth or 0) > UNMISSED]:
        table.caption, table.caption_justify = f"{', '.join(named)}: in a wider terminal, or with --json", "left"
    for cells in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*cells)
    return table


def _tested_on(row: RunSummary) -> str:
    is_tested = row.kind.name not in ("tracked", "foreign") and any(value is not None for value in row.results.values())
    return row.tested or ("all" if is_tested else NOTHING)


def _tested(group: RunGroup) -> str:
    parts = dict.fromkeys(_tested_on(row) for row in group.rows)
    return ", ".join(part for part in parts if part != NOTHING) or NOTHING


def _result_of(row: RunSummary, kind: Key) -> float | None:
    return next((value for spec, value in row.results.items() if _kind(spec) == kind), None)


def _result(row: RunSummary, kind: Key) -> str:
    return next((shown(value, spec.format) for spec, value in row.results.items() if _kind(spec) == kind), NOTHING)


def _kind(spec: MetricSpec) -> Key:
    """What has to be the same of two metrics that share a column."""
    return spec.name, spec.heading, spec.unit, spec.format


def _result_columns(rows: Sequence[RunSummary]) -> dict[Key, tuple[str, bool]]:
    """The columns of results, in the order of the runs that have them -> their headings, and whether some task's first.

    Equal headings get their tasks' names.
    """
    tasks: dict[Key, str] = {}
    places: dict[Key, int] = {}
    for specs, task in [(list(row.results), row.task) for row in rows] or [(list(test_specs({})), "")]:
        for place, kind in enumerate(map(_kind, specs)):
            tasks.setdefault(kind, task)
            places[kind] = min(place, places.get(kind, place))
    headings = Counter(heading for _, heading, *_ in places)
    return {
        kind: (kind[1] if headings[kind[1]] == 1 else f"{tasks[kind]} {kind[1]}", places[kind] == 0) for kind in places
    }


def _worth(place: int, is_first: bool) -> int | None:
    """Of a column of results in its place among them; that of a task's first one is never left out without a word."""
    if place == 0:
        return None
    return 17 if is_first else max(12 - place, 1)


def _spread(group: RunGroup, kind: Key) -> str:
    specs = (spec for row in group.rows for spec in row.results if _kind(spec) == kind)
    return next((group.spread(spec) for spec in specs), NOTHING)


def _evaluations(row: RunSummary) -> str:
    backward = f" + {row.nfe_backward:.1f}" if row.nfe_backward is not None else ""
    return shown(row.nfe_forward, ".1f") + backward


def _changes(row: RunSummary) -> str:
    """What the command line changed, by the keys' last parts: lr=0.01, method=rk4."""
    words = [f"{key.rpartition('.')[2]}={_cell(value)}" for key, value in row.changed.items() if key != "seed"]
    return _short(", ".join(words) or NOTHING)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def _cell(value: Any) -> str:
    if isinstance(value, datetime):  # in the time zone in which filters take one
        return f"{aware(value).astimezone():%Y-%m-%d %H:%M:%S}"
    return shown(value, ".6g") if isinstance(value, float) else _short(shown(value))


def _ids(rows: Sequence[RunSummary]) -> str:
    ids = [str(row.run_id) for row in rows]
    return ", ".join(ids) if len(ids) <= 4 else f"{ids[-1]} … {ids[0]}"


def _path_in(field: str, values: Sequence[Mapping[str, Any]]) -> str:
    """The path of a field that some of the runs have."""
    path = path_of(field)
    for place in places_of(path):
        if any(place in row for row in values):
            return place
    if not values or is_known(path):
        return path
    raise InvalidInput(
        f"none of these runs has a field {brief(field)}{nearest_field(path)}; `odenet show ID --json` names a run's"
    )


def _seedless(run: StoredRun, _: RunSummary) -> Hashable:
    return _as_key({key: value for key, value in run.whole_config.items() if key != "seed"}, run)


def _whole(run: StoredRun, _: RunSummary) -> Hashable:
    return _as_key(run.whole_config, run)


def _sweep(run: StoredRun, row: RunSummary) -> Hashable:
    return (str(row.kind.of),) if row.kind.name in ("trial", "check") else ("", str(run.run_id))


def _as_key(config: Mapping[str, Any], run: StoredRun) -> Hashable:
    return run.task, by_value(config), *plugins_of(run.document)


_GROUPED_BY: Mapping[Grouping, Callable[[StoredRun, RunSummary], Hashable]] = {
    "seed": _seedless,
    "config": _whole,
    "sweep": _sweep,
}
