"""Which runs can be asked together which of their settings matter."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.reporting.importance import Importance, measure_importance
from pipeline.runs.report.variables import Variable
from pipeline.runs.summary import RunSummary

MOST_GROUPS = 4
TRAININGS = ("training", "trial", "rerun", "tracked", "foreign")
COST = "last solver.nfe_forward"
"""Asked for beside the result."""
ENOUGH = 0.7
"""Of the runs that another result has, one that goes before it must have so many."""


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
    if row.kind.name == "trial":
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
    """What these runs are judged by: the result of the test, or where many have none the best of validation.

    Trials of a search are judged by validation first, as the test is not for choosing among them.
    """
    tested = Counter(next(iter(rows[place].results)).name for place in places if rows[place].results)
    first = tested.most_common(1)[0][0] if tested else ""
    names = [first, f"best validation.{first.partition('.')[2]}", "best validation.loss"]
    if sum(rows[place].kind.name == "trial" for place in places) > len(places) / 2:
        names = [*names[1:], first]
    known = [one for one in (_named(variables, name) for name in names) if one is not None]
    known += [one for one in variables if one.kind == "result" and one.name not in names]
    having = [sum(one.values[place] is not None for place in places) for one in known]
    enough = ENOUGH * max(having[: len(names)], default=0)
    return next((one for one, number in zip(known, having, strict=True) if number and number >= enough), None)


def _named(variables: Sequence[Variable], name: str) -> Variable | None:
    return next((one for one in variables if one.name == name), None)
