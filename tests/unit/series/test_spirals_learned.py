"""What a latent ODE learns of spirals, of which it is shown a few noisy points."""

from dataclasses import replace
from math import pi

import pytest
import torch

from pipeline.config import SolverConfig
from pipeline.series import LatentODE, Series, SeriesBatch, build_latent_ode, collate, coverage, rmse

NOISE = 0.1
POINTS = 60


def spirals(count: int, seed: int, observed: int | None = None) -> SeriesBatch:
    """Half of them clockwise, from a random angle on; of each as many points are observed, of any number without it."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.linspace(0, 3, POINTS)
    found = []
    for number in range(count):
        angles = (-1) ** number * 1.5 * times + 2 * pi * torch.rand((), generator=generator)
        truth = (0.5 + 0.3 * times)[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)
        values = truth + NOISE * torch.randn(POINTS, 2, generator=generator)
        shown = observed or int(torch.randint(2, POINTS + 1, (), generator=generator))
        is_observed = torch.randperm(POINTS, generator=generator) < shown
        found.append(Series(times, values, observed=is_observed, truth=truth, start=0.0))
    return collate(found)


@pytest.fixture(scope="module")
def trained() -> LatentODE:
    """Given at random from one in a hundred to all of the points, to say all of them; about half a minute."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    model = build_latent_ode(2, activation="tanh", solver=SolverConfig(rtol=1e-3, atol=1e-3))
    whole, generator = spirals(400, seed=7), torch.Generator().manual_seed(0)
    iterations, highest = 1500, 0.02
    optimiser = torch.optim.Adam(model.parameters(), highest)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, highest, iterations)
    for iteration in range(iterations):
        batch = whole.chosen(torch.randperm(len(whole), generator=generator)[:64])
        is_observed = torch.rand(64, POINTS, generator=generator) < torch.rand(64, 1, generator=generator)
        is_observed[:, 0] = True
        batch = replace(batch, observed=is_observed[:, :, None].expand_as(batch.mask))
        optimiser.zero_grad()
        elbo = model.elbo(batch, kl_weight=min(1.0, iteration / 200), generator=generator)
        (-elbo.objective.mean() / 100).backward()
        optimiser.step()
        schedule.step()
    torch.set_default_dtype(before)
    return model.double()


@pytest.mark.slow
def test_the_error_falls_with_the_share_that_is_observed(trained):
    errors = []
    for observed in (2, 5, 15, 40):
        batch = spirals(200, seed=1, observed=observed)
        said = trained.predict(batch, batch.times[0], 50, torch.Generator().manual_seed(0)).mean
        errors.append(float(rmse(said, batch.truth, batch.mask)))
    assert errors == sorted(errors, reverse=True), errors
    assert errors[-1] < errors[0] / 3, errors


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_bands_cover_what_was_not_shown(trained, level):
    batch = spirals(200, seed=2, observed=20)
    lower, upper = trained.predict(batch, batch.times[0], 100, torch.Generator().manual_seed(0)).band(level)
    assert float(coverage(lower, upper, batch.values, ~batch.observed)) == pytest.approx(level, abs=0.1)
