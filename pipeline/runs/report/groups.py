"""Which runs can be asked together which of their settings matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.reporting.importance import Importance, measure_importance
from pipeline.runs.report.variables import Variable
from pipeline.runs.summary import RunSummary
from pipeline.tracking.run_document import RunStatus

MOST_GROUPS = 4
TRAININGS = ("training", "trial", "check", "rerun", "tracked", "foreign")
COST = "last solver.nfe_forward"
"""Asked for beside the result."""


@dataclass(frozen=True)
class GroupImportance:
    """The importances of one group of runs for one result."""

    group: str
    result: str
    """Name of a `Variable`."""
    importance: Importance


def find_importances(rows: Sequence[RunSummary], variables: Sequence[Variable]) -> list[GroupImportance]:
    """For the largest groups: the trials of a sweep, or the trainings of one task on one data set."""
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if row.kind.name in TRAININGS:
            groups.setdefault(_group(row), []).append(place)
    largest = sorted((one for one in groups.items() if len(one[1]) > 1), key=lambda one: -len(one[1]))[:MOST_GROUPS]
    return [found for name, places in largest for found in _importances_of(name, places, rows, variables)]


def _group(row: RunSummary) -> str:
    if row.kind.name in ("trial", "check"):
        return f"trials of sweep {row.kind.of}"
    return f"{row.task} on {row.data}"


def _importances_of(
    name: str, places: Sequence[int], rows: Sequence[RunSummary], variables: Sequence[Variable]
) -> list[GroupImportance]:
    settings = [one for one in variables if one.kind == "setting" and one.name != "seed"]
    wanted = [one for one in (main_result(rows, variables, places), _named(variables, COST)) if one is not None]
    found = []
    for result in wanted:
        having = [place for place in places if result.values[place] is not None]
        if not having or (result.name == COST and len({result.values[place] for place in having}) == 1):
            continue
        configs: list[Mapping[str, Any]] = [{one.name: one.values[place] for one in settings} for place in having]
        values = [float(result.values[place]) for place in having]  # type: ignore[arg-type]  # results are numbers
        found.append(GroupImportance(name, result.name, measure_importance(configs, values)))
    return found


def main_result(rows: Sequence[RunSummary], variables: Sequence[Variable], places: Sequence[int]) -> Variable | None:
    """What these runs are judged by: the result of the test, or of what most have no test, the best of validation."""
    tested = [spec.name for place in places for spec in rows[place].results if rows[place].status != RunStatus.RUNNING]
    first = tested[0] if tested else ""
    quantity = first.partition(".")[2]
    names = [first, f"best validation.{quantity}", "best validation.loss", "last loss"]
    known = [one for one in (_named(variables, name) for name in names) if one is not None]
    known += [one for one in variables if one.kind == "result" and one.better is not None and one.name not in names]
    return max(known, key=lambda one: sum(one.values[place] is not None for place in places), default=None)


def _named(variables: Sequence[Variable], name: str) -> Variable | None:
    return next((one for one in variables if one.name == name), None)
