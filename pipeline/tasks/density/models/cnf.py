"""A continuous normalizing flow, or several one after the other."""

from collections.abc import Callable

from torch import nn

from pipeline import plugins
from pipeline.config import SolverConfig
from pipeline.flows import Flow, MLPField, Normal, PlanarField
from pipeline.tasks.density.chain import Chain
from pipeline.tasks.density.config import FlowConfig

HIDDEN_LAYERS, WIDTH_OF_THE_NETWORK_OF_TIME = 3, 32


@plugins.model("cnf", task="density")
def cnf(input_shape: tuple[int, ...], outputs: int, solver: SolverConfig, *, config: FlowConfig) -> nn.Module:  # noqa: ARG001
    """A flow of the configured field."""
    (dimension,) = input_shape
    return flow_of(lambda: _field(dimension, config), dimension, solver, config)


def flow_of(
    build_field: Callable[[], nn.Module], dimension: int, solver: SolverConfig, config: FlowConfig
) -> nn.Module:
    """A flow, or several, of fields that are built for each."""
    flows = [
        Flow(
            build_field(),
            Normal(dimension, config.base_sd),
            solver,
            dimension=dimension,
            trace=config.trace,
            probes=config.probes,
            noise=config.noise,
            final_time=config.final_time,
        )
        for _ in range(config.blocks)
    ]
    return flows[0] if len(flows) == 1 else Chain(flows)


def _field(dimension: int, config: FlowConfig) -> nn.Module:
    if config.field == "planar":
        return PlanarField(dimension, config.width, config.hidden or WIDTH_OF_THE_NETWORK_OF_TIME)
    hidden = config.hidden or HIDDEN_LAYERS
    return MLPField(dimension, config.width, hidden, layer=config.field, activation=config.activation)
