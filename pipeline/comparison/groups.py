"""Runs that differ in nothing but their seed, as one: what is their spread, and what tells them from the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from pipeline.comparison.compared_run import ComparedRun
from pipeline.config.display_names import UNKNOWN, model_name
from pipeline.reporting.seeds import mean_and_deviation, seed_key, seed_means
from pipeline.tasks.classification.answers import Answers, count_confusion
from pipeline.tracking.run_document import plugins_of, task_of
from pipeline.util.array_types import IntArray


@dataclass(frozen=True)
class Spread:
    """A quantity over the runs of a group that have it."""

    mean: float
    standard_deviation: float | None
    """Of the sample (n - 1); None for a single run."""
    n: int


@dataclass(frozen=True)
class Group:
    """The runs that differ in nothing but their seed."""

    letter: str
    name: str
    runs: tuple[ComparedRun, ...]

    @property
    def label(self) -> str:
        return f"{self.letter}: {self.name}"

    @property
    def completed(self) -> tuple[ComparedRun, ...]:
        return tuple(run for run in self.runs if run.completed)

    @property
    def config(self) -> dict[str, Any]:
        """The runs' configuration without the seed."""
        return without_seed(self.runs[0].config)

    def spread(self, quantity: str) -> Spread | None:
        """Mean and standard deviation over the completed runs' seeds; None where none of them has the quantity."""
        found = ((seed_key(run.run_id, run.seed), run.values.get(quantity)) for run in self.completed)
        values = seed_means((key, value) for key, value in found if value is not None)
        if not values:
            return None
        return Spread(*mean_and_deviation(values), len(values))

    @property
    def seeds(self) -> int:
        """How many a mean can be of; a run without a seed counts for itself."""
        return len({seed_key(run.run_id, run.seed) for run in self.completed})

    def confusion(self) -> IntArray | None:
        """Counts of test images summed over the completed runs, shape (true class, predicted class).

        None where no run has predictions, or the task has no classes.
        """
        of_runs = [run.answers for run in self.completed if _classes(run) == self.classes]
        answers = [one for one in of_runs if isinstance(one, Answers)]
        if not self.classes or not answers:
            return None
        return count_confusion(answers, len(self.classes))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty where no run completed, or the task has none."""
        return _classes(self.completed[0]) if self.completed else ()


def _classes(run: ComparedRun) -> tuple[str, ...]:
    """Of what may be answered: series may be of classes, and what is answered of them is none."""
    is_classified = isinstance(run.answers, Answers | None)
    return tuple(run.info.data.get("classes", ())) if is_classified else ()


def group_runs(runs: Sequence[ComparedRun]) -> tuple[Group, ...]:
    """The runs by task, configuration but for the seed, and plug-ins; groups in the order of their first runs."""
    alike: list[list[ComparedRun]] = []
    for run in runs:
        for members in alike:
            if _kind(members[0]) == _kind(run):
                members.append(run)
                break
        else:
            alike.append([run])
    names = _names([members[0] for members in alike])
    return tuple(
        Group(letter(number), name, tuple(members))
        for number, (name, members) in enumerate(zip(names, alike, strict=True))
    )


def _kind(run: ComparedRun) -> tuple[str, Mapping[str, Any], list[str]]:
    return task_of(run.document), without_seed(run.config), plugins_of(run.document)


def letter(number: int) -> str:
    """A to Z, then A1 to Z1, …"""
    rounds, index = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[index] + (str(rounds) if rounds else "")


def _names(runs: Sequence[ComparedRun]) -> list[str]:
    """The models' names, or the experiments'; those of one name are told apart by what differs between them.

    That is their configuration, and else the content of their plug-ins.
    """
    configs = [run.config for run in runs]
    models = [model_name({key.removeprefix("model."): value for key, value in c.items()}) for c in configs]
    models = [task_of(run.document) if model == UNKNOWN else model for run, model in zip(runs, models, strict=True)]
    names = []
    for config, model in zip(configs, models, strict=True):
        namesakes = [other for other, name in zip(configs, models, strict=True) if name == model]
        apart = [key for key in _differing_keys(namesakes) if key != "seed"]
        names.append(", ".join([model, *(f"{key}={config.get(key)}" for key in apart)]))
    return [
        name if names.count(name) == 1 else ", ".join([name, *plugins_of(run.document)])
        for name, run in zip(names, runs, strict=True)
    ]


def config_differences(groups: Sequence[Group]) -> dict[str, tuple[Any, ...]]:
    """Dotted key -> its value in each group, for the keys whose values differ; None where a group lacks the key."""
    configs = [group.config for group in groups]
    return {key: tuple(config.get(key) for config in configs) for key in _differing_keys(configs)}


def _differing_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = sorted({key for config in configs for key in config})
    return [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A flat configuration but for the seed."""
    return {key: value for key, value in config.items() if key != "seed"}
