"""What a study's runs came to: every cell with its spread and verdict, every claim with its test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any

import pandas as pd

from pipeline.comparison.compare import Comparison
from pipeline.comparison.compared_run import ComparedRun, read_run
from pipeline.comparison.groups import Group, Spread, config_differences, letter
from pipeline.reporting.seeds import mean_and_deviation
from pipeline.runs.query import StoredRun
from pipeline.studies.claims import JudgedClaim, judge_claims
from pipeline.studies.columns import STATUS, At, Column
from pipeline.studies.paper_numbers import PaperNumber
from pipeline.studies.same_runs import row_of
from pipeline.studies.study import Scale, Study, StudyRun
from pipeline.studies.verdicts import Verdict, judge
from pipeline.sweeps.state import COMPLETED
from pipeline.tasks.solver_grid import Setting
from pipeline.tracking.run_document import RunStatus

MISSING, REFUSED = "missing", "refused"
"""Outcomes of what has no run: not done yet, or not to be done."""


@dataclass(frozen=True)
class Answer:
    """A run of a row, or why there is none."""

    seed: int
    run: ComparedRun | None
    outcome: str
    """`completed`, a reason of a failure, `missing`, or `refused`."""
    why: str = ""


@dataclass(frozen=True)
class RowResult:
    """What a row came to."""

    row: StudyRun
    answers: tuple[Answer, ...]
    letter: str

    @property
    def runs(self) -> tuple[ComparedRun, ...]:
        return tuple(answer.run for answer in self.answers if answer.run is not None)

    @property
    def group(self) -> Group:
        """As comparisons have it."""
        return Group(self.letter, self.row.label, self.runs)

    def values(self, column: Column) -> dict[int, float]:
        """Seed -> the shown number, of the runs that completed and have it."""
        found = {}
        for answer in self.answers:
            if answer.run is not None and answer.outcome == COMPLETED:
                value = read_value(answer.run, column)
                if value is not None:
                    found[answer.seed] = value
        return found

    def series(self, metric: str) -> dict[int, list[float]]:
        """Seed -> a metric over epochs, where it is a finite number; of runs that failed too."""
        runs = [run for run in self.runs if metric in run.history]
        return {int(run.seed or 0): [float(v) for v in run.history[metric] if isfinite(v)] for run in runs}

    def outcomes(self) -> dict[str, int]:
        """Outcome -> how many seeds."""
        counts: dict[str, int] = {}
        for answer in self.answers:
            counts[answer.outcome] = counts.get(answer.outcome, 0) + 1
        return counts

    @property
    def ended_as_expected(self) -> bool:
        return set(self.outcomes()) == {self.row.ends or COMPLETED}


@dataclass(frozen=True)
class Cell:
    """A number of ours beside the paper's."""

    row: RowResult
    column: Column
    paper: PaperNumber | None
    verdict: Verdict | None

    @cached_property
    def values(self) -> list[float]:
        return list(self.row.values(self.column).values())

    @property
    def spread(self) -> Spread | None:
        return Spread(*mean_and_deviation(self.values), len(self.values)) if self.values else None


@dataclass(frozen=True)
class StudyResult:
    """A study at one scale, as far as it is done."""

    study: Study
    scale: Scale
    conditions: str
    """The scale, with what was changed, in a phrase."""
    is_full: bool
    """Whether it is done as the paper does, so that there is a verdict."""
    seeds: tuple[int, ...]
    rows: tuple[RowResult, ...]
    claims: tuple[JudgedClaim, ...]
    tried: Mapping[str, int] = field(default_factory=dict)
    """Letter of a row -> how many configurations of its training were tried."""

    def cell(self, row: RowResult, column: Column) -> Cell:
        paper = self.study.paper.get((row.row.name, column.name))
        verdict = None
        if paper is not None and row.runs:
            verdict = judge(list(row.values(column).values()), paper, column, self.study.rule)
        return Cell(row, column, paper, verdict)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those with numbers."""
        return tuple(column for column in self.study.columns if column.name != STATUS)

    @property
    def blocks(self) -> dict[str, list[RowResult]]:
        """Rows that are compared with each other."""
        found: dict[str, list[RowResult]] = {}
        for row in self.rows:
            found.setdefault(row.row.block, []).append(row)
        return found

    @property
    def missing(self) -> int:
        """Runs that there are not yet."""
        return sum(answer.outcome == MISSING for row in self.rows for answer in row.answers)

    @property
    def runs(self) -> list[ComparedRun]:
        return [run for row in self.rows for run in row.runs]

    def comparison(self, block: str) -> Comparison | None:
        """The block's trained rows as a comparison has them; None for fewer than two."""
        groups = tuple(row.group for row in self.blocks[block] if row.runs and row.row.kind == "train")
        if len(groups) < 2:
            return None
        return Comparison(groups, config_differences(groups), None, (), ())

    def to_dict(self) -> dict[str, Any]:
        """What `odenet paper --json` prints: plain values; shares in per cent, as they are shown."""
        return {
            "study": self.study.name,
            "title": self.study.title,
            "source": self.study.source,
            "scale": self.scale.name,
            "conditions": self.conditions,
            "seeds": list(self.seeds),
            "missing": self.missing,
            "doubts": list(self.study.doubts),
            "rows": [self._row_dict(row) for row in self.rows],
            "claims": [
                {
                    "says": judged.claim.says,
                    "test": judged.tested.words,
                    "p_value": judged.tested.p,
                    "adjusted_p_value": judged.adjusted_p,
                    "p_value_against": judged.tested.p_against,
                    "adjusted_p_value_against": judged.adjusted_p_against,
                    "verdict": judged.text(self.is_full),
                }
                for judged in self.claims
            ],
        }

    def _row_dict(self, row: RowResult) -> dict[str, Any]:
        cells = {column.name: self.cell(row, column) for column in self.columns}
        return {
            "row": row.row.name,
            "label": row.row.label,
            "block": row.row.block,
            "runs": [
                {
                    "run_id": None if answer.run is None else answer.run.run_id,
                    "seed": answer.seed,
                    "ended": answer.outcome,
                    "why": answer.why or None,
                    "values": {} if answer.run is None else {c.name: read_value(answer.run, c) for c in self.columns},
                }
                for answer in row.answers
            ],
            "cells": {name: _cell_dict(cell, self.is_full) for name, cell in cells.items()},
        }


def _cell_dict(cell: Cell, is_full: bool) -> dict[str, Any]:
    spread, verdict = cell.spread, cell.verdict
    interval = None if verdict is None else verdict.interval
    return {
        "mean": None if spread is None else spread.mean,
        "standard_deviation": None if spread is None else spread.standard_deviation,
        "n": 0 if spread is None else spread.n,
        "interval": None if interval is None else [interval.low, interval.high],
        "paper": None if cell.paper is None else cell.paper.text,
        "doubtful": None if cell.paper is None else cell.paper.doubtful,
        "verdict": None if verdict is None else verdict.text(is_full),
    }


def build_result(
    study: Study,
    scale: Scale,
    conditions: str,
    is_full: bool,
    seeds: Sequence[int],
    answers: Mapping[str, Sequence[Answer]],
) -> StudyResult:
    """The result of what was found.

    Args:
        answers: row -> its runs, one a seed.
    """
    rows = tuple(RowResult(row, tuple(answers[row.name]), letter(k)) for k, row in enumerate(study.at(scale)))
    by_name = {row.row.name: row for row in rows}
    claims = judge_claims(study, by_name)
    return StudyResult(study, scale, conditions, is_full, tuple(seeds), rows, claims)


def answer_of(seed: int, run: StoredRun | None, setting: Setting | None, why: str = "") -> Answer:
    """What is known of a row on a seed.

    Args:
        setting: of an evaluation.
        why: there is no run, where it is known.
    """
    if run is None:
        return Answer(seed, None, REFUSED if why else MISSING, why)
    if setting is not None:
        return _evaluated(seed, run, setting)
    read = read_run(run)
    read = replace(read, values={**read.values, **_more_values(run)})
    return Answer(seed, read, outcome_of(run), _why(run))


def outcome_of(run: StoredRun) -> str:
    """`completed`, a reason of a failure, or the status in small letters."""
    failure = run.facts.failure
    if run.status is RunStatus.FAILED and failure is not None:
        return str(failure["reason"])
    return run.status.lower()


def read_value(run: ComparedRun, column: Column) -> float | None:
    """A run's number of a column, in the unit in which it is shown; None where it has none."""
    if column.at is None:
        value = run.values.get(column.name)
        return value * column.factor if value is not None and isfinite(value) else None
    if column.name not in run.history:
        return None
    series = run.history[column.name].dropna()
    if not len(series):
        return None
    value = float(_at(series, column.at, run.info.best_epoch))
    return value * column.factor if isfinite(value) else None


def _at(series: "pd.Series[float]", at: At, best_epoch: int | None) -> float:
    match at:
        case "first":
            return series.iloc[0]
        case "best" if best_epoch is not None and best_epoch in series.index:
            return series.loc[best_epoch]
        case "largest":
            return series.max()
        case "smallest":
            return series.min()
        case "mean":
            return series.mean()
        case _:
            return series.iloc[-1]


def _more_values(run: StoredRun) -> dict[str, float | None]:
    """What comparisons of trained runs have no row for."""
    stored = run.info.get("parameters") or {}
    found: dict[str, Any] = {"parameters_outside_linear": stored.get("outside_linear"), **(run.facts.measurement or {})}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def _evaluated(seed: int, run: StoredRun, setting: Setting) -> Answer:
    row = row_of(run, setting.to_dict())
    assert row is not None, "it was found by its settings"
    read = read_run(run)
    values = {**row.scores, "nfe_test": row.nfe_forward, "milliseconds_per_image": row.milliseconds_per_image}
    read = replace(read, seed=seed, values=values, history=pd.DataFrame(), answers=None)
    return Answer(seed, read, row.status, row.failure or "")


def _why(run: StoredRun) -> str:
    failure = run.facts.failure
    return "" if failure is None or run.status is RunStatus.COMPLETED else str(failure["message"])
