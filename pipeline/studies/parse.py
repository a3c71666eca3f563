"""Studies from YAML, checked as configurations are: one sentence with the nearest right name.

title: Final time of the solve
source: Bijsterbosch 2020, table 7.3
question: What does a longer time cost, and does it help?
with: [odenet_simple, fashion_mnist, data.subset=10000]
vary: {model.final_time: [1, 2, 5, 10]}
read: [accuracy, loss, nfe_forward]
paper:
  final_time=1: {accuracy: 88.02, loss: 0.3417, nfe_forward: 26}
scales:
  small: {with: [data.subset=2000, training.max_epochs=8], note: 2 000 images, 8 epochs}
claims:
  - {says: A longer time costs evaluations., rises: all, in: nfe_forward}
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.config import nearest
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.studies.columns import STATUS, Column, parse_column
from pipeline.studies.paper_numbers import PaperNumber, PaperNumberError, parse_number
from pipeline.studies.parse_claim import parse_claim, refuse_unknown_ending
from pipeline.studies.study import FULL, Kind, Scale, Study, StudyError, StudyRun, VerdictRule
from pipeline.util.errors import InvalidInput, brief
from pipeline.util.yaml_text import parse_yaml, read_yaml

FindMetrics = Callable[[Sequence[str]], Sequence[MetricSpec]]
"""The words of a row -> the metrics of the task that they choose."""

KEYS = {
    "title": str, "source": str, "question": str, "doubts": list, "model": str, "with": list, "runs": dict,
    "vary": dict, "read": list, "seeds": list, "scales": dict, "paper": dict, "verdict": dict, "claims": list,
}  # fmt: skip
NEEDED = ("title", "question", "read")
RUN_KEYS = {
    "with": list, "label": str, "block": str, "do": str, "evaluates": str, "solver": dict,
    "tuned": int, "level": float, "ends": str,
}  # fmt: skip
SCALE_KEYS = {"with": list, "seeds": list, "without": list, "note": str}
KINDS: tuple[Kind, ...] = ("train", "measure")
"""What a row may say after `do`; an evaluation says what it evaluates."""
_WORDS = {str: "text", list: "a list", dict: "a section", int: "a whole number", float: "a number"}


def load_study(path: Path, find_metrics: FindMetrics) -> Study:
    """The study in a file.

    Raises:
        YamlError: it cannot be read, or is no YAML.
        StudyError: it is no study.
        ConfigError: a row has an unknown name, key or value.
    """
    text, values = read_yaml(path, "the study")
    return _Parser(path.stem, f"the study {path}", find_metrics).parse(text, values)


def parse_study(text: str, name: str, find_metrics: FindMetrics) -> Study:
    """The study of a text; errors as `load_study` has them."""
    return _Parser(name, f"the study {name}", find_metrics).parse(text, parse_yaml(text, f"the study {name}"))


class _Parser:
    """Of one study: what it says is checked in the order of the file's keys."""

    def __init__(self, name: str, where: str, find_metrics: FindMetrics) -> None:
        self._name, self._where, self._find_metrics = name, where, find_metrics

    def parse(self, text: str, values: Any) -> Study:
        if not isinstance(values, dict):
            raise StudyError(f"{self._where} must have sections, as in title: …, runs: …, read: […]")
        self._check_keys(values, KEYS, "the study")
        for key in NEEDED:
            if key not in values:
                raise StudyError(f"{self._where} has no {key}: add it, as in {key}: …")
        rows, axis = self._rows(values)
        columns = self._columns(values["read"], values.get("model"), rows)
        seeds = self._seeds(values.get("seeds", [0, 1, 2]), "seeds")
        return Study(
            name=self._name,
            text=text,
            title=values["title"],
            source=values.get("source", ""),
            question=values["question"],
            doubts=self._texts(values.get("doubts", []), "doubts"),
            model=values.get("model"),
            rows=rows,
            columns=columns,
            seeds=seeds,
            scales=self._scales(values.get("scales", {}), rows),
            paper=self._paper(values.get("paper", {}), rows, columns),
            rule=self._rule(values.get("verdict", {})),
            claims=tuple(parse_claim(claim, self._where, rows, columns) for claim in values.get("claims", [])),
            axis=axis,
        )

    # Rows

    def _rows(self, values: Mapping[str, Any]) -> tuple[tuple[StudyRun, ...], str]:
        common = self._texts(values.get("with", []), "with")
        given = values.get("runs", {"": {}})
        variations, axis = self._variations(values.get("vary", {}))
        if "runs" not in values and not values.get("vary"):
            raise StudyError(f"{self._where} has neither runs nor vary: name the configurations that it compares")
        rows = []
        for name, run in given.items():
            self._check_keys(run, RUN_KEYS, f"the run {name}")
            for suffix, words, level in variations if "evaluates" not in run else [("", (), None)]:
                rows.append(
                    self._row(
                        name,
                        suffix,
                        run,
                        (*common, *self._texts(run.get("with", []), f"with of {name}"), *words),
                        level,
                    )
                )
        kinds: dict[str, Kind] = {row.name: row.kind for row in rows}
        for row in rows:
            if row.evaluates is None:
                continue
            if row.evaluates not in kinds:
                raise StudyError(
                    f"{self._where}: the run {row.name} evaluates {brief(row.evaluates)}, which is no "
                    f"run{nearest(row.evaluates, kinds)}"
                )
            if kinds[row.evaluates] != "train":
                raise StudyError(
                    f"{self._where}: the run {row.name} evaluates {row.evaluates}, which trains no model: name a run "
                    "that does"
                )
        return tuple(rows), axis

    def _row(
        self, run_name: str, suffix: str, run: Mapping[str, Any], words: tuple[str, ...], level: float | None
    ) -> StudyRun:
        name, label = (", ".join(filter(None, (said, suffix))) for said in (run_name, run.get("label", run_name)))
        kind, evaluates = run.get("do", "train"), run.get("evaluates")
        if kind not in KINDS:
            raise StudyError(
                f"{self._where}: the run {name} does {brief(kind)}; there are {' and '.join(KINDS)}"
                f"{nearest(kind, KINDS)}"
            )
        if evaluates is not None and ("do" in run or "with" in run):
            raise StudyError(
                f"{self._where}: the run {name} evaluates {evaluates}, whose configuration it has: leave "
                f"out do and with, and say solver: {{method: euler}}"
            )
        if evaluates is None and "solver" in run:
            raise StudyError(
                f"{self._where}: solver of the run {name} is for what evaluates another; write solver.method=… in with"
            )
        if "ends" in run:
            refuse_unknown_ending(run["ends"], f"{self._where}: ends of the run {name}")
        return StudyRun(
            name=name,
            label=label,
            block=run.get("block", ""),
            kind="evaluate" if evaluates is not None else kind,
            words=words if evaluates is None else (),
            evaluates=evaluates,
            setting=run.get("solver", {}),
            level=level if level is not None else run.get("level"),
            tuned=run.get("tuned"),
            ends=run.get("ends"),
        )

    def _variations(self, vary: Mapping[str, Any]) -> tuple[list[tuple[str, tuple[str, ...], float | None]], str]:
        """(what it adds to a row's name, its words, its level) of each combination; and what the levels are."""
        for key, values in vary.items():
            if not isinstance(values, list) or not values or any(isinstance(value, list | dict) for value in values):
                raise StudyError(f"{self._where}: vary.{key} must be a list of values, not {brief(values)}")
            if twice := [value for value in values if values.count(value) > 1]:
                raise StudyError(f"{self._where}: vary.{key} has {brief(twice[0])} twice: name it once")
        if not vary:
            return [("", (), None)], "level"
        found = []
        for combination in product(*vary.values()):
            suffix = ", ".join(
                f"{key.rpartition('.')[2]}={value}" for key, value in zip(vary, combination, strict=True)
            )
            # None may be written as `with` writes it; null is YAML's own word.
            words = tuple(
                f"{key}={None if value == 'None' else value!r}" for key, value in zip(vary, combination, strict=True)
            )
            only = combination[0]
            is_level = len(vary) == 1 and isinstance(only, int | float) and not isinstance(only, bool)
            found.append((suffix, words, float(only) if is_level else None))
        return found, next(iter(vary)) if len(vary) == 1 else "level"

    # The rest

    def _columns(self, read: Sequence[Any], model: str | None, rows: Iterable[StudyRun]) -> tuple[Column, ...]:
        of_tasks: dict[str, MetricSpec] = {}
        first = () if model is None else (model,)
        for row in rows:
            if row.evaluates is None:
                with _Within(f"{self._where}, {row.name}"):
                    of_tasks |= {spec.name: spec for spec in self._find_metrics((*first, *row.words))}
        columns = []
        for entry in read:
            with _Within(f"{self._where}, read"):
                columns.append(parse_column(entry, of_tasks.values()))
        if not columns:
            raise StudyError(f"{self._where} reads nothing: name metrics in read")
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            raise StudyError(f"{self._where} reads {max(names, key=names.count)} twice: name it once")
        return tuple(columns)

    def _scales(self, given: Mapping[str, Any], rows: Sequence[StudyRun]) -> dict[str, Scale]:
        scales = {FULL: Scale(FULL)}
        names = [row.name for row in rows]
        for name, values in given.items():
            self._check_keys(values, SCALE_KEYS, f"the scale {name}")
            for left_out in values.get("without", []):
                if left_out not in names:
                    raise StudyError(
                        f"{self._where}: the scale {name} leaves out {brief(left_out)}, which is no "
                        f"run{nearest(str(left_out), names)}"
                    )
            scales[name] = Scale(
                name,
                self._texts(values.get("with", []), f"with of the scale {name}"),
                self._seeds(values["seeds"], f"seeds of the scale {name}") if "seeds" in values else None,
                self._texts(values.get("without", []), f"without of the scale {name}"),
                values.get("note", ""),
            )
        return scales

    def _paper(
        self, given: Mapping[str, Any], rows: Sequence[StudyRun], columns: Sequence[Column]
    ) -> dict[tuple[str, str], PaperNumber]:
        names, readings = [row.name for row in rows], [column.name for column in columns if column.name != STATUS]
        numbers = {}
        for row, cells in given.items():
            if row not in names:
                raise StudyError(
                    f"{self._where}: the paper has numbers of {brief(row)}, which is no run{nearest(row, names)}"
                )
            if not isinstance(cells, dict):
                raise StudyError(
                    f"{self._where}: the paper's numbers of {row} must be named, as in accuracy: 86.06, "
                    f"not {brief(cells)}"
                )
            for column, number in cells.items():
                if column not in readings:
                    raise StudyError(
                        f"{self._where}: the paper has {brief(column)} of {row}, which is not "
                        f"read{nearest(column, readings)}"
                    )
                with _Within(f"{self._where}, {column} of {row}"):
                    numbers[row, column] = parse_number(number)
        return numbers

    def _rule(self, given: Mapping[str, Any]) -> VerdictRule:
        known = [f.name for f in fields(VerdictRule)]
        for key, value in given.items():
            if key not in known:
                raise StudyError(f"{self._where}: verdict has the key {brief(key)}{nearest(key, known)}")
            if key == "interval":
                fits = value in ("confidence", "prediction")
            elif key == "seeds":
                fits = isinstance(value, int) and value >= 2
            else:
                fits = isinstance(value, float) and 0 < value < 1
            if not fits:
                raise StudyError(
                    f"{self._where}: verdict.{key} cannot be {brief(value)}: interval is confidence or "
                    "prediction, level and alpha are between 0 and 1, seeds are at least 2"
                )
        return VerdictRule(**given)

    def _texts(self, given: Any, what: str) -> tuple[str, ...]:
        if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
            raise StudyError(f"{self._where}: {what} must be a list of texts, not {brief(given)}")
        return tuple(given)

    def _seeds(self, given: Any, what: str) -> tuple[int, ...]:
        is_whole = isinstance(given, list) and all(
            isinstance(seed, int) and not isinstance(seed, bool) for seed in given
        )
        if not is_whole or not given or len(set(given)) != len(given) or min(given) < 0:
            raise StudyError(
                f"{self._where}: {what} must be a list of different whole numbers from 0, not {brief(given)}"
            )
        return tuple(given)

    def _check_keys(self, values: Any, known: Mapping[str, type], what: str) -> None:
        if not isinstance(values, dict):
            raise StudyError(f"{self._where}: {what} must be a section with keys, not {brief(values)}")
        for key, value in values.items():
            if key not in known:
                raise StudyError(f"{self._where}: {what} has the key {brief(key)}{nearest(key, known)}")
            wanted = (int, float) if known[key] is float else known[key]
            if not isinstance(value, wanted) or (isinstance(value, bool) and known[key] is not bool):
                raise StudyError(f"{self._where}: {key} of {what} must be {_WORDS[known[key]]}, not {brief(value)}")


class _Within:
    """Within it an error names where in the study it is."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, InvalidInput | PaperNumberError):
            raise StudyError(f"{self._where}: {error}") from error
