"""Irregular time series: latent ODEs and recurrent networks, trained by likelihood, scored by predictions."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.data.subset import draw_subset
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks import base
from pipeline.tasks.base import Progress, Report, Task
from pipeline.tasks.series import metric_specs
from pipeline.tasks.series.build import Model, build_model
from pipeline.tasks.series.config import SeriesTaskConfig
from pipeline.tasks.series.evaluation import Answers, answer, scores
from pipeline.tasks.series.loading import load_series_set
from pipeline.tasks.series.objective import NegativeBound
from pipeline.tasks.series.shown import show
from pipeline.tasks.series.splits import Scaling, SeriesData, prepare
from pipeline.tasks.series.unused_settings import warn_of_unused_settings
from pipeline.training import Objective
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS_OF_A_WINDOW = 5
"""Units of time that the longest window of the training split has, unless `series.time_unit` says otherwise."""
COLLAPSED = 0.01
"""Nats of KL per series below which a posterior says nothing of the series."""


@dataclass(frozen=True)
class TrainedModel(base.TrainedModel[SeriesTaskConfig]):
    """A model with its best weights and all that is needed to use it."""

    network: Model
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    scaling: Scaling


@plugins.task("series")
class IrregularSeries(Task[SeriesTaskConfig, SeriesData, Answers]):
    """Irregular time series."""

    config = SeriesTaskConfig
    result: ClassVar[str] = metric_specs.RESULT

    @classmethod
    def metric_specs(cls) -> Sequence[MetricSpec]:
        return metric_specs.metric_specs()

    def load_data(self, config: SeriesTaskConfig) -> SeriesData:
        return prepare(load_series_set(config.data), config)

    def test_subset(self, data: SeriesData, items: int) -> SeriesData:
        return replace(data, test=data.test.chosen(draw_subset(data.test_items, items).to(data.device)))

    def build_model(self, config: SeriesTaskConfig, data: SeriesData) -> nn.Module:
        unit = _time_unit(config, data)
        return build_model(config, config.solver, len(data.channels), len(data.classes), unit, data.scaling.mean)

    def objective(self, config: SeriesTaskConfig, data: SeriesData) -> Objective:
        return NegativeBound(data, config.series)

    def predict(self, model: nn.Module, config: SeriesTaskConfig, data: SeriesData, progress: Progress) -> Answers:
        assert isinstance(model, Model)
        said = answer(model, data.test, config.series, config.evaluation.batch_size, progress)
        return replace(said, shown=show(model, data.test))

    def scores(self, answers: Answers, data: SeriesData) -> dict[str, float]:  # noqa: ARG002
        return scores(answers)

    def report(
        self,
        answers: Answers,
        config: SeriesTaskConfig,  # noqa: ARG002
        data: SeriesData,
        title: str,
    ) -> Report:
        found = scores(answers)
        if "kl" in found and found["kl"] < COLLAPSED:
            warnings.warn(
                OdenetWarning(
                    f"the posterior has collapsed: its KL is {found['kl']:.4f} nats a series, so that what is observed "
                    "of a series changes next to nothing of what is said of it; use series.kl_epochs to begin without "
                    "the KL, a smaller series.observation_sd, or more training"
                ),
                stacklevel=2,
            )
        counts = answers.nfe_per_batch
        return Report(
            test={**found, "items": len(answers.names), "nfe_forward": sum(counts) / len(counts) if counts else None},
            files={"predictions.npz": answers.to_npz(data.scaling.scale)},
            figures=_figures(answers, data, title),
        )

    def facts(self, config: SeriesTaskConfig, data: SeriesData) -> dict[str, Any]:
        if config.series.label_weight > 0 and not data.classes:
            raise InvalidInput(
                f"series.label_weight is {config.series.label_weight:g}, but the series of {config.data.name} have no "
                "labels: leave it out"
            )
        return {
            "data": {
                **self.test_facts(data),
                "training_items": len(data.train),
                "validation_items": len(data.validation),
                "channels": list(data.channels),
                "classes": list(data.classes),
                "time": data.time,
                "time_unit": _time_unit(config, data),
                "scaling": data.scaling.as_recorded(),
            },
            "parameters": self.parameter_counts(config, data),
        }

    def restore(self, config: SeriesTaskConfig, facts: Mapping[str, Any], solver: SolverConfig) -> TrainedModel:
        of_data = facts["data"]
        channels, classes = tuple(of_data["channels"]), tuple(of_data["classes"])
        scaling, unit = Scaling.recorded(of_data["scaling"]), float(of_data["time_unit"])
        network = build_model(config, solver, len(channels), len(classes), unit, scaling.mean)
        return TrainedModel(network, config, channels, classes, scaling)

    def evaluation_data(self, trained: TrainedModel, name: str | None) -> SeriesData:
        config = trained.config
        config = replace(config, data=config.data.of(name or config.data.name))
        found = load_series_set(config.data, may_lack_channels=True)
        if len(found.channels) != len(trained.channels):
            raise InvalidInput(
                f"{config.data.name} has {len(found.channels)} channels, but the model knows {len(trained.channels)}: "
                "choose a data set with as many"
            )
        known = found.with_channels(config.data.name, trained.channels).with_classes(trained.classes)
        is_another = config.data.name != trained.config.data.name
        return prepare(known, config, trained.scaling, is_tested_whole=is_another)

    def warn(self, config: SeriesTaskConfig) -> None:
        warn_of_unused_settings(config)


def _figures(answers: Answers, data: SeriesData, title: str) -> dict[str, Callable[[], "Figure"]]:
    shown = answers.shown
    if shown is None:
        return {}
    found: dict[str, Callable[[], Figure]] = {
        "trajectories.png": lambda: _drawing().plot_trajectories(shown.examples, data.channels, data.time, title),
        "observed_share.png": lambda: _drawing().plot_thinned(shown.thinned, title),
    }
    if len(data.channels) == 2:
        found["plane.png"] = lambda: _drawing().plot_plane(shown.examples, data.channels, title)
    if shown.varied is not None:
        found["z0_varied.png"] = lambda: _drawing().plot_varied(shown, data.channels, data.time, title)
    means = answers.latent_means
    if means is not None and means.shape[1] > 1 and len(means) > 1:
        found["latent_plane.png"] = lambda: _drawing().plot_latent(means, answers.labels, data.classes, title)
    return found


def _drawing() -> Any:
    """Imported by the first figure: a training does not wait for its libraries, nor end where they are broken."""
    from pipeline.tasks.series import figures

    return figures


def _time_unit(config: SeriesTaskConfig, data: SeriesData) -> float:
    return config.series.time_unit or data.longest / UNITS_OF_A_WINDOW
