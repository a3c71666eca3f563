"""What the missing runs of a study will cost here: seconds and memory, and how that is known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from rich.console import Console

from experiments.measure import measure
from experiments.prepare import prepare
from experiments.study_plan import Job
from experiments.study_standing import Standing
from pipeline.ode import SolverFailure
from pipeline.reporting.console import progress_bar
from pipeline.reporting.text_table import shown
from pipeline.reporting.words import counted, duration
from pipeline.runs.listing import ListColumn, fitted_table
from pipeline.runs.query import Runs
from pipeline.studies.costs import MEASURED, KnownCosts
from pipeline.studies.study import StudyRun
from pipeline.util.errors import OdenetError
from pipeline.util.nested import flatten

COLUMNS = (
    ("row", None, False),
    ("does", 7, False),
    ("seeds", 8, True),
    ("done", 10, True),
    ("a run takes", None, True),
    ("memory (MB)", 11, True),
    ("known from", 9, False),
)
"""Of what is printed: their headings, their worth where it is narrow, and whether they are numbers."""
STEPS_OF_A_MEASUREMENT = 8
OF_TRAINING = ("training", "validation")
"""The splits that a training takes its items from."""


@dataclass(frozen=True)
class Estimate:
    """Of the missing runs of a study."""

    standing: Standing
    parallel: int
    seconds: Mapping[int, float | None]
    """Number of a job -> seconds, should it take all of its epochs; None where nobody knows."""
    bases: Mapping[int, str]
    """Number of a job -> what its seconds are from."""
    memory_mb: Mapping[int, float | None]
    refusals: Mapping[str, str]
    """Row -> why it cannot be, where measuring it has found that out."""
    is_calibrated: bool = False
    """Whether steps were measured of what nobody knew."""

    @property
    def total(self) -> float | None:
        """Seconds on the clock, of what is known; None where nothing is."""
        known = [seconds for seconds in self.seconds.values() if seconds is not None]
        return max(sum(known) / self.parallel, *known) if known else None

    @property
    def unknown(self) -> int:
        """Runs of which nobody knows, as of evaluations."""
        return sum(self.seconds.get(job.number) is None for job in self.standing.missing)

    def sentence(self) -> str:
        """`12 runs to do: about 31 min of training at most with 2 at once (from stored runs)`."""
        missing, done = len(self.standing.missing), len(self.standing.found)
        if not missing:
            return f"all {counted(done, 'run')} are in the store"
        had = f", {done} in the store" if done else ""
        if self.total is None:
            are_measurable = any(job.kind != "evaluate" for job in self.standing.missing)
            hint = ": --dry-run measures steps of them" if are_measurable and not self.is_calibrated else ""
            return f"{counted(missing, 'run')} to do{had}; what they take is not known{hint}"
        bases = " and ".join(sorted({basis for basis in self.bases.values() if basis}))
        gap = f", and {counted(self.unknown, 'run')} of which nothing is known" if self.unknown else ""
        at_once = f" with {self.parallel} at once" if self.parallel > 1 else ""
        return (
            f"{counted(missing, 'run')} to do{had}: about {duration(self.total)} of training at most{at_once} "
            f"(from {bases}){gap}"
        )

    def to_dict(self) -> dict[str, Any]:
        """What `odenet paper --dry-run --json` prints."""
        plan = self.standing.plan
        return {
            "study": plan.study.name,
            "scale": plan.scale.name,
            "seconds": self.total,
            "parallel": self.parallel,
            "runs": [
                {
                    "row": job.row.name,
                    "seed": job.seed,
                    "does": job.kind,
                    "run_id": self.standing.found[job.number].run_id if job.number in self.standing.found else None,
                    "seconds": self.seconds.get(job.number),
                    "basis": self.bases.get(job.number) or None,
                    "memory_mb": self.memory_mb.get(job.number),
                    "refused": self.refusals.get(job.row.name),
                    "config": {"task": job.resolved.task, **job.resolved.config.to_dict()},
                }
                for job in plan.jobs
            ],
        }


def estimate(standing: Standing, parallel: int, calibrates: bool) -> Estimate:
    """What is missing will cost, by stored runs, by steps measured earlier, or, if it `calibrates`, measured now."""
    known = KnownCosts.of(Runs().find({"status": "COMPLETED"}))
    refusals = _calibrate(standing.missing, known, parallel) if calibrates else {}
    return replace(estimate_with(known, standing, parallel, refusals), is_calibrated=calibrates)


def estimate_with(
    known: KnownCosts, standing: Standing, parallel: int, refusals: Mapping[str, str] | None = None
) -> Estimate:
    """The same by what is known already."""
    missing = standing.missing
    seconds, bases, memory = {}, {}, {}
    for job in missing:
        config = flatten(job.resolved.config.to_dict())
        cost, items = known.of_item(config), known.training_items(config)
        seconds[job.number] = None if cost is None else _seconds(job, cost.seconds, items)
        bases[job.number] = "" if cost is None or seconds[job.number] is None else cost.basis
        memory[job.number] = None if cost is None else cost.memory_mb
    return Estimate(standing, parallel, seconds, bases, memory, refusals or {})


def _seconds(job: Job, of_item: float, items: int | None) -> float | None:
    training = job.resolved.config.training
    if job.kind == "measure":
        return STEPS_OF_A_MEASUREMENT * training.batch_size * of_item
    if job.kind == "evaluate" or items is None:
        return None
    return training.max_epochs * items * of_item


def _calibrate(missing: list[Job], known: KnownCosts, parallel: int) -> dict[str, str]:
    """Measure steps of every configuration of which nothing is known; row -> why it cannot be measured."""
    unknown: dict[str, Job] = {}
    for job in missing:
        config = flatten(job.resolved.config.to_dict())
        lacks = known.of_item(config) is None or known.training_items(config) is None
        if job.kind != "evaluate" and lacks:
            unknown.setdefault(job.row.name, job)
    refusals = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, len(psutil.Process().cpu_affinity()) // parallel))  # as a run will have
    try:
        with progress_bar("measuring steps", len(unknown)) as progress:
            for row, job in unknown.items():
                try:
                    _measure(job, known)
                except (OdenetError, SolverFailure) as error:
                    refusals[row] = str(error)
                progress(1)
    finally:
        torch.set_num_threads(threads)
    return refusals


def _measure(job: Job, known: KnownCosts) -> None:
    resolved = job.resolved
    prepared = prepare(resolved.task, resolved.config)
    measured = measure(prepared, steps=2)
    facts = prepared.facts.get("data", {})
    splits = {split: value for key, value in facts.items() if (split := key.partition("_")[0]) in OF_TRAINING}
    config = flatten(resolved.config.to_dict())
    is_endless = "training" not in splits and "training.epoch_iterations" in config
    items = None if is_endless else sum(value for value in splits.values() if isinstance(value, int))
    known.remember(config, measured.step_seconds / measured.items, measured.step_memory_mb, items)


def print_estimate(cost: Estimate, console: Console) -> None:
    """What would be done, a line a row."""
    plan = cost.standing.plan
    console.print(f"{plan.study.title} ({plan.conditions})", style="bold", highlight=False)
    shown_rows = [_estimated(cost, row) for row in plan.rows]
    console.print(
        fitted_table(
            [
                ListColumn(heading, tuple(cells[place] for cells in shown_rows), worth, is_number)
                for place, (heading, worth, is_number) in enumerate(COLUMNS)
            ],
            console.width,
        )
    )
    console.print(cost.sentence(), highlight=False)
    if MEASURED in cost.bases.values():
        console.print(
            (
                "Steps were measured at first weights: a solver's evaluations grow in training, and "
                "validation comes on top."
            ),
            highlight=False,
        )


def _estimated(cost: Estimate, row: StudyRun) -> tuple[str, ...]:
    """The cells of `COLUMNS`."""
    jobs = [job for job in cost.standing.plan.jobs if job.row is row]
    first = next((job for job in jobs if job.number not in cost.standing.found), None)
    number = -1 if first is None else first.number
    return (
        f"{row.block}: {row.label}" if row.block else row.label,
        row.kind,
        str(len(jobs)),
        str(sum(job.number in cost.standing.found for job in jobs)),
        shown(cost.seconds.get(number), duration),
        shown(cost.memory_mb.get(number), ",.0f"),
        cost.refusals.get(row.name) or cost.bases.get(number, ""),
    )
