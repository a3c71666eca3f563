"""Models of the usual sizes."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from pipeline.config import SolverConfig
from pipeline.series.baselines import Forecaster
from pipeline.series.cells import Cell, GRUDCell, ODERNNCell, RNNCell, TimeGapRNNCell
from pipeline.series.encoders import Encoder
from pipeline.series.fields import Activation, Decoder, LatentField
from pipeline.series.latent import LatentODE
from pipeline.series.noise import ObservationNoise
from pipeline.series.poisson import Intensity

CellName = Literal["rnn", "rnn_dt", "gru_d", "ode_rnn"]
EULER = SolverConfig(method="euler", steps=1)
LATENT_SOLVER = SolverConfig(rtol=1e-5, atol=1e-5)


def build_cell(
    name: CellName,
    dimensions: int,
    hidden: int = 25,
    *,
    field_hidden: Sequence[int] = (50,),
    solver: SolverConfig = EULER,
) -> Cell:
    """A cell by its name.

    Args:
        field_hidden, solver: of the ODE of an `ode_rnn`.
    """
    match name:
        case "rnn":
            return RNNCell(dimensions, hidden)
        case "rnn_dt":
            return TimeGapRNNCell(dimensions, hidden)
        case "gru_d":
            return GRUDCell(dimensions, hidden)
        case "ode_rnn":
            return ODERNNCell(dimensions, hidden, LatentField(hidden, field_hidden, "tanh"), solver)


def build_latent_ode(
    dimensions: int,
    *,
    latent: int = 4,
    encoder: CellName = "rnn_dt",
    encoder_hidden: int = 25,
    encoder_solver: SolverConfig = EULER,
    field_hidden: Sequence[int] = (20,),
    activation: Activation = "elu",
    decoder_hidden: Sequence[int] = (20,),
    noise: float | None = None,
    solver: SolverConfig = LATENT_SOLVER,
    time_unit: float = 1.0,
    has_intensity: bool = False,
    classes: int = 0,
) -> LatentODE:
    """A latent ODE of the sizes of Chen et al. 2018, section 5.1, unless others are given.

    Args:
        dimensions: D, the values at a time.
        noise: sd of an observation; learned without it.
        classes: of the series' labels; none for 0.
    """
    cell = build_cell(encoder, dimensions, encoder_hidden, solver=encoder_solver)
    return LatentODE(
        Encoder(cell, latent),
        LatentField(latent, field_hidden, activation),
        Decoder(latent, dimensions, decoder_hidden),
        ObservationNoise(dimensions) if noise is None else ObservationNoise(dimensions, noise, is_learned=False),
        solver,
        time_unit=time_unit,
        intensity=Intensity(latent) if has_intensity else None,
        classifier=nn.Linear(latent, classes) if classes else None,
    )


def build_forecaster(
    name: CellName,
    dimensions: int,
    *,
    hidden: int = 25,
    decoder_hidden: Sequence[int] = (20,),
    noise: float | None = None,
    solver: SolverConfig = EULER,
    time_unit: float = 1.0,
    classes: int = 0,
) -> Forecaster:
    """A recurrent network of the sizes of Chen et al. 2018, section 5.1, unless others are given.

    Args:
        dimensions: D, the values at a time.
        noise: sd of an observation; learned without it.
        solver: of an `ode_rnn`, between observations.
        classes: of the series' labels; none for 0.
    """
    cell = build_cell(name, dimensions, hidden, solver=solver)
    return Forecaster(
        cell,
        Decoder(cell.features_width, dimensions, decoder_hidden),
        ObservationNoise(dimensions) if noise is None else ObservationNoise(dimensions, noise, is_learned=False),
        time_unit=time_unit,
        classifier=nn.Linear(cell.features_width, classes) if classes else None,
    )
