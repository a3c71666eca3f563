"""The models that a configuration names, and their parts."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.device.compilation import prepare
from pipeline.models.try_out import try_out
from pipeline.plugins import registry
from pipeline.series import (
    Cell,
    Forecaster,
    GRUDCell,
    Intensity,
    LatentField,
    LatentODE,
    ObservationNoise,
    ODERNNCell,
    RNNCell,
    TimeGapRNNCell,
)
from pipeline.tasks.series.config import LEARNED, SeriesConfig, SeriesTaskConfig

Model = LatentODE | Forecaster
FIRST_SD = 0.5
"""Where the learning of the noise of an observation begins, in the scaled unit."""
BETWEEN_OBSERVATIONS = SolverConfig(method="euler", steps=1)
"""Of an ODE-RNN: one Euler step a gap, as Rubanova et al. 2019 take where gaps are small."""


def build_model(
    config: SeriesTaskConfig,
    solver: SolverConfig,
    dimensions: int,
    classes: int,
    time_unit: float,
    mean: Sequence[float],
) -> Model:
    """The model with weights of torch's global random state.

    Args:
        solver: of the latent ODE.
        classes: of the labels; 0 where there are none.
        time_unit: what its networks take for a unit of time.
        mean: of the training data, a number a dimension.

    Raises:
        PluginError: a plug-in gives something else than a model of series.
    """
    settings, name = config.series, config.model.architecture
    outputs = classes if settings.label_weight > 0 else 0
    if name in registry.names("field", "series"):
        part = registry.find("field", name, "series")
        field = _module(part, part.built(settings.latent, **config.model.options))
        states = torch.zeros(2, settings.latent)
        try_out(part, field, states, f"two states of {settings.latent} numbers by series.latent", solver)
        built: Any = latent_ode(dimensions, outputs, solver, settings, field)
    else:
        part = registry.find("model", name, "series")
        built = _called(part, (dimensions,), outputs, solver, config=settings, options=config.model.options)
    if not isinstance(built, LatentODE | Forecaster):
        raise registry.PluginError(
            f"{part.where}: the {part.kind} {part.name} returned a {type(built).__name__}; return a LatentODE or a "
            "Forecaster of pipeline.series"
        )
    built.time_unit = time_unit
    for module in built.modules():
        if isinstance(module, GRUDCell):
            module.mean.copy_(torch.tensor(mean))
    if isinstance(built, LatentODE):
        built.is_compiled = config.training.compile is True and solver.can_be_compiled
        if built.is_compiled:
            prepare()
    return built


def latent_ode(
    dimensions: int, classes: int, solver: SolverConfig, config: SeriesConfig, field: nn.Module | None = None
) -> LatentODE:
    """A latent ODE of the parts that `config` names.

    Args:
        field: of a plug-in; a perceptron without it.
    """
    encoder = registry.find("encoder", config.encoder)
    layers = (config.field_hidden,) * config.field_layers
    return LatentODE(
        _module(encoder, _called(encoder, dimensions, config.latent, config=config, options=config.encoder_options)),
        field or LatentField(config.latent, layers, config.activation),
        build_decoder(config.latent, dimensions, config),
        build_noise(dimensions, config),
        solver,
        intensity=Intensity(config.latent) if config.poisson else None,
        classifier=nn.Linear(config.latent, classes) if classes else None,
    )


def forecaster(name: str, dimensions: int, classes: int, config: SeriesConfig) -> Forecaster:
    """A recurrent model with the cell of that name."""
    cell = build_cell(name, dimensions, config)
    return Forecaster(
        cell,
        build_decoder(cell.features_width, dimensions, config),
        build_noise(dimensions, config),
        classifier=nn.Linear(cell.features_width, classes) if classes else None,
    )


def build_cell(name: str, dimensions: int, config: SeriesConfig) -> Cell:
    """A recurrent cell: rnn, rnn_dt, gru_d or ode_rnn."""
    match name:
        case "rnn":
            return RNNCell(dimensions, config.hidden)
        case "rnn_dt":
            return TimeGapRNNCell(dimensions, config.hidden)
        case "gru_d":
            return GRUDCell(dimensions, config.hidden)
        case _:
            field = LatentField(config.hidden, (config.field_hidden,) * config.field_layers, "tanh")
            return ODERNNCell(dimensions, config.hidden, field, BETWEEN_OBSERVATIONS)


def build_decoder(width: int, dimensions: int, config: SeriesConfig) -> nn.Module:
    """The decoder that `config` names, from states of that width."""
    part = registry.find("decoder", config.decoder)
    decoder = _module(part, _called(part, width, dimensions, config=config, options=config.decoder_options))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        given = decoder.eval()(torch.zeros(1, 2, 1, width))
        decoder.train()
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    if shape != (1, 2, 1, dimensions):
        raise registry.PluginError(
            f"{part.where}: the decoder {part.name} gives {shape} for states of shape (1, 2, 1, {width}): give values "
            f"of shape (1, 2, 1, {dimensions})"
        )
    return decoder


def build_noise(dimensions: int, config: SeriesConfig) -> ObservationNoise:
    """Learned, or as given."""
    if config.observation_sd == LEARNED:
        return ObservationNoise(dimensions, FIRST_SD)
    return ObservationNoise(dimensions, float(config.observation_sd), is_learned=False)


def _called(part: registry.Part, *arguments: Any, config: SeriesConfig, options: Any) -> Any:
    shared = {"config": config} if "config" in inspect.signature(part.build).parameters else {}
    return part.built(*arguments, **shared, **options)


def _module(part: registry.Part, built: object) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise registry.PluginError(
            f"{part.where}: the {part.kind} {part.name} returned a {type(built).__name__}; return a torch.nn.Module"
        )
    return built
