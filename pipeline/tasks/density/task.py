"""Densities: trained by likelihood or by matching, scored by likelihood, with its numerical error beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.config import ConfigError, SolverConfig
from pipeline.data.subset import draw_subset
from pipeline.flows import Flow
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.base import Progress, Report, Task
from pipeline.tasks.density import evaluation, metric_specs
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.evaluation import Answers
from pipeline.tasks.density.flattering import flattering_setting
from pipeline.tasks.density.loose_tolerances import warn_of_loose_tolerances
from pipeline.tasks.density.network import DensityNetwork, build_density
from pipeline.tasks.density.objective import DensityMatching, MaximumLikelihood
from pipeline.tasks.density.points import DensityPoints, load_points, load_test_points
from pipeline.tasks.density.preprocessing import Preprocessing
from pipeline.tasks.density.trained import TrainedModel
from pipeline.tasks.density.unused_settings import warn_of_settings_of_other_data, warn_of_unused_settings
from pipeline.tasks.solver_grid import Row, Setting
from pipeline.training import Objective

FITTED = 100_000
"""Points of endless data that a density is fitted to in closed form."""


@plugins.task("density")
class Density(Task[DensityConfig, DensityPoints, Answers]):
    """Points to their log-densities."""

    config = DensityConfig
    result: ClassVar[str] = metric_specs.RESULT
    grid: ClassVar[Mapping[str, Any]] = {"methods": ("dopri5",), "tolerances": (1e-3, 1e-4, 1e-5, 1e-6)}

    @classmethod
    def metric_specs(cls) -> Sequence[MetricSpec]:
        return metric_specs.metric_specs()

    def load_data(self, config: DensityConfig) -> DensityPoints:
        return _load(config)

    def test_subset(self, data: DensityPoints, items: int) -> DensityPoints:
        rows = draw_subset(data.test_items, items).to(data.device)
        return replace(data, test=data.test[rows], test_slope=data.test_slope[rows])

    def build_model(self, config: DensityConfig, data: DensityPoints) -> DensityNetwork:
        network = build_density(config, config.solver, data.dimension)
        if network.is_fitted:
            network.density.fit(_points_to_fit(data))
        return network

    def objective(self, config: DensityConfig, data: DensityPoints) -> Objective:
        return DensityMatching(config, data) if config.flow.objective == "matching" else MaximumLikelihood(config, data)

    def predict(self, model: nn.Module, config: DensityConfig, data: DensityPoints, progress: Progress) -> Answers:
        assert isinstance(model, DensityNetwork)
        return evaluation.predict(model, data, config.evaluation.batch_size, progress)

    def warm_up(self, model: nn.Module, config: DensityConfig, data: DensityPoints) -> None:
        assert isinstance(model, DensityNetwork)
        size = config.evaluation.batch_size
        evaluation.predict(model, data.first(size), size, lambda _: None)

    def examine(self, answers: Answers, config: DensityConfig, data: DensityPoints) -> Answers:
        is_matching = config.flow.objective == "matching"
        return replace(answers, checks=evaluation.examine(answers.network, data, is_matching))

    def scores(self, answers: Answers, data: DensityPoints) -> dict[str, float]:
        return evaluation.scores(answers, data)

    def report(self, answers: Answers, config: DensityConfig, data: DensityPoints, title: str) -> Report:
        from pipeline.tasks.density import figures  # here, as a training does not wait for its figures' libraries

        counts, found = answers.nfe_per_batch, self.scores(answers, data)
        if counts:
            warn_of_loose_tolerances(answers, config, data)
        files: dict[str, Any] = {
            "evaluation.json": {**found, "true_nll": data.true_nll(), "nfe_per_batch": list(counts)},
            "log_probs.npz": evaluation.to_npz(answers, data),
        }
        drawn = {"samples.png": partial(figures.plot_samples, answers.network, data, title)}
        flow = answers.network.density
        if isinstance(flow, Flow) and data.dimension <= 2:
            drawn["density_over_time.png"] = partial(figures.plot_density_over_time, flow, data, title)
        if isinstance(flow, Flow) and data.dimension == 2:
            drawn["vector_field.png"] = partial(figures.plot_vector_field, flow, data, title)
            files["density_over_time.gif"] = figures.animate(flow, data)
        costs = {"points": len(answers.log_prob), "nfe_forward": float(np.mean(counts)) if counts else None}
        return Report(test={**found, **costs}, files=files, figures=drawn)

    def grid_report(
        self,
        rows: Sequence[Row],
        answers: Mapping[Setting, Answers],  # noqa: ARG002
        data: DensityPoints,  # noqa: ARG002
        title: str,
    ) -> Report:
        if sum(row.nfe_forward is not None for row in rows) < 2:
            return Report(test={})
        from pipeline.tasks.density import figures

        return Report({}, figures={"nll_over_tolerance.png": partial(figures.plot_nll_over_tolerance, rows, title)})

    def grid_warning(self, rows: Sequence[Row], items: int) -> str | None:  # noqa: ARG002
        return flattering_setting(rows)

    def facts(self, config: DensityConfig, data: DensityPoints) -> dict[str, Any]:
        sizes = {"training_points": len(data.train)} if data.sample is None else {}
        sizes |= {"validation_points": len(data.validation), **self.test_facts(data)}
        data_facts = {**sizes, **data.preprocessing.to_dict()}
        return {"data": data_facts, "parameters": self.parameter_counts(config, data)}

    def test_facts(self, data: DensityPoints) -> dict[str, Any]:
        return {"sha256": data.sha256, "test_points": data.test_items}

    def restore(self, config: DensityConfig, facts: Mapping[str, Any], solver: SolverConfig) -> TrainedModel:
        preprocessing = Preprocessing.from_dict(facts["data"], config.data.logit)
        return TrainedModel(build_density(config, solver, preprocessing.dimension), config, preprocessing)

    def test_solver(self, config: DensityConfig) -> SolverConfig:
        return config.test_solver

    def final_time(self, config: DensityConfig) -> float:
        return config.flow.final_time

    def evaluation_data(self, trained: TrainedModel, name: str | None) -> DensityPoints:
        config = trained.config
        if name is None or name == config.data.name:
            return _load(config, trained.preprocessing)
        return load_test_points(config.data.of(name), trained.preprocessing)

    def warn(self, config: DensityConfig) -> None:
        warn_of_unused_settings(config)

    def warn_of_data(self, config: DensityConfig, data: DensityPoints) -> None:
        warn_of_settings_of_other_data(config, data)


def _load(config: DensityConfig, known: Preprocessing | None = None) -> DensityPoints:
    data = load_points(config.data, config.seed, known)
    if config.flow.objective == "matching" and data.log_density is None:
        raise ConfigError(
            f"flow.objective is matching, but the density of {config.data.name} is not known: use likelihood, or "
            "two_moons, two_circles, rings, eight_gaussians, two_modes or potential_1 to potential_4"
        )
    return data


def _points_to_fit(data: DensityPoints) -> Tensor:
    if data.sample is not None:
        return torch.from_numpy(data.sample(FITTED, np.random.default_rng(1))).float().to(data.device)
    if data.preprocessing.dequantisation is not None:
        return data.preprocessing.dequantised(data.train, torch.Generator().manual_seed(0))[0]
    return data.train
