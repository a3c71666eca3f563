"""Sweeps set beside each other: what each searched, what it found with as many trials as the others, what it took.

from pipeline.runs.query import Runs
from pipeline.sweeps.comparison import compare_sweeps
compare_sweeps(Runs(), (12, 15)).best_after(20)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from pipeline.runs.query import RunNotFound, Runs, StoredRun
from pipeline.sweeps.goal import Objective, undominated
from pipeline.sweeps.state import Trial
from pipeline.sweeps.stored import Sweep, load_sweep
from pipeline.sweeps.text import AIMS
from pipeline.tracking.run_document import task_of
from pipeline.util.errors import InvalidInput

NUMBERS = (5, 10, 20, 50, 100, 200, 500, 1000)
"""Of trials, after which sweeps are set beside each other."""


@dataclass(frozen=True)
class ComparedSweep:
    """A sweep, and what its trials have in common."""

    letter: str
    sweep: Sweep
    fixed: Mapping[str, Any]
    """Configuration key -> value of one of its trials, without the seed; empty where no trial's run is there."""
    data_sha256: str | None

    @property
    def label(self) -> str:
        """`A: sweep 12`."""
        return f"{self.letter}: sweep {self.sweep.sweep_id}"

    def first(self, number: int) -> list[Trial]:
        """So many of the trials that are over, in the order in which they ended."""
        return self.sweep.state.over()[:number]


@dataclass(frozen=True)
class SweepComparison:
    """Sweeps with the same objectives."""

    sweeps: tuple[ComparedSweep, ...]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.sweeps[0].sweep.space.goal.objectives

    @property
    def is_single(self) -> bool:
        """Whether there is one objective."""
        return len(self.objectives) == 1

    @property
    def shared_number(self) -> int:
        """So many trials are over in each of them."""
        return min(len(one.sweep.state.over()) for one in self.sweeps)

    @property
    def numbers(self) -> list[int]:
        """Of trials, after which they are set beside each other."""
        shared = self.shared_number
        return [*(number for number in NUMBERS if number < shared), *([shared] if shared else [])]

    def best_after(self, number: int) -> list[float | None]:
        """Of each sweep the best value among its first so many trials; of one objective."""
        curves = [dict(one.sweep.state.best_so_far(one.sweep.space.mode)) for one in self.sweeps]
        return [curve.get(number) for curve in curves]

    def on_joint_front(self, number: int) -> list[int]:
        """Of each sweep how many of its first so many trials no trial among theirs all beats."""
        goal = self.sweeps[0].sweep.space.goal
        losses = {
            (place, trial.number): goal.losses(trial.measured)
            for place, one in enumerate(self.sweeps)
            for trial in one.first(number)
            if trial.is_eligible
        }
        front = [place for place, _ in undominated(losses)]
        return [front.count(place) for place in range(len(self.sweeps))]

    @property
    def fixed_differences(self) -> dict[str, tuple[Any, ...]]:
        """Configuration key -> its value in each sweep, where none of them searches it and the values differ."""
        searched = {key for one in self.sweeps for key in one.sweep.space.parameters()}
        known = [one.fixed for one in self.sweeps if one.fixed]
        keys = sorted({key for fixed in known for key in fixed} - searched)
        return {
            key: tuple(one.fixed.get(key) for one in self.sweeps)
            for key in keys
            if any(fixed.get(key) != known[0].get(key) for fixed in known)
        }


def compare_sweeps(runs: Runs, sweep_ids: Sequence[int]) -> SweepComparison:
    """The sweeps beside each other, in this order.

    Raises:
        InvalidInput: fewer than two, one of them named twice, one that is no sweep, or their objectives differ.
        OdenetError: one cannot be read.
    """
    twice = sorted({sweep_id for sweep_id in sweep_ids if list(sweep_ids).count(sweep_id) > 1})
    if twice:
        raise InvalidInput(f"sweep {twice[0]} is named twice; name each sweep to compare once")
    if len(sweep_ids) < 2:
        raise InvalidInput(
            f"a comparison needs at least two sweeps, not {len(sweep_ids)}; `odenet sweeps` lists those there are"
        )
    if len(sweep_ids) > len(ascii_uppercase):
        raise InvalidInput(f"at most {len(ascii_uppercase)} sweeps are compared at once, not {len(sweep_ids)}")
    sweeps = [load_sweep(runs, sweep_id) for sweep_id in sweep_ids]
    _refuse_different(runs, sweeps)
    return SweepComparison(
        tuple(_compared(letter, sweep, runs) for letter, sweep in zip(ascii_uppercase, sweeps, strict=False))
    )


def _refuse_different(runs: Runs, sweeps: Sequence[Sweep]) -> None:
    tasks = {sweep.sweep_id: task_of(runs.get(sweep.sweep_id).document) for sweep in sweeps}
    if len(set(tasks.values())) > 1:
        said = ", ".join(f"{task} (sweep {number})" for number, task in tasks.items())
        raise InvalidInput(f"these sweeps are of different tasks, {said}: there is nothing to compare")
    if len({frozenset(sweep.space.goal.objectives) for sweep in sweeps}) > 1:
        said = "; ".join(f"sweep {sweep.sweep_id} the {_aims(sweep)}" for sweep in sweeps)
        raise InvalidInput(
            f"these sweeps search for different objectives: {said}; compare those that search for the same"
        )


def _aims(sweep: Sweep) -> str:
    return " and the ".join(f"{AIMS[o.mode]} {o.metric}" for o in sweep.space.goal.objectives)


def _compared(letter: str, sweep: Sweep, runs: Runs) -> ComparedSweep:
    run = _one_run(sweep, runs)
    if run is None:
        return ComparedSweep(letter, sweep, {}, None)
    fixed = {key: value for key, value in run.whole_config.items() if key != "seed"}
    return ComparedSweep(letter, sweep, fixed, run.facts.data_sha256)


def _one_run(sweep: Sweep, runs: Runs) -> StoredRun | None:
    """The run of a trial; None where none has begun, or none is there any more."""
    for trial in [*sweep.front, *sweep.state.trials.values()]:
        if trial.run_id is not None:
            try:
                return runs.get(trial.run_id)
            except RunNotFound:
                continue
    return None
