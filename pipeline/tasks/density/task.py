"""Densities: trained by likelihood or by matching, scored by likelihood, with its numerical error beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.config import ConfigError, SolverConfig
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks import base
from pipeline.tasks.base import Progress, Report, Task
from pipeline.tasks.density import evaluation, metric_specs
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.evaluation import Answers
from pipeline.tasks.density.network import DensityNetwork, build_density
from pipeline.tasks.density.objective import DensityMatching, MaximumLikelihood
from pipeline.tasks.density.points import DensityPoints, load_points
from pipeline.tasks.density.preprocessing import Preprocessing
from pipeline.training import Objective

FITTED = 100_000
"""Points of endless data that a density is fitted to in closed form."""


@dataclass(frozen=True)
class TrainedModel(base.TrainedModel[DensityConfig]):
    """A density with its best weights and all that is needed to use it."""

    network: DensityNetwork
    preprocessing: Preprocessing


@plugins.task("density")
class Density(Task[DensityConfig, DensityPoints, Answers]):
    """Points to their log-densities."""

    config = DensityConfig
    result: ClassVar[str] = metric_specs.RESULT

    @classmethod
    def metric_specs(cls) -> Sequence[MetricSpec]:
        return metric_specs.metric_specs()

    def load_data(self, config: DensityConfig) -> DensityPoints:
        data = load_points(config.data, config.seed)
        if config.flow.objective == "matching" and data.log_density is None:
            raise ConfigError(
                f"flow.objective is matching, but the density of {config.data.name} is not known: use likelihood, or "
                "two_moons, two_circles, rings, eight_gaussians, two_modes or potential_1 to potential_4"
            )
        return data

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
        evaluation.predict(
            model, data.first(config.evaluation.batch_size), config.evaluation.batch_size, lambda _: None
        )

    def examine(self, answers: Answers, config: DensityConfig, data: DensityPoints) -> Answers:
        is_matching = config.flow.objective == "matching"
        return replace(answers, checks=evaluation.examine(answers.network, data, is_matching))

    def scores(self, answers: Answers, data: DensityPoints) -> dict[str, float]:
        return evaluation.scores(answers, data)

    def report(self, answers: Answers, config: DensityConfig, data: DensityPoints, title: str) -> Report:  # noqa: ARG002
        counts = answers.nfe_per_batch
        found = self.scores(answers, data)
        return Report(
            test={**found, "points": len(answers.log_prob), "nfe_forward": float(np.mean(counts)) if counts else None},
            files={
                "evaluation.json": {**found, "true_nll": data.true_nll(), "nfe_per_batch": list(counts)},
                "log_probs.npz": evaluation.to_npz(answers, data),
            },
        )

    def facts(self, config: DensityConfig, data: DensityPoints) -> dict[str, Any]:
        model = self.build_model(config, data)
        sizes = {"validation_points": len(data.validation), **self.test_facts(data), **data.preprocessing.to_dict()}
        if data.sample is None:
            sizes["training_points"] = len(data.train)
        return {"data": sizes, "parameters": {"total": sum(parameter.numel() for parameter in model.parameters())}}

    def test_facts(self, data: DensityPoints) -> dict[str, Any]:
        return {"sha256": data.sha256, "test_points": data.test_items}

    def restore(self, config: DensityConfig, facts: Mapping[str, Any], solver: SolverConfig) -> TrainedModel:
        preprocessing = Preprocessing.from_dict(facts["data"], config.data.logit)
        return TrainedModel(build_density(config, solver, preprocessing.dimension), config, preprocessing)

    def test_solver(self, config: DensityConfig) -> SolverConfig:
        flow = config.flow
        return replace(config.solver, method=flow.test_method, rtol=flow.test_rtol, atol=flow.test_atol)

    def final_time(self, config: DensityConfig) -> float:
        return config.flow.final_time


def _points_to_fit(data: DensityPoints) -> Tensor:
    if data.sample is not None:
        return torch.from_numpy(data.sample(FITTED, np.random.default_rng(1))).float().to(data.device)
    if data.preprocessing.dequantisation is not None:
        return data.preprocessing.dequantised(data.train, torch.Generator().manual_seed(0))[0]
    return data.train
