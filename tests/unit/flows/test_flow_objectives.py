"""Maximum likelihood, density matching, and densities of whole numbers."""

from math import log

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from pipeline.config import SolverConfig
from pipeline.flows import Dequantisation, Flow, Gaussian, PlanarField, matching_loss, negative_log_likelihood
from pipeline.util.errors import InvalidInput


def test_the_negative_log_likelihood_is_the_mean_in_nats() -> None:
    density, x = Gaussian(2), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert float(negative_log_likelihood(density, x)) == pytest.approx(log(2 * torch.pi) + 25 / 4)


def test_matching_is_the_divergence_of_two_gaussians_and_a_constant_more() -> None:
    density = Gaussian(2).double()
    with torch.no_grad():
        density.mean.copy_(torch.tensor([1.0, -1.0]))
        density.log_scales.copy_(torch.tensor([0.3, -0.2]))
    covariance = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    target = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    own = MultivariateNormal(density.mean.detach(), scale_tril=density.factor.detach())
    generator = torch.Generator().manual_seed(0)
    loss = matching_loss(density, lambda x: target.log_prob(x) + 7, 200_000, generator=generator)
    assert float(loss) == pytest.approx(float(kl_divergence(own, target)) - 7, abs=0.02)


def test_a_flow_learns_to_match_a_target() -> None:
    torch.manual_seed(0)
    flow = Flow(PlanarField(2, units=8), solver=SolverConfig(rtol=1e-2, atol=1e-2), dimension=2)
    target = MultivariateNormal(torch.tensor([1.0, 0.0]), torch.diag(torch.tensor([0.5, 1.0])))
    optimiser = torch.optim.Adam(flow.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        loss = matching_loss(flow, target.log_prob, 256)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert sum(losses[-5:]) / 5 < 0.15


def test_noise_fills_the_gaps_and_bits_are_those_of_uniform_numbers() -> None:
    counts = torch.randint(0, 17, (5000, 3), generator=torch.Generator().manual_seed(0)).float()
    levels = Dequantisation(17)
    y, change = levels(counts, torch.Generator().manual_seed(1))
    assert bool((y >= 0).all() and (y < 1).all())
    assert torch.equal(levels.inverse(y), counts)
    assert not change.any()
    # A density of 1 over the unit cube takes log2(17) bits for each of uniform counts.
    bits = levels.bits_per_dimension(torch.zeros(5000), 3)
    assert float(bits.mean()) == pytest.approx(log(17) / log(2), rel=1e-6)


def test_a_logit_counts_with_its_determinant() -> None:
    levels = Dequantisation(256, alpha=0.05)
    counts = torch.tensor([[0.0, 255.0, 128.0]], dtype=torch.float64)
    y, change = levels(counts, torch.Generator().manual_seed(0))
    plain, _ = Dequantisation(256)(counts, torch.Generator().manual_seed(0))

    def transformed(x: Tensor) -> Tensor:
        return torch.logit(0.05 + 0.9 * x)

    torch.testing.assert_close(y, transformed(plain))
    jacobian = torch.autograd.functional.jacobian(transformed, plain[0])
    torch.testing.assert_close(change[0], torch.linalg.slogdet(jacobian)[1])
    assert torch.equal(levels.inverse(y), counts)


def test_bits_do_not_depend_on_the_scale_that_the_density_is_of() -> None:
    # Numbers that are all 3 of 8: a density of 8 over [3/8, 4/8) tells them without a bit.
    bits = Dequantisation(8).bits_per_dimension(torch.tensor([log(8) * 2]), 2)
    assert float(bits) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("counts", [torch.tensor([[17.0]]), torch.tensor([[-1.0]])])
def test_numbers_beside_the_levels_are_refused(counts: Tensor) -> None:
    with pytest.raises(InvalidInput, match="17 levels are 0 to 16"):
        Dequantisation(17)(counts)


@pytest.mark.parametrize("options", [{"levels": 1}, {"levels": 8, "alpha": 0.5}])
def test_levels_and_alphas_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match=r"two levels at least|between 0 and 0\.5"):
        Dequantisation(**options)
