"""What one kind of experiment is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import nn

from pipeline.config import Config, ConfigError, SolverConfig
from pipeline.config.display_names import data_name, model_name
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.pairing import PairedTest
from pipeline.training import Objective
from pipeline.training.lazy_layers import fill_lazy_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

C = TypeVar("C", bound=Config)
D = TypeVar("D", bound="TaskData")
A = TypeVar("A")
Progress = Callable[[int], None]
"""Called after each batch with the number of its items."""


CONVERTED = "converted"
"""The entry of a run's `info.data` that says, by sentences, what was done to somebody's data before the training."""


class TaskData(Protocol):
    """What a task has loaded: its training, validation and test split, on one device."""

    @property
    def sha256(self) -> str:
        """Of the data set (hex), before it was split, whatever file it was read from."""

    @property
    def test_items(self) -> int:
        """How many items the test split has."""

    @property
    def device(self) -> torch.device:
        """Where the data lie."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""


@dataclass(frozen=True)
class Report:
    """What an evaluation on the test split leaves in the record of its run.

    Attributes:
        test: the run's `info.test`, one entry for each `test.X` of the task's metrics.
        files: name -> content; what is no bytes is stored as JSON.
        figures: name -> what draws it, called once the numbers are stored.
    """

    test: Mapping[str, Any]
    files: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Callable[[], "Figure"]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedModel(Generic[C]):
    """A model with its best weights; a task adds what is needed to use it."""

    network: nn.Module
    config: C


class Task(ABC, Generic[C, D, A]):
    """One kind of experiment: its data, its model, its loss, its evaluation, what it records, its metrics.

    A subclass is registered by `pipeline.plugins.task("name")`. Its type parameters are its configuration, its data
    and its answers: what `predict` gives and `scores`, `report` and `compare` take.

    Attributes:
        name: of the experiment in the store and on command lines; that under which it is registered.
        config: the class of its configurations.
        result: the metric of the test split that is the result of a run, as `test.accuracy`.
        paired_test: of two models on the same test items, for comparisons; a task that comes along may have it in its
            module `paired` instead, which is read without torch.
        divides_batches: whether a training batch can be computed in parts, by `Objective.part`, so that its items come
            to what they would in the whole.
        grid: what `pipeline.tasks.solver_grid.Grid` has for this task where nobody says otherwise.
    """

    name: ClassVar[str]
    config: ClassVar[type[Config]] = Config
    result: ClassVar[str]
    paired_test: ClassVar[PairedTest | None] = None
    divides_batches: ClassVar[bool] = False
    grid: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    @abstractmethod
    def metric_specs(cls) -> Sequence[MetricSpec]:
        """Every `training.X`, `validation.X` and `test.X` that its runs record."""

    @abstractmethod
    def load_data(self, config: C) -> D:
        """The data set that `config.data` names, split by the seed, on the CPU.

        Raises:
            OdenetError: the data cannot be had, or cannot be what the configuration wants.
        """

    def limited(self, data: D, items: int | None) -> D:
        """The data with so many items of the test split, drawn alike for every seed; with None all of them.

        Raises:
            ConfigError: it has fewer, or the task has no `test_subset`.
        """
        if items is None or items == data.test_items:
            return data
        if items > data.test_items:
            raise ConfigError(
                f"{items} test items are asked for, but there are {data.test_items}: ask for fewer, or all"
            )
        return self.test_subset(data, items)

    def test_subset(self, data: D, items: int) -> D:  # noqa: ARG002 - for those that override it
        """The data with so many items of the test split, fewer than there are: `pipeline.data.subset` draws them.

        Raises:
            ConfigError: the task cannot.
        """
        raise ConfigError(
            f"the task {self.name} has no method test_subset, by which a part of its test split is taken: leave out "
            "evaluation.subset"
        )

    @abstractmethod
    def build_model(self, config: C, data: D) -> nn.Module:
        """The model with its first weights, of torch's global random state.

        Raises:
            ConfigError: values that do not go together.
        """

    @abstractmethod
    def objective(self, config: C, data: D) -> Objective:
        """What a training minimises."""

    @abstractmethod
    def predict(self, model: nn.Module, config: C, data: D, progress: Progress) -> A:
        """What the model answers for the test split, in evaluation mode."""

    def warm_up(self, model: nn.Module, config: C, data: D) -> None:
        """Before a timed `predict`: whatever is slower the first time."""

    def examine(self, answers: A, config: C, data: D) -> A:  # noqa: ARG002 - for those that override it
        """After a timed `predict`, under its setting: the answers with what else is asked of the model."""
        return answers

    def test_solver(self, config: C) -> SolverConfig:
        """What the model is solved with in the test and after it; in training and validation it is `config.solver`."""
        return config.solver

    def final_time(self, config: C) -> float | None:
        """T of the solves over [0, T]; None for a task whose configuration has none."""
        time: float | None = getattr(config.model, "final_time", None)
        return time

    @abstractmethod
    def scores(self, answers: A, data: D) -> dict[str, float]:
        """Metrics of the answers, by the names of `test.X`."""

    def report(self, answers: A, config: C, data: D, title: str) -> Report:  # noqa: ARG002 - for those that override it
        """What is recorded of the answers under the settings of the training."""
        return Report(test=self.scores(answers, data))

    def model_report(self, model: nn.Module, config: C, data: D, title: str) -> Report:  # noqa: ARG002
        """What is recorded of the trained model itself, beside its answers: files and figures."""
        return Report(test={})

    def stored_figures(self, artifact: Callable[[str], bytes], facts: Mapping[str, Any], title: str) -> Report:  # noqa: ARG002
        """The figures of `report` that can be drawn of what a run has stored.

        Args:
            artifact: the content of one of the run's artifacts.
            facts: what `facts` gave when the run began.

        Raises:
            ValueError: an artifact that it needs is not there, or damaged.
        """
        return Report(test={})

    def grid_report(self, rows: Sequence[Any], answers: Mapping[Any, A], data: D, title: str) -> Report:  # noqa: ARG002
        """What is recorded of an evaluation under several settings, beside its rows.

        Args:
            rows: one `pipeline.tasks.solver_grid.Row` a setting, that of the training first.
            answers: of the settings whose solve did not fail.
        """
        return Report(test={})

    def grid_warning(self, rows: Sequence[Any], items: int) -> str | None:  # noqa: ARG002 - for those that override it
        """What a reader of the rows should know, in a sentence."""
        return None

    def facts(self, config: C, data: D) -> dict[str, Any]:
        """What is recorded of a run before it trains; `data.sha256` among it says which data it was.

        With `Task.restore` it is enough to build the model again without its data.
        """
        return {"data": self.test_facts(data), "parameters": self.parameter_counts(config, data)}

    def parameter_counts(self, config: C, data: D) -> dict[str, int]:
        """How many parameters the model has, by a name for each count."""
        model = self.build_model(config, data)
        fill_lazy_layers(model, partial(self.objective, config, data))
        return {"total": sum(parameter.numel() for parameter in model.parameters())}

    def test_facts(self, data: D) -> dict[str, Any]:
        """What is recorded of the test split, as the run's `info.data`."""
        return {"sha256": data.sha256, "test_items": data.test_items}

    @abstractmethod
    def restore(self, config: C, facts: Mapping[str, Any], solver: SolverConfig) -> TrainedModel[C]:
        """The model of a stored run, its weights still to be loaded.

        Args:
            facts: what `facts` gave when the run began.
            solver: to be solved with.
        """

    def evaluation_data(self, trained: Any, name: str | None) -> D:
        """The data of the training, or another data set that fits the model, for its test split; on the CPU.

        Raises:
            InvalidInput: the data do not fit the model, or the task has no other data sets.
        """
        config = trained.config
        return self.load_data(replace(config, data=config.data.of(name or config.data.name)))

    def data_notes(self, trained: Any, data: D, recorded_sha256: str, run_id: int) -> list[str]:  # noqa: ARG002
        """What a reader of an evaluation should know of its data, by sentences."""
        if data.sha256 != recorded_sha256:
            return [f"the data are not those that run {run_id} was trained on"]
        return []

    def changed(self, answers: A, reference: A) -> float | None:  # noqa: ARG002 - for those that override it
        """The share of the items whose answer is another than in `reference`; None where that says nothing."""
        return None

    def title(self, config: C) -> str:
        """What figures say they show."""
        return f"{model_name(vars(config.model))} on {data_name(vars(config.data))}"

    def warn(self, config: C) -> None:
        """Warn of settings that change nothing."""

    def warn_of_data(self, config: C, data: D) -> None:
        """The same of those that change nothing with data of this kind."""
