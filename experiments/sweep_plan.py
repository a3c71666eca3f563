"""What a sweep is to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from experiments.presets import merged, resolve
from pipeline.config import ConfigError, DataConfig, EvaluationConfig
from pipeline.config.overrides import parse_arguments
from pipeline.config.presets import Resolved
from pipeline.sweeps.parse import FindTask, load_space, parse_space
from pipeline.sweeps.searched_task import SearchedTask
from pipeline.sweeps.space import Space, SpaceError
from pipeline.util.errors import InvalidInput
from pipeline.util.nested import flatten, merge, nest
from pipeline.util.yaml_text import parse_yaml

SPACES = Path(__file__).with_name("spaces")


@dataclass(frozen=True)
class Plan:
    """What a sweep is to do; with the state all that is needed to go on with it."""

    space: Space
    space_file: str
    overrides: tuple[str, ...]
    """Of the command line, over the space's own."""
    trials: int
    seed: int
    fresh_seeds: int
    prunes: bool
    skips_existing: bool
    constraints: tuple[str, ...] = ()
    """Of the command line; the space has them too."""
    minutes: float | None = None
    """After which no trial is begun, in each session."""
    parallel: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    base: str = ""
    """What the words set, as YAML: files among them are read when the sweep begins, and may change afterwards."""

    def __post_init__(self) -> None:
        if not self.base:
            values = merged(*parse_arguments([*self.space.overrides, *self.overrides]))
            object.__setattr__(self, "base", yaml.safe_dump(values))

    @cached_property
    def _base(self) -> dict[str, Any]:
        values: dict[str, Any] = parse_yaml(self.base, "the sweep's base")
        return values

    @property
    def initial_points(self) -> int:
        """Random suggestions before TPE begins to steer: Hyperopt's 20, fewer in short sweeps."""
        return min(20, max(5, self.trials // 4))

    def resolved(self, suggestion: Mapping[str, Any], seed: int) -> Resolved:
        """What a trial trains: its task and its configuration.

        Raises:
            ConfigError: it cannot be.
        """
        return resolve([], merge(merge(self._base, nest(suggestion)), {"seed": seed}))

    def seeds(self) -> tuple[int, int, list[int]]:
        """From the one seed: the searcher's, that of the trials, and the fresh ones of the check.

        Trials share one seed, and with it the split into training and validation images and the first weights: their
        scores differ by what was suggested.
        """
        states = np.random.SeedSequence(self.seed).generate_state(2 + self.fresh_seeds)
        searcher, trials, *fresh = (int(state) % 2**31 for state in states)
        return searcher, trials, fresh

    def check(self) -> None:
        """See to it that trials can begin.

        Raises:
            OdenetError: an extreme or a choice of the space, or the data, cannot be.
        """
        self._refuse_single_best()
        self.resolved({}, 0)
        corners = []
        for corner in self.space.corners():
            try:
                corners.append(self.resolved(corner, 0))
            except ConfigError as error:
                raise SpaceError(f"{self.space_file} allows what cannot be: {error}") from error

        from pipeline.tasks.lookup import get_task

        loaded: list[tuple[DataConfig, EvaluationConfig]] = []
        for extreme in corners:
            task, config = get_task(extreme.task), extreme.config
            if (config.data, config.evaluation) not in loaded:
                task.limited(task.load_data(config), config.evaluation.subset)
                loaded.append((config.data, config.evaluation))

    @property
    def gpus_asked(self) -> float | None:
        """What a trial is given of GPUs: nothing where all are told to use the CPU; None where the cluster decides."""
        if self.gpus_per_trial is None:
            devices = {self.resolved(corner, 0).config.training.device for corner in self.space.corners()}
            return 0.0 if devices == {"cpu"} else None
        return self.gpus_per_trial

    def refuse_hidden_overrides(self) -> None:
        """
        Raises:
            InvalidInput: the command line sets what the space sets for every trial, or somebody the seed, and it would
                have no effect.
        """
        if "seed" in parse_arguments([*self.space.overrides, *self.overrides])[1]:
            raise InvalidInput("a sweep sets the seeds of its trials: give its own, --seed, and leave seed=… out")
        _, updates = parse_arguments(self.overrides)
        of_space = {key for corner in self.space.corners() for key in corner}
        if hidden := [key for key in flatten(updates) if key in of_space]:
            raise InvalidInput(f"{hidden[0]} is set by the space {self.space_file}: change it there, or leave it out")

    def _refuse_single_best(self) -> None:
        if self.space.goal.is_single:
            return
        if self.fresh_seeds:
            raise InvalidInput(
                "a sweep of several objectives has no single best to check on fresh seeds: leave --fresh-seeds out, "
                "and train those of its front that you would take with `odenet run --seeds 0,1,2 with FILE`"
            )
        if self.prunes:
            raise InvalidInput(
                "trials with several objectives cannot be pruned, as those that are behind in one may be ahead in "
                "another: prunes=False"
            )

    def to_dict(self) -> dict[str, Any]:
        """As the sweep's run has it for its configuration."""
        return {
            "space": {"file": self.space_file, "text": self.space.text},
            "with": list(self.overrides),
            "constraints": list(self.constraints),
            "initial_points": self.initial_points,
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """What `to_dict` gave."""
        file, text = values["space"]["file"], values["space"]["text"]
        constraints = tuple(values.get("constraints", ()))  # sweeps of earlier versions have none
        overrides = tuple(values["with"])
        plain = {name: values[name] for name in _PLAIN if name in values}  # sweeps of earlier versions have no base
        base = parse_yaml(plain.get("base", ""), "the sweep's base")
        finds_task = _finds_task(overrides) if base is None else lambda _: SearchedTask.of(base["task"])
        space = parse_space(text, file, finds_task, constraints)
        return cls(space, file, overrides, constraints=constraints, **plain)


SHARES = ("parallel", "cpus_per_trial", "gpus_per_trial")
"""What a sweep that goes on may be given anew: how many trials run at once, and what each is given."""
_OTHERS = ("space", "space_file", "overrides", "constraints")
_PLAIN = [setting.name for setting in fields(Plan) if setting.name not in _OTHERS]
"""What of a plan is stored as it is."""


def find_space(name: str, constraints: Sequence[str] = (), overrides: Sequence[str] = ()) -> Space:
    """The space in a file, or one of those that come along by its name.

    Args:
        constraints: of the command line, added to its own.
        overrides: of the command line, which may choose another task.

    Raises:
        SpaceError: there is neither.
    """
    shipped = {path.stem: path for path in sorted(SPACES.glob("*.yaml"))}
    if name not in shipped and not Path(name).exists():
        raise SpaceError(f"{name} is neither a file nor one of the spaces that come along: {', '.join(shipped)}")
    return load_space(shipped.get(name, Path(name)), _finds_task(overrides), constraints)


def _finds_task(overrides: Sequence[str]) -> FindTask:
    """The task that the words of a space and those of the command line choose.

    Raises:
        ConfigError: one is unknown.
    """
    return lambda own: SearchedTask.of(resolve(*parse_arguments([*own, *overrides])).task)
