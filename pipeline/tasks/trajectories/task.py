"""Points that a network moves: what continuous trajectories can do, and discrete ones."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.data.subset import draw_subset
from pipeline.models.build import build_named, built_field, named_part
from pipeline.models.time_weights import curves, of_time
from pipeline.models.try_out import try_out
from pipeline.ode import ODEBlock
from pipeline.ode.counts import nfe_forward
from pipeline.ode.regularisation import regularise
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.base import Progress, Report, Task, TrainedModel
from pipeline.tasks.trajectories import metric_specs
from pipeline.tasks.trajectories.config import TrajectoriesConfig
from pipeline.tasks.trajectories.data import Points, load_points
from pipeline.tasks.trajectories.networks import PointNetwork
from pipeline.tasks.trajectories.objective import SmoothL1, scores
from pipeline.tasks.trajectories.survey import survey
from pipeline.tasks.trajectories.unused_settings import warn_of_unused_settings
from pipeline.training import Objective
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Answers:
    """Of the test points, in their order, on the CPU.

    Attributes:
        nfe_per_batch: evaluations of the field; empty for a discrete network.
    """

    values: Tensor
    nfe_per_batch: tuple[int, ...]


@plugins.task("trajectories")
class Trajectories(Task[TrajectoriesConfig, Points, Answers]):
    """Points to where they go, or to a number for each."""

    config = TrajectoriesConfig
    result: ClassVar[str] = metric_specs.RESULT
    divides_batches: ClassVar[bool] = True

    @classmethod
    def metric_specs(cls) -> Sequence[MetricSpec]:
        return metric_specs.metric_specs()

    def load_data(self, config: TrajectoriesConfig) -> Points:
        return load_points(config.data, config.seed)

    def test_subset(self, data: Points, items: int) -> Points:
        rows = draw_subset(data.test_items, items).to(data.device)
        return replace(data, x_test=data.x_test[rows], y_test=data.y_test[rows])

    def build_model(self, config: TrajectoriesConfig, data: Points) -> PointNetwork:
        network = build_network(config, config.solver, data.dimension, data.is_map)
        regularise(network, config.regularisation)
        return network

    def objective(self, config: TrajectoriesConfig, data: Points) -> Objective:
        return SmoothL1(data, config.regularisation)

    @torch.no_grad()
    def predict(self, model: nn.Module, config: TrajectoriesConfig, data: Points, progress: Progress) -> Answers:
        model.eval()
        answers, counts = [], []
        for points in data.x_test.split(config.evaluation.batch_size):
            answers.append(model(points))
            if (count := nfe_forward(model)) is not None:
                counts.append(count)
            progress(len(points))
        return Answers(torch.cat(answers).float().cpu(), tuple(counts))

    def scores(self, answers: Answers, data: Points) -> dict[str, float]:
        wanted = data.y_test.cpu()
        return {"loss": float(functional.smooth_l1_loss(answers.values, wanted)), **scores(answers.values, wanted)}

    def report(self, answers: Answers, config: TrajectoriesConfig, data: Points, title: str) -> Report:  # noqa: ARG002
        counts = answers.nfe_per_batch
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, x=data.x_test.cpu().numpy(), y=data.y_test.cpu().numpy(), answers=answers.values.numpy()
        )
        return Report(
            test={
                **self.scores(answers, data),
                "points": data.test_items,
                "nfe_forward": float(np.mean(counts)) if counts else None,
            },
            files={"predictions.npz": buffer.getvalue()},
        )

    def model_report(self, model: nn.Module, config: TrajectoriesConfig, data: Points, title: str) -> Report:  # noqa: ARG002
        assert isinstance(model, PointNetwork)
        found = survey(model.eval(), data)
        drawn: dict[str, Callable[[], Figure]] = {
            "trajectories.png": lambda: _drawing().plot_trajectories(found, title)
        }
        if of_weights := curves(model):
            from pipeline.reporting.time_weights_figure import plot_time_weights

            drawn["time_weights.png"] = partial(plot_time_weights, of_weights, title)
        if found.plane is not None:
            drawn["plane.png"] = lambda: _drawing().plot_plane(found, title)
        return Report(test={}, files={"trajectories.npz": found.to_npz()}, figures=drawn)

    def facts(self, config: TrajectoriesConfig, data: Points) -> dict[str, Any]:
        found = super().facts(config, data)
        sizes = {"training_items": len(data.x_train), "validation_items": len(data.x_validation)}
        return {**found, "data": {**found["data"], **sizes}}

    def test_facts(self, data: Points) -> dict[str, Any]:
        return {
            "sha256": data.sha256,
            "test_items": data.test_items,
            "dimension": data.dimension,
            "is_map": data.is_map,
        }

    def restore(
        self, config: TrajectoriesConfig, facts: Mapping[str, Any], solver: SolverConfig
    ) -> TrainedModel[TrajectoriesConfig]:
        shape = facts["data"]
        return TrainedModel(build_network(config, solver, shape["dimension"], shape["is_map"]), config)

    def evaluation_data(self, trained: TrainedModel[TrajectoriesConfig], name: str | None) -> Points:
        points = super().evaluation_data(trained, name)
        network = trained.network
        assert isinstance(network, PointNetwork)
        if (points.dimension, points.is_map) != (network.dimension, network.head is None):
            raise InvalidInput(f"the points of {name} are of another kind than those that the network was trained on")
        return points

    def warn(self, config: TrajectoriesConfig) -> None:
        warn_of_unused_settings(config)


def build_network(config: TrajectoriesConfig, solver: SolverConfig, dimension: int, is_map: bool) -> PointNetwork:
    """The network that the configuration names, with first weights of torch's global random state.

    Raises:
        PluginError: a plug-in gives no module, or one that does not move points.
    """
    width, part = dimension + config.model.augment, named_part(config.model)
    if part.kind == "field":
        field = of_time(built_field(config.model, width), config.model)
        body: nn.Module = ODEBlock(field, config.model.final_time, solver)
    else:
        body = build_named(config.model, solver, (width,), width)
    if not part.is_shipped:
        tried, of_field = (body.field, solver) if isinstance(body, ODEBlock) else (body, None)
        try_out(part, tried, torch.zeros(2, width), f"two points of {width} numbers", of_field)
    return PointNetwork(dimension, config.model.augment, body, is_map)


def _drawing() -> Any:
    """Imported by the first figure: a training does not wait for its libraries, nor end where they are broken."""
    from pipeline.tasks.trajectories import figures

    return figures
