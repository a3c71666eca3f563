"""Conditions on stored runs, as the words of a command line: `result>=0.9`, `status!=FAILED`, `since=2d`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.config import nearest
from pipeline.config.overrides import literal
from pipeline.plugins import registry
from pipeline.tasks import lookup
from pipeline.tracking.kind import KINDS, kind_of, model_and_data
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.run_document import RunStatus
from pipeline.util.errors import LONGEST_VALUE, InvalidInput, brief, shortened
from pipeline.util.plain_values import plain

SHORT = {
    "tag": "omniboard.tags",
    "note": "omniboard.notes",
    "name": "omniboard.name",
    "data": "config.data.name",
    "lr": "config.training.lr",
    "seed": "config.seed",
    "task": "experiment.task",
    "sweep": "info.sweep.id",
    "parent": "info.parent",
    "rerun_of": "info.rerun_of",
    "host": "host.hostname",
    "params": "info.parameters.total",
    "epochs": "info.training.epochs",
    "started": "start_time",
    "stopped": "stop_time",
}
"""Short name -> the path in a run's document."""
TIMES = ("start_time", "stop_time", "heartbeat")
STORED = ("config", "info", "experiment", "host", "meta", "omniboard")
"""Sections of a document; what is in them is known by what runs have."""
FIELDS = ("_id", "status", "result", "format", *TIMES)
_WORD = re.compile(r"(?P<field>[^=!<>~]+)(?P<operator><=|>=|!=|!~|=|<|>|~)(?P<text>.*)", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhdw])")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_COMPARED: Mapping[str, str] = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_BY_THE_CLOCK = (RunStatus.RUNNING, RunStatus.DIED)
"""Which of them a run is that says RUNNING, its heartbeat tells."""
Filters = Mapping[str, Any] | Sequence[str]
"""Dotted path -> value, or words such as `result>=0.9`."""


@dataclass(frozen=True)
class Condition:
    """One condition.

    Attributes:
        path: in a run's document; `status`, `model` and `kind` are computed from it.
        operator: `=`, `!=`, `<`, `<=`, `>`, `>=`, `~` (contains, in either case), `!~`, or `is`: has this value.
        word: as it was written.
    """

    path: str
    operator: str
    value: Any
    word: str
    text: str | None = None
    """Of the value, as it was written."""

    def query(self) -> dict[str, Any]:
        """As MongoDB asks it; for what is computed, what every run that meets it meets."""
        if self.path == "status":
            return _status_query(self.operator, self.value)
        if self.path in ("model", "kind"):
            return {}
        if self.operator == "is":
            return {self.path: {"$eq": self.value}}
        if self.operator in _COMPARED:
            return {self.path: {_COMPARED[self.operator]: self.value}}
        if self.operator in ("~", "!~"):
            # As an operator: a pattern itself is looked for in an index by the embedded store.
            contains = {"$regex": re.escape(str(self.value)), "$options": "i"}
            return {self.path: contains if self.operator == "~" else {"$not": contains}}
        values = [self.value] if isinstance(self.value, datetime) else _values(self.value, self.text)
        return {self.path: {"$in" if self.operator == "=" else "$nin": values}}

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Whether a document that `query` has found meets it."""
        is_equal = self.operator in ("=", "is")
        if self.path == "status":
            return (effective_status(document).value == self.value) is is_equal
        if self.path == "kind":
            return (kind_of(document).name == self.value) is is_equal
        if self.path == "model":
            return self._is_model(document)
        return True

    def _is_model(self, document: Mapping[str, Any]) -> bool:
        model, listed = document["config"].get("model"), model_and_data(document)[0]
        section = model if isinstance(model, Mapping) else {}
        names = [str(name).lower() for name in (section.get("architecture"), section.get("body"), listed)]
        wanted = str(self.value).lower()
        if self.operator in ("~", "!~"):
            return any(wanted in name for name in names) == (self.operator == "~")
        return (wanted in names) == (self.operator in ("=", "is"))


def combined(queries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All of these at once; `$and` only where it must be, as the embedded store uses no index for it."""
    flat: dict[str, Any] = {}
    others = []
    for query in queries:
        together = {path: _both(flat[path], query[path]) for path in flat.keys() & query.keys()}
        if None in together.values():
            others.append(query)
        else:
            flat |= {**query, **together}
    return {**flat, "$and": others} if others else flat


def _both(first: Any, second: Any) -> dict[str, Any] | None:
    """What two conditions ask of one field, as one; None where they use the same operator, or none."""
    are_operators = isinstance(first, Mapping) and isinstance(second, Mapping)
    return {**first, **second} if are_operators and not first.keys() & second.keys() else None


def conditions(filters: Filters) -> list[Condition]:
    """The conditions that words, or a mapping of exact values, are.

    Raises:
        InvalidInput: a word that is none, an unknown status or kind, or a value that cannot be compared.
    """
    if isinstance(filters, Mapping):
        return [Condition(path, "is", value, f"{path}={value}") for path, value in plain(filters).items()]
    if isinstance(filters, str):
        raise InvalidInput(f"the filters are the text {brief(filters)}: give a list, as [{brief(filters)}]")
    return [parse(word) for word in filters]


def parse(word: str) -> Condition:
    """The condition that a word is.

    Raises:
        InvalidInput: as for `conditions`.
    """
    match = _WORD.fullmatch(word)
    if match is None or word.startswith("$"):
        raise InvalidInput(
            f"{brief(word)} is not a filter; write it as in data=digits, 'result>=0.9', status!=FAILED or since=2d"
        )
    field, operator, text = match["field"].strip(), match["operator"], match["text"].strip()
    if field in ("since", "until"):
        if operator != "=":
            raise InvalidInput(f"{brief(word)}: write it as in {field}=2d or {field}=2026-11-20")
        return Condition("start_time", ">=" if field == "since" else "<", _time(word, text), word)
    path = path_of(field)
    if path in TIMES:
        return Condition(path, operator, _time(word, text), word)
    if path in ("status", "kind"):
        return Condition(path, operator, _choice(word, path, operator, text), word)
    value: Any = literal(text)
    if operator in _COMPARED and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidInput(
            f"{brief(word)} compares with {brief(text)}, which is no number: write it as in 'result>=0.9'"
        )
    return Condition(path, operator, text if operator in ("~", "!~") else value, word, text)


def path_of(field: str) -> str:
    """Where a field of a command line is in a run's document; the field itself where nothing tells."""
    if field in SHORT:
        return SHORT[field]
    if field in FIELDS or field in ("model", "kind") or field.partition(".")[0] in STORED:
        return field
    if field == "id":
        return "_id"
    if field in config_keys():
        return f"config.{field}"
    for metric in (field, f"test.{field}"):
        if metric in test_metrics():
            return f"info.{metric}"
    return field


def config_keys() -> list[str]:
    """The keys of every task's configurations, dotted."""
    found = (key for name in registry.names("task") for key in lookup.config_class(name).keys())  # noqa: SIM118
    return list(dict.fromkeys(found))


def test_metrics() -> list[str]:
    """The metrics of every task's test, as test.accuracy."""
    found = (spec.name for name in registry.names("task") for spec in lookup.metric_specs(name))
    return [name for name in dict.fromkeys(found) if name.startswith("test.")]


def known_paths() -> list[str]:
    """The paths that a run can have something at, whichever runs there are; `info` has more."""
    return [*FIELDS, "model", "kind", *(f"config.{key}" for key in config_keys()), *SHORT.values()]


def is_known(path: str) -> bool:
    """Whether it is one of these, or a metric of a test."""
    return path in known_paths() or path in [f"info.{name}" for name in test_metrics()]


def places_of(path: str) -> tuple[str, ...]:
    """Where runs may have what `path_of` leaves as it is, as a key or a metric of a plug-in that is not loaded here."""
    return path, f"config.{path}", f"info.test.{path.removeprefix('test.')}"


def located(wanted: Iterable[Condition], is_stored: Callable[[str], bool]) -> list[Condition]:
    """The conditions, those on keys and metrics of plug-ins with the path at which runs have them.

    Args:
        is_stored: whether some run has something at a path.

    Raises:
        InvalidInput: a field that no run has and no configuration, with the nearest one that there is.
    """
    return [one if is_known(one.path) else replace(one, path=_stored_path(one, is_stored)) for one in wanted]


def _stored_path(condition: Condition, is_stored: Callable[[str], bool]) -> str:
    path = condition.path
    if (found := next(filter(is_stored, places_of(path)), None)) is not None:
        return found
    field = _WORD.fullmatch(condition.word)
    shown = shortened(field["field"].strip() if field else path, LONGEST_VALUE)
    raise InvalidInput(f"no run has a field {shown}{nearest_field(path)}")


def _names_of_fields() -> list[str]:
    return [*SHORT, "since", "until", *known_paths()]


def nearest_field(path: str) -> str:
    """' (did you mean …?)' with the field or the metric that a misspelt one may mean, or nothing."""
    known = _names_of_fields()
    last = path.rpartition(".")[2]
    same = [key for key in known if key == path.lower() or key.rpartition(".")[2] == last.lower()]
    metrics = test_metrics()
    names = [*known, *metrics, *(name.removeprefix("test.") for name in metrics)]
    return f" (did you mean {same[0]}?)" if same else nearest(path, names)


def _values(value: Any, text: str | None) -> list[Any]:
    """What somebody may mean by a value of a command line: a number, the text of one, or what was written."""
    meant = [value] if isinstance(value, str) or value is None else [value, str(value)]
    return meant if text is None or text in meant else [*meant, text]


def _status_query(operator: str, status: str) -> dict[str, Any]:
    is_equal = operator in ("=", "is")
    if status in _BY_THE_CLOCK:
        return {"status": {"$in": [one.value for one in _BY_THE_CLOCK]}} if is_equal else {}
    return {"status": {"$eq" if is_equal else "$ne": status}}


def _choice(word: str, path: str, operator: str, text: str) -> str:
    known = [status.value for status in RunStatus] if path == "status" else list(KINDS)
    if operator not in ("=", "!="):
        raise InvalidInput(f"{brief(word)}: a {path} is compared with = or !=, as in {path}={known[0]}")
    same = next((name for name in known if name.lower() == text.lower()), None)
    if same is None:
        meant = nearest(text.upper() if path == "status" else text.lower(), known)
        raise InvalidInput(f"there is no {path} {brief(text)}{meant}; there are {', '.join(known)}")
    return same


def _time(word: str, text: str) -> datetime:
    """A time in UTC without saying so, as the store has it, of a date or of a duration before now."""
    if duration := _DURATION.fullmatch(text):
        try:
            ago = timedelta(seconds=float(duration[1]) * _SECONDS[duration[2]])
            return (datetime.now(UTC) - ago).replace(tzinfo=None)
        except OverflowError:
            return datetime(1970, 1, 1)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{brief(word)} names no time: write it as in since=2d, since=6h or since=2026-11-20"
        ) from None
    return time.astimezone(UTC).replace(tzinfo=None)
