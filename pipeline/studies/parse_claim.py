"""Claims of a study's YAML: a sentence, and one test with what it takes."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pipeline.config import nearest
from pipeline.studies.columns import STATUS, Column
from pipeline.studies.study import Claim, ClaimKind, StudyError, StudyRun
from pipeline.sweeps.state import COMPLETED, REPEATABLE
from pipeline.util.errors import brief

KINDS: tuple[ClaimKind, ...] = get_args(ClaimKind)
OPTIONS: Mapping[ClaimKind, str] = {
    "equivalent": "within", "ratio": "between", "rises": "over", "falls": "over", "ends": "as",
}  # fmt: skip
"""What a test takes beside its runs and its column."""
KEYS = ("says", "in", *sorted(set(OPTIONS.values())), *KINDS)
LARGEST = sys.float_info.max
"""YAML's whole numbers have no end."""
TWO_ROWS = ("equivalent", "differ", "higher", "lower", "ratio")
SEVERAL_ROWS = ("order", "rises", "falls")
"""Tests that need two runs or more, unless over epochs."""


def parse_claim(given: Any, where: str, rows: Sequence[StudyRun], columns: Sequence[Column]) -> Claim:
    """The claim that a section of the YAML is.

    Args:
        where: names the study in the error message.

    Raises:
        StudyError: it is none, or names what the study does not have.
    """
    if not isinstance(given, dict) or not isinstance(given.get("says"), str):
        raise StudyError(
            f"{where}: a claim is a sentence and its test, as in {{says: …, higher: [a, b], in: accuracy}}, "
            f"not {brief(given)}"
        )
    where = f"{where}, the claim {brief(given['says'])}"
    kind = _kind(given, where)
    over = given.get("over", "rows")
    if over not in ("rows", "epochs"):
        raise StudyError(f"{where}: over is rows or epochs, not {brief(over)}")
    if kind == "ends":
        refuse_unknown_ending(given.get("as"), f"{where}: as")
    return Claim(
        says=given["says"],
        kind=kind,
        rows=_rows(given[kind], kind, over, rows, where),
        column="" if kind == "ends" else _column(given, over, columns, where),
        within=_margin(given, where) if kind == "equivalent" else None,
        between=_range(given, where) if kind == "ratio" else None,
        over=over,
        ends=given["as"] if kind == "ends" else "",
    )


def refuse_unknown_ending(given: Any, what: str) -> None:
    """
    Raises:
        StudyError: no run ends so, or one that did is done again, as where memory ran out.
    """
    endings = (COMPLETED, *REPEATABLE)
    if given not in endings:
        raise StudyError(f"{what} is one of {', '.join(endings)}, not {brief(given)}{nearest(str(given), endings)}")


def _kind(given: Mapping[str, Any], where: str) -> ClaimKind:
    for key in given:
        if key not in KEYS:
            raise StudyError(f"{where} has the key {brief(key)}{nearest(key, KEYS)}")
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        raise StudyError(f"{where} needs one test, of {', '.join(KINDS)}, and has {len(kinds)}")
    kind = kinds[0]
    taken = {"says", kind, OPTIONS.get(kind), None if kind == "ends" else "in"}
    for key in given:
        if key not in taken:
            others = " and ".join(other for other, option in OPTIONS.items() if option == key) or "the other tests"
            raise StudyError(f"{where}: {key} is for {others}, and {kind} does not take it: leave it out")
    return kind


def _rows(given: Any, kind: ClaimKind, over: str, rows: Sequence[StudyRun], where: str) -> tuple[str, ...]:
    names = [row.name for row in rows]
    named = names if given == "all" else given
    if not isinstance(named, list) or not named:
        raise StudyError(f"{where}: {kind} names runs in a list, or all, not {brief(given)}")
    for name in named:
        if name not in names:
            raise StudyError(f"{where} is of {brief(name)}, which is no run{nearest(str(name), names)}")
    if kind in TWO_ROWS and len(named) != 2:
        raise StudyError(f"{where}: {kind} compares two runs, not {len(named)}")
    if kind in SEVERAL_ROWS and over == "rows" and len(named) < 2:
        raise StudyError(f"{where}: {kind} compares two runs or more, not {len(named)}")
    if len(set(named)) < len(named):
        raise StudyError(f"{where} names {brief(max(named, key=named.count))} twice: name each run once")
    if kind in ("rises", "falls") and over == "rows" and any(row.level is None for row in rows if row.name in named):
        raise StudyError(
            f"{where}: {kind} needs the level of each run: vary one key with numbers, or give runs a level"
        )
    return tuple(named)


def _column(given: Mapping[str, Any], over: str, columns: Sequence[Column], where: str) -> str:
    known = {column.name: column for column in columns if column.name != STATUS}
    column = given.get("in", "")
    if not isinstance(column, str) or column not in known:
        raise StudyError(
            f"{where} needs what it is about, in: one of {', '.join(known)}, not "
            f"{brief(column)}{nearest(str(column), known)}"
        )
    if over == "epochs" and known[column].at is None:
        raise StudyError(f"{where}: {column} has one value a run and none over epochs: leave over out")
    return column


def _margin(given: Mapping[str, Any], where: str) -> float:
    value = given.get("within")
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= LARGEST:
        raise StudyError(
            f"{where} needs within, a number above 0 in the unit of the column: the largest difference "
            "that does not matter"
        )
    return float(value)


def _range(given: Mapping[str, Any], where: str) -> tuple[float, float]:
    match given.get("between"):
        case [int() | float() as low, int() | float() as high] if -LARGEST <= low <= high <= LARGEST:
            return float(low), float(high)
    raise StudyError(f"{where} needs between, two numbers: the ratio of the first run to the second")
