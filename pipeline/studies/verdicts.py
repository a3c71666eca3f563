"""Whether what was measured is what the paper has: a verdict at the paper's scale, a tendency at a smaller one."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pipeline.studies.columns import Column
from pipeline.studies.paper_numbers import PaperNumber
from pipeline.studies.statistics import Interval, interval_of
from pipeline.studies.study import VerdictRule

REPRODUCED, HIGHER, LOWER, UNDECIDED, NOT_COMPARABLE = "reproduced", "higher", "lower", "undecided", "not comparable"
TENDENCY = {REPRODUCED: "near it", HIGHER: "above it", LOWER: "below it"}
"""Verdict -> its word at a scale that is not the paper's."""


@dataclass(frozen=True)
class Verdict:
    """Of one cell."""

    word: str
    """One of the five above."""
    why: str = ""
    """Of what is not comparable or undecided, in a phrase."""
    interval: Interval | None = None
    """Of the values, in the unit in which the column is shown."""

    def text(self, is_full: bool) -> str:
        """As a table shows it."""
        word = self.word if is_full else TENDENCY.get(self.word, self.word)
        return f"{word} ({self.why})" if self.why else word


def judge(values: Sequence[float], paper: PaperNumber, column: Column, rule: VerdictRule) -> Verdict:
    """What the values, one a seed, say of the paper's number; both in the unit in which the column is shown.

    Reproduced: the mean rounds to the paper's number, or the number lies within the interval of enough seeds. Numbers
    that are the same on every seed need one, and no interval.
    """
    if column.not_comparable is not None:
        return Verdict(NOT_COMPARABLE, column.not_comparable)
    if not values:
        return Verdict(UNDECIDED, "no run")
    mean = fmean(values)
    interval = interval_of(values, rule.level, rule.interval == "prediction") if len(values) > 1 else None
    if paper.low - paper.rounding <= mean <= paper.high + paper.rounding:
        return Verdict(REPRODUCED, interval=interval)
    apart = HIGHER if mean > paper.high else LOWER
    if column.is_exact:
        return Verdict(apart)
    if len(values) < rule.seeds:
        return Verdict(UNDECIDED, f"n = {len(values)} of {rule.seeds}", interval)
    assert interval is not None
    if interval.low == interval.high and not column.is_count:
        return Verdict(UNDECIDED, "the same on every seed, by chance", interval)
    is_within = interval.has(paper.low - paper.rounding, paper.high + paper.rounding)
    return Verdict(REPRODUCED if is_within else apart, interval=interval)
