"""What a sweep knows of its trials: plain data, kept in the run of the sweep and enough to go on from."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.sweeps.goal import Goal, undominated
from pipeline.util.nested import flatten, nest

Phase = Literal["search", "check", "train", "measure", "evaluate"]
"""What a trial is of: the search of a sweep, the check of its best, or what a study does."""
RUNNING, COMPLETED, PRUNED, INTERRUPTED = "running", "completed", "pruned", "interrupted"
DISK_FULL = "disk_full"
FAILURES = {
    "underflow": "step size underflow of the solver",
    "step_limit": "step limit of the solver",
    "diverged": "the state or its derivative became non-finite",
    "loss_diverged": "the loss became non-finite",
    "out_of_memory": "out of memory",
    DISK_FULL: "the disk was full",
    "lost": "its worker was lost too often",
    "failed": "another error",
}
"""Outcome of a trial that came to nothing -> what it means."""
REPEATABLE = ("underflow", "step_limit", "diverged", "loss_diverged")
"""Those that the configuration decides, so that another try would come to them as well."""


@dataclass
class Trial:
    """One suggestion and what became of it."""

    number: int
    """From 1, in the order in which they were suggested."""
    suggestion: dict[str, Any]
    """Configuration key -> value."""
    run_id: int | None = None
    """The tracked run; None until it has begun."""
    outcome: str = RUNNING
    """running, completed, pruned, interrupted, or one of `FAILURES`."""
    value: float | None = None
    """The best of the metric so far, over the epochs; of several objectives the first one's.

    Where the goal is of the kept weights, that of their epoch.
    """
    validation_result: float | None = None
    """The quantity that is a run's result, on the validation split, at the epoch of `value`."""
    nfe_forward: float | None = None
    """Mean evaluations of the field per training batch; None for a ResNet.

    Of the last epoch; where the goal is of the kept weights, of theirs.
    """
    epochs: int = 0
    seconds: float = 0.0
    """Of training and validation, over all epochs."""
    peak_memory_mb: float | None = None
    error: str | None = None
    """Why it came to nothing, in a sentence."""
    is_reused: bool = False
    """Whether a run that was there before gave the result."""
    measured: dict[str, float] = field(default_factory=dict)
    """Metric of an objective or a constraint -> its value, where the goal is of the kept weights; else empty."""
    violates: list[str] = field(default_factory=list)
    """The constraints that `measured` does not meet, as they are written."""

    @property
    def is_over(self) -> bool:
        return self.outcome not in (RUNNING, INTERRUPTED)

    @property
    def has_failed(self) -> bool:
        return self.outcome in FAILURES

    @property
    def is_known(self) -> bool:
        """Whether it has come to a value, be it one that violates a constraint."""
        return self.outcome in (COMPLETED, PRUNED) and self.value is not None

    @property
    def is_eligible(self) -> bool:
        """Whether it may be the best: completed, and within the constraints."""
        return self.outcome == COMPLETED and self.value is not None and not self.violates

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: keys without dots, which MongoDB takes for paths; what is empty is left out."""
        values = asdict(self) | {"suggestion": nest(self.suggestion)}
        goal = {"measured": nest(values.pop("measured")), "violates": values.pop("violates")}
        return values | {key: value for key, value in goal.items() if value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Trial":
        """What `to_dict` gave."""
        nested = {"suggestion": flatten(values["suggestion"]), "measured": flatten(values.get("measured", {}))}
        return cls(**_renamed(values, "validation_result") | nested)


@dataclass(frozen=True)
class Check:
    """The best configuration, trained anew on a seed that the search did not use."""

    seed: int
    run_id: int
    outcome: str
    result: float | None
    """Of its run."""
    violates: tuple[str, ...] = ()
    """The constraints that its run does not meet."""
    trial: int | None = None
    """Whose configuration it is, as a search that went on may have found a better one; earlier versions did not say."""

    def to_dict(self) -> dict[str, Any]:
        """As it is stored; what is empty is left out."""
        values = asdict(self) | {"violates": list(self.violates)}
        return {key: value for key, value in values.items() if key != "violates" or value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Check":
        """What `to_dict` gave."""
        return cls(**_renamed(values, "result") | {"violates": tuple(values.get("violates", ()))})


@dataclass
class SweepState:
    """The trials of a sweep, and the order in which its searcher heard of them."""

    trials: dict[int, Trial] = field(default_factory=dict)
    events: list[tuple[Literal["suggested", "over"], int]] = field(default_factory=list)
    """With the sweep's seed they decide everything that the searcher proposes."""
    checks: list[Check] = field(default_factory=list)
    """Of the best trial, and of those that were the best when an earlier session ended."""

    def counts(self) -> dict[str, int]:
        """Outcome -> number of trials, of the outcomes that there are."""
        return dict(Counter(trial.outcome for trial in self.trials.values()))

    def failures(self) -> dict[str, int]:
        """Of them those that are failures."""
        return {outcome: number for outcome, number in self.counts().items() if outcome in FAILURES}

    def commonest_error(self, outcome: str | None = None) -> str | None:
        """The sentence with which most trials failed, all or those of an outcome; None where there is none."""
        failed = (trial for trial in self.trials.values() if trial.has_failed and outcome in (None, trial.outcome))
        errors = Counter(trial.error for trial in failed if trial.error)
        return errors.most_common(1)[0][0] if errors else None

    def over(self) -> list[Trial]:
        """The trials that are over, in the order in which they ended."""
        ended = dict.fromkeys(number for event, number in self.events if event == "over")
        return [self.trials[number] for number in ended]

    def unfinished(self) -> list[Trial]:
        """Suggested, and not over."""
        return [trial for trial in self.trials.values() if not trial.is_over]

    def best(self, mode: str) -> Trial | None:
        """The completed trial within the constraints with the best value; the first of equals."""
        values = {t.number: t.value for t in self.trials.values() if t.is_eligible and t.value is not None}
        better = max if mode == "max" else min  # the first of equals, both
        return self.trials[better(values, key=lambda number: values[number])] if values else None

    def front(self, goal: Goal) -> list[Trial]:
        """The completed trials within the constraints that no other one beats; those of equal values stay together.

        Of one objective the best alone, of several the Pareto front, by the first objective, the best first.
        """
        if goal.is_single:
            best = self.best(goal.objectives[0].mode)
            return [] if best is None else [best]
        losses = {trial.number: goal.losses(trial.measured) for trial in self.trials.values() if trial.is_eligible}
        return [self.trials[number] for number in sorted(undominated(losses), key=lambda number: losses[number])]

    def checks_of(self, trial: Trial | None) -> list[Check]:
        """The best configuration on fresh seeds, given the best trial."""
        return [check for check in self.checks if trial is not None and check.trial in (None, trial.number)]

    def nearest(self, goal: Goal) -> Trial | None:
        """The trial that misses the constraints by least; None where one meets them, or none is known."""
        missing = [trial for trial in self.trials.values() if trial.is_known and trial.violates]
        if not missing or any(trial.is_eligible for trial in self.trials.values()):
            return None
        return min(missing, key=lambda trial: goal.excess(trial.measured))

    def best_so_far(self, mode: str) -> Iterator[tuple[int, float]]:
        """(trials over, best value of the completed ones that count), from the first of these on."""
        better = max if mode == "max" else min
        best: float | None = None
        for number, trial in enumerate(self.over(), start=1):
            if trial.is_eligible and trial.value is not None:
                best = trial.value if best is None else better(best, trial.value)
            if best is not None:
                yield number, best

    def to_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "trials": [trial.to_dict() for trial in self.trials.values()],
            "events": [list(event) for event in self.events],
            "checks": [check.to_dict() for check in self.checks],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SweepState":
        """What `to_dict` gave."""
        trials = [Trial.from_dict(trial) for trial in values["trials"]]
        return cls(
            {trial.number: trial for trial in trials},
            [(event, number) for event, number in values["events"]],
            [Check.from_dict(check) for check in values["checks"]],
        )


def _renamed(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """With the name of today for what format 1 calls `accuracy`."""
    return {name if key == "accuracy" else key: value for key, value in values.items()}
