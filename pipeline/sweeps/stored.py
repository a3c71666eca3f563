"""Sweeps that were written, read back from their runs.

from pipeline.runs.query import Runs
from pipeline.sweeps.stored import load_sweep
load_sweep(Runs(), 12).best
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.config.overrides import literal
from pipeline.runs.query import Runs, StoredRun
from pipeline.sweeps.goal import Objective
from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.searched_task import SearchedTask
from pipeline.sweeps.space import Space, SpaceError
from pipeline.sweeps.state import COMPLETED, Check, SweepState, Trial
from pipeline.tracking.conditions import machine, software
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.run_document import NAME, RunInfo, RunStatus, aware, is_sweep, space_name
from pipeline.util.errors import InvalidInput, OdenetError
from pipeline.util.nested import flatten
from pipeline.util.yaml_text import parse_yaml


@dataclass(frozen=True)
class Sweep:
    """A sweep by what its run's document says."""

    sweep_id: int
    status: RunStatus
    space: Space
    name: str
    """The space's file name, without its ending."""
    state: SweepState
    overrides: tuple[str, ...]
    """What followed `with` on the command line."""
    plugins: tuple[str, ...]
    """As `--plugin` takes them."""
    trials: int
    """That it is to have."""
    config: Mapping[str, Any]
    result: float | None
    """Mean result of the best configuration's runs on fresh seeds."""
    started: datetime
    seconds: float | None
    """From start to end, or until now; None where it was resumed, as the pause would count."""
    machine: str
    software: str
    gpu_memory_mb: float | None
    """Of the smallest GPU that trials ran on; None where there was none, or it is not known."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Sweep":
        """The sweep of a run's document.

        Raises:
            OdenetError: it cannot be read: other software wrote it, or it was changed.
        """
        config = document["config"]
        try:
            info = RunInfo.read(document)
            return cls(
                sweep_id=int(document["_id"]),
                status=effective_status(document),
                space=_space(document),
                name=space_name(config),
                state=SweepState() if info.sweep is None else SweepState.from_dict(info.sweep),
                overrides=tuple(config["with"]),
                plugins=tuple(dict.fromkeys(plugin["spec"] for plugin in document["experiment"].get("plugins", []))),
                trials=config["trials"],
                config=config,
                result=document.get("result"),
                started=document["start_time"],
                seconds=_seconds(document),
                machine=machine(document),
                software=_software(document),
                gpu_memory_mb=info.gpu_memory_mb,
            )
        except (SpaceError, KeyError, TypeError, ValueError) as error:
            raise OdenetError(
                f"sweep {document['_id']} cannot be read ({type(error).__name__}: {error}): look at it in Omniboard"
            ) from error

    @property
    def best(self) -> Trial | None:
        """The best completed trial within the constraints; None where there is none, or several objectives."""
        return self.state.best(self.space.mode) if self.space.goal.is_single else None

    @property
    def front(self) -> list[Trial]:
        """The best alone, or the trials on the Pareto front of several objectives."""
        return self.state.front(self.space.goal)

    @property
    def nearest(self) -> Trial | None:
        """Where no trial meets the constraints, the one that misses them by least."""
        return self.state.nearest(self.space.goal)

    def by_objective(self) -> list["Sweep"]:
        """The sweep as one of each objective alone, whose values its trials then have."""
        goal = self.space.goal
        return [self] if goal.is_single else [self._of_objective(objective) for objective in goal.objectives]

    def _of_objective(self, objective: Objective) -> "Sweep":
        space = replace(self.space, goal=replace(self.space.goal, objectives=(objective,)))
        trials = {
            number: replace(trial, value=trial.measured.get(objective.metric))
            for number, trial in self.state.trials.items()
        }
        return replace(self, space=space, state=replace(self.state, trials=trials))

    @property
    def checks(self) -> list[Check]:
        """The runs of the best configuration on fresh seeds."""
        return self.state.checks_of(self.best)

    @property
    def checked(self) -> list[Check]:
        """Those of them that completed."""
        return [check for check in self.checks if check.outcome == COMPLETED and check.result is not None]

    @property
    def is_whole(self) -> bool:
        """Whether every trial is over and, if any completed, the best one was tried on all the fresh seeds."""
        checks = self.config["fresh_seeds"] if self.best else 0
        return len(self.state.over()) >= self.trials and len(self.checks) >= checks

    def command(self, trial: Trial | None = None) -> list[str]:
        """The words of the command that trains a trial's configuration, by default the best; empty where none is."""
        trial = trial or self.best
        if trial is None:
            return []
        words, values = [*self.space.overrides, *self.overrides], dict(trial.suggestion)
        if (base := self.config.get("base")) and any(word.endswith((".yaml", ".yml")) for word in words):
            words, values = [], flatten(parse_yaml(base, "its base")) | values  # and not what the file says now
        return self.command_with([*words, *(_word(key, value) for key, value in values.items())])

    def command_with(self, words: Sequence[str]) -> list[str]:
        """`odenet run with` these words, and with the sweep's plug-ins."""
        plugins = [word for spec in self.plugins for word in ("--plugin", spec)]
        return ["odenet", "run", *plugins, "with", *words]


def find_sweeps(runs: Runs, limit: int = 0) -> list[StoredRun]:
    """The runs that are sweeps, newest first; at most `limit`, 0 for all."""
    return runs.find({"experiment.name": NAME}, limit)


def load_sweep(runs: Runs, sweep_id: int) -> Sweep:
    """One sweep.

    Raises:
        RunNotFound: there is no such run.
        InvalidInput: the run is no sweep.
        OdenetError: it cannot be read.
    """
    run = runs.get(sweep_id)
    if not is_sweep(run.document):
        trial = run.facts.trial
        hint = f"a trial of sweep {trial['id']}" if trial else "`odenet sweeps` lists those there are"
        raise InvalidInput(f"run {sweep_id} is no sweep: {hint}")
    return Sweep.from_document(run.document)


def _word(key: str, value: Any) -> str:
    """`key=value` as a command line parses it: text that looks like a number in quotes."""
    return f"{key}={value if literal(str(value)) == value else repr(value)}"


def _space(document: Mapping[str, Any]) -> Space:
    config = document["config"]
    constraints = config.get("constraints", ())  # sweeps of earlier versions have none
    return parse_space(config["space"]["text"], "its space", lambda _: SearchedTask.of_document(document), constraints)


def _seconds(document: Mapping[str, Any]) -> float | None:
    if document.get("resumed"):
        return None
    status = effective_status(document)
    last = datetime.now(UTC) if status is RunStatus.RUNNING else document.get("stop_time") or document["heartbeat"]
    return (aware(last) - aware(document["start_time"])).total_seconds()


def _software(document: Mapping[str, Any]) -> str:
    """Also the versions of what searches."""
    versions = [
        package.replace("==", " ")
        for package in document["experiment"].get("dependencies", [])
        if package.partition("==")[0].lower() in ("ray", "hyperopt")
    ]
    return ", ".join([software(document), *versions])
