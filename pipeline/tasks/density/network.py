"""A density as a network that is trained: whatever its kind, it gives the log-density of points."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.flows import Flow, Gaussian, LogProb
from pipeline.models.build import named_part
from pipeline.models.try_out import try_out
from pipeline.plugins import registry
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.models.cnf import flow_of


class DensityNetwork(nn.Module):
    """Points, shape (n, D), to their log-densities in nats, shape (n,).

    Attributes:
        density: with `log_prob`, `sample` and, to be matched to a target, `rsample_and_log_prob`.
    """

    def __init__(self, density: nn.Module) -> None:
        super().__init__()
        self.density: Any = density

    def forward(self, points: Tensor) -> Tensor:
        """As it stands, without penalties."""
        value: Tensor = self.density.log_prob(points).value
        return value

    @property
    def is_fitted(self) -> bool:
        """Whether it is fitted in closed form, so that nothing is left to train."""
        return isinstance(self.density, Gaussian)


def build_density(config: DensityConfig, solver: SolverConfig, dimension: int) -> DensityNetwork:
    """The density that `config` names, with weights from torch's global random state.

    Raises:
        InvalidInput: values that make no density.
        PluginError: a plug-in builds something else.
    """
    network = DensityNetwork(_built(config, solver, dimension))
    for flow in network.modules():
        if isinstance(flow, Flow):
            flow.penalties = tuple(config.regularisation.weights)
    return network


def _built(config: DensityConfig, solver: SolverConfig, dimension: int) -> nn.Module:
    part, flow = named_part(config.model), config.flow
    if part.kind == "field":

        def build_field() -> nn.Module:
            built = _module(part, part.built(dimension, **config.model.options))
            try_out(part, built, torch.zeros(2, dimension), f"two points of {dimension} numbers", solver)
            return built

        return flow_of(build_field, dimension, solver, flow)
    shared = {"config": flow} if "config" in inspect.signature(part.build).parameters else {}
    built = _module(part, part.built((dimension,), dimension, solver, **shared, **config.model.options))
    missing = [name for name in ("log_prob", "sample") if not hasattr(built, name)]
    if missing:
        raise registry.PluginError(
            f"{part.where}: the {part.kind} {part.name} of a density has no {' and no '.join(missing)}: write them as "
            "pipeline.flows.Density says"
        )
    if not part.is_shipped:
        _refuse_other_values(part, built, dimension)
    return built


def _refuse_other_values(part: registry.Part, density: Any, dimension: int) -> None:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        found = density.eval().log_prob(torch.zeros(2, dimension))
        density.train()
    if not isinstance(found, LogProb):
        given = f"a {type(found).__name__}"
    elif found.value.shape != (2,):
        given = f"values of shape {tuple(found.value.shape)}"
    else:
        return
    raise registry.PluginError(
        f"{part.where}: log_prob of the {part.kind} {part.name} gives {given} for two points: return a "
        "pipeline.flows.LogProb whose value has the shape (n,)"
    )


def _module(part: registry.Part, built: object) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise registry.PluginError(
            f"{part.where}: the {part.kind} {part.name} returned a {type(built).__name__}; return a torch.nn.Module"
        )
    return built
