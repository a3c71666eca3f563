"""Small series, and models of them in float64."""

from collections.abc import Sequence

import pytest
import torch

from pipeline.config import SolverConfig
from pipeline.series import Forecaster, LatentODE, Series, build_forecaster, build_latent_ode

PRECISE = SolverConfig(rtol=1e-8, atol=1e-8)


def irregular_series(lengths: Sequence[int] = (7, 4, 9), dimensions: int = 2, seed: int = 0) -> list[Series]:
    """Of these lengths, from different starts on, with a third of the values missing and two thirds of the others
    observed."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number, length in enumerate(lengths):
        times = 3.0 * number + torch.rand(length, generator=generator, dtype=torch.float64).cumsum(0)
        values = torch.randn(length, dimensions, generator=generator, dtype=torch.float64)
        mask = torch.rand(length, dimensions, generator=generator) < 2 / 3
        observed = mask & (torch.rand(length, 1, generator=generator) < 2 / 3)
        mask[1, 0] = observed[1, 0] = True
        found.append(Series(times, values, mask, observed=observed, label=number % 2, name=str(number)))
    return found


@pytest.fixture(autouse=True)
def _in_float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def series() -> list[Series]:
    return irregular_series()


CELLS = ("rnn", "rnn_dt", "gru_d", "ode_rnn")


@pytest.fixture(params=[(kind, cell) for kind in ("latent", "forecaster") for cell in CELLS], ids="-".join)
def model(request) -> LatentODE | Forecaster:
    """One with each of the cells, all that it can have beside, and a unit of time that is not 1."""
    torch.manual_seed(0)
    kind, cell = request.param
    if kind == "latent":
        return build_latent_ode(
            2, encoder=cell, encoder_hidden=6, has_intensity=True, classes=2, time_unit=1.5, solver=PRECISE
        )
    return build_forecaster(cell, 2, hidden=6, classes=2, time_unit=1.5)
