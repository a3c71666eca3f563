"""Flows where people use them otherwise than a training does."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from pipeline.flows import Dequantisation, Flow, Gaussian, MLPField, PlanarField, negative_log_likelihood
from pipeline.util.errors import InvalidInput


class Plain(nn.Module):
    """Whose divergence only torch knows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, _t: Tensor, z: Tensor) -> Tensor:
        found: Tensor = self.net(z)
        return found


@pytest.mark.parametrize("field", [Plain(), MLPField(2)], ids=["plain", "mlp"])
def test_a_log_density_is_differentiated_by_torch_func_as_by_autograd(field: nn.Module) -> None:
    flow, x = Flow(field, dimension=2).eval(), torch.randn(4, 2)
    moving = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(flow.log_prob(moving).value.sum(), moving)
    found = torch.func.grad(lambda x: flow.log_prob(x).value.sum())(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_penalty_that_an_evaluation_does_not_compute_is_told() -> None:
    flow, x = Flow(Plain(), dimension=2, penalties=("kinetic",)), torch.randn(4, 2)
    assert negative_log_likelihood(flow.train(), x, penalties={"kinetic": 1.0}).isfinite()
    with pytest.raises(InvalidInput, match=r"no penalty kinetic: a flow gives those .* in training alone"):
        negative_log_likelihood(flow.eval(), x, penalties={"kinetic": 1.0})


def test_times_of_a_trajectory_may_be_a_tensor() -> None:
    flow, x = Flow(Plain(), dimension=2).eval(), torch.randn(4, 2)
    times = torch.linspace(0, 1, 3)
    assert torch.equal(flow.trajectory(x, times), flow.trajectory(x, times.tolist()))  # type: ignore[arg-type]


def test_a_flow_on_a_distribution_of_torch_can_be_converted() -> None:
    base = MultivariateNormal(torch.zeros(2), torch.eye(2))
    flow = Flow(Plain(), dimension=2, base=base).double().eval()
    assert flow.sample(3, 1).dtype == torch.float64
    assert flow.rsample_and_log_prob(3)[0].dtype == torch.float64


@pytest.mark.parametrize("levels", [2, 5, 10, 256])
def test_whole_numbers_come_back_from_their_intervals_however_they_are_rounded(levels: int) -> None:
    dequantise, generator = Dequantisation(levels), torch.Generator().manual_seed(0)
    for counts in (torch.full((400_000, 1), float(levels - 2)), torch.randint(levels, (400_000, 1)).float()):
        points, _ = dequantise(counts, generator)
        assert torch.equal(dequantise.inverse(points), counts)
        assert 0 <= points.min() <= points.max() < 1


def test_what_cannot_be_checked_or_fitted_is_told_in_a_sentence() -> None:
    with pytest.raises(InvalidInput, match="a flow is checked on points, and there are none"):
        Flow(Plain(), dimension=2).check(torch.empty(0, 2))
    with pytest.raises(InvalidInput, match="numbers among the points that are not finite"):
        Gaussian(2).fit(torch.tensor([[1.0, torch.nan], [0.0, 1.0], [2.0, 5.0]]))


def test_probes_are_for_an_estimated_penalty_too() -> None:
    flow = Flow(PlanarField(6), dimension=6, probes=8, penalties=("jacobian",)).train()
    assert flow.log_prob(torch.randn(3, 6)).penalties["jacobian"].isfinite().all()
    with pytest.raises(InvalidInput, match="probes is 8, but the divergence is exact"):
        Flow(PlanarField(6), dimension=6, probes=8)
