"""The times of observation as a Poisson process."""

from math import exp, log

import pytest
import torch
from torch import nn

from pipeline.config import SolverConfig
from pipeline.series import Series, build_latent_ode, collate
from pipeline.series.poisson import log_likelihood, quadrature

COARSE = SolverConfig(rtol=1e-3, atol=1e-3)


def test_a_smooth_rate_is_integrated_to_rounding():
    nodes = quadrature(torch.zeros(2), torch.tensor([2.0, 0.5]))
    integrals = (torch.exp(-nodes.times) * nodes.weights).sum(1)
    assert integrals.tolist() == pytest.approx([1 - exp(-2.0), 1 - exp(-0.5)], abs=1e-12)


def test_a_span_may_begin_behind_the_start():
    nodes = quadrature(torch.tensor([1.0]), torch.tensor([2.0]))
    assert float((torch.exp(-nodes.times) * nodes.weights).sum()) == pytest.approx(exp(-1.0) - exp(-2.0), abs=1e-6)


def test_the_log_likelihood_is_that_of_the_rate():
    """λ(t) = exp(-t) over two windows, with events of which one is masked."""
    nodes = quadrature(torch.zeros(2), torch.tensor([2.0, 0.5]))
    times = torch.tensor([[0.1, 1.0, 1.9], [0.2, 0.4, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = log_likelihood(-times, mask, -nodes.times, nodes.weights)
    assert found.tolist() == pytest.approx([-3.0 - (1 - exp(-2.0)), -0.6 - (1 - exp(-0.5))])


class Constant(nn.Module):
    def forward(self, z):
        return torch.full(z.shape[:-1], log(3.0))


@pytest.mark.parametrize("time_unit", [1.0, 24.0])
def test_a_constant_rate_is_per_unit_of_time_of_the_model(time_unit):
    """Three events a unit; the likelihood of the times is a density in the unit of the series."""
    model = build_latent_ode(1, encoder_hidden=3, has_intensity=True, time_unit=time_unit)
    model.intensity = Constant()
    batch = collate([Series([1.0, 2.0, 7.0], torch.zeros(3, 1), end=9.0), Series([0.0, 1.0], torch.zeros(2, 1))])
    rate = 3.0 / time_unit
    expected = [3 * log(rate) - 8 * rate, 2 * log(rate) - rate]
    assert model.elbo(batch).times.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_rate_that_is_learned_is_the_one_that_the_times_had():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    many = []
    for _ in range(40):
        times = torch.rand(int(torch.poisson(torch.tensor(5.0), generator=generator)) + 1, generator=generator) * 4
        times = times.sort().values
        many.append(Series(times, torch.zeros(len(times), 1), start=0.0, end=4.0))
    batch = collate(many)
    model = build_latent_ode(1, encoder_hidden=3, has_intensity=True, noise=1.0, solver=COARSE)
    optimiser = torch.optim.Adam(model.intensity.parameters(), 0.05)
    for _ in range(40):
        optimiser.zero_grad()
        (-model.elbo(batch, generator=generator).times.mean()).backward()
        optimiser.step()
    nodes = quadrature(batch.begins - batch.starts, batch.ends - batch.starts)
    states = model.trajectory(model.posterior(batch).mean[None], nodes.times)
    expected_counts = (model.intensity(states).exp() * nodes.weights).sum(-1)
    assert float(expected_counts.detach().mean()) == pytest.approx(float(batch.lengths.double().mean()), rel=0.05)
