"""The densities that flows are compared with."""

import sys
from math import pi

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from torch.nn import functional

from pipeline.flows import Density, Gaussian, PlanarFlow, SplineFlow, integral, negative_log_likelihood
from pipeline.util.errors import InvalidInput, OdenetError

DENSITIES = {
    "gaussian": lambda d: Gaussian(d),
    "planar to base": lambda d: PlanarFlow(d, layers=6),
    "planar to data": lambda d: PlanarFlow(d, layers=6, leads="to data"),
    "spline": lambda d: SplineFlow(d, layers=2, width=8),
    "autoregressive spline": lambda d: SplineFlow(d, layers=2, width=8, coupling=False),
}


@pytest.fixture(params=DENSITIES)
def density(request: pytest.FixtureRequest) -> nn.Module:
    """In two dimensions, with weights by chance."""
    torch.manual_seed(0)
    return shaken(DENSITIES[request.param](2))


def shaken(density: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return density


def test_samples_have_the_density_that_points_are_said_to_have(density: Density) -> None:
    x, found = density.rsample_and_log_prob(100, torch.Generator().manual_seed(0))
    torch.testing.assert_close(density.log_prob(x).value, found.value, rtol=0, atol=1e-4)


def test_they_integrate_to_one(density: Density) -> None:
    found = integral(density, density.sample(500, seed=1))
    assert found is not None
    assert found.value == pytest.approx(1, abs=2e-3)


def test_samples_are_of_their_seed_and_without_gradients(density: Density) -> None:
    assert torch.equal(density.sample(4, seed=1), density.sample(4, seed=1))
    assert not density.sample(4, seed=1).requires_grad


def test_likelihood_reaches_every_weight(density: nn.Module) -> None:
    negative_log_likelihood(density, torch.randn(32, 2)).backward()
    assert all(parameter.grad is not None for parameter in density.parameters())


def test_samples_reach_every_weight(density: Density) -> None:
    x, found = density.rsample_and_log_prob(32)
    (found.value + x.square().sum(1)).mean().backward()
    assert isinstance(density, nn.Module)
    assert all(parameter.grad is not None for parameter in density.parameters())


@pytest.mark.parametrize("kind", DENSITIES)
def test_they_exist_in_one_dimension(kind: str) -> None:
    torch.manual_seed(0)
    density = shaken(DENSITIES[kind](1))
    found = integral(density, density.sample(100, seed=0))
    assert found is not None
    assert found.value == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("leads", ["to base", "to data"])
def test_a_planar_flows_density_is_that_of_its_jacobian_and_its_inverse_of_bisection_is_exact(leads: str) -> None:
    torch.manual_seed(0)
    flow = shaken(PlanarFlow(3, layers=4, leads=leads)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(flow(flow.inverse(x)), x, rtol=0, atol=1e-12)
    for row, value in zip(x, flow.log_prob(x).value, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda y: flow.inverse(y[None])[0], row)
        expected = flow.base.log_prob(flow.inverse(row[None]))[0] + torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)


def test_gradients_through_a_planar_flows_inverse_are_right() -> None:
    torch.manual_seed(0)
    flow = shaken(PlanarFlow(2, layers=3, leads="to data")).double()
    x = torch.randn(3, 2, dtype=torch.float64)

    def likelihood(*weights: Tensor) -> Tensor:
        named = dict(zip(("w", "u", "b"), weights, strict=True))
        return torch.func.functional_call(_LogProb(flow), {f"flow.{name}": w for name, w in named.items()}, (x,))

    weights = tuple(parameter.detach().clone().requires_grad_() for parameter in (flow.w, flow.u, flow.b))
    torch.autograd.gradcheck(likelihood, weights)


class _LogProb(nn.Module):
    def __init__(self, flow: PlanarFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x).value


def test_every_layer_of_a_planar_flow_can_be_inverted_whatever_its_weights() -> None:
    flow = PlanarFlow(2, layers=3).double()
    with torch.no_grad():
        flow.w.copy_(torch.tensor([[3.0, 0.0], [0.0, -5.0], [1.0, 1.0]]))
        flow.u.copy_(torch.tensor([[-9.0, 1.0], [2.0, 8.0], [-7.0, -7.0]]))
    x = 3 * torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(flow(flow.inverse(x)), x, rtol=0, atol=1e-9)


def test_a_fitted_gaussian_has_the_likelihood_of_its_covariance() -> None:
    mixed = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.5, 0.0], [-1.0, 0.3, 2.0]])
    x = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) @ mixed.mT + 5
    fitted = Gaussian(3).fit(x)
    covariance = torch.cov(x.mT, correction=0)
    expected = MultivariateNormal(x.mean(0), covariance).log_prob(x)
    torch.testing.assert_close(fitted.log_prob(x).value, expected, rtol=1e-4, atol=1e-4)
    # The mean of the best Gaussian has a closed form.
    bound = 0.5 * (torch.logdet(2 * pi * covariance) + 3)
    assert float(negative_log_likelihood(fitted, x).detach()) == pytest.approx(float(bound), abs=1e-3)
    samples = fitted.sample(20_000, seed=0)
    torch.testing.assert_close(torch.cov(samples.mT), covariance, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("broken", [torch.zeros(100), None])
def test_a_column_that_makes_the_likelihood_unbounded_is_named(broken: Tensor | None) -> None:
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    x[:, 2] = x[:, 0] - 2 * x[:, 1] if broken is None else broken
    with pytest.raises(InvalidInput, match="column 2 is constant or determined by the columns before it"):
        Gaussian(3).fit(x)


def test_a_missing_library_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(OdenetError, match=r"zuko, which is not installed: pip install 'odenet-pipeline\[flows\]'"):
        SplineFlow(2)


@pytest.mark.parametrize("product", [-13.0, -15.0, -30.0])
def test_a_planar_layer_at_the_edge_of_what_is_invertible_has_a_finite_determinant(product: float) -> None:
    for seed in range(50):
        torch.manual_seed(seed)
        flow = PlanarFlow(6, 1)
        with torch.no_grad():
            flow.u.copy_(product * flow.w / flow.w.square().sum())
        middle = (-flow.b[0] * flow.w[0] / flow.w[0].square().sum()).expand(3, 6)
        slope = functional.softplus(torch.tensor(product, dtype=torch.float64))
        for value in (flow.log_prob(middle).value, flow.log_prob(flow.inverse(middle)).value):
            assert torch.isfinite(value).all()
        through = flow._through(middle)[1].double()
        assert torch.allclose(through, slope.log().expand(3), atol=0.05)
