"""The divergence of a field: closed form, products, differences and estimates are one number."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.flows import MLPField, PlanarField, divergence
from pipeline.flows.divergence import jacobian_products, squared_norm, trace
from pipeline.flows.dynamics import draw_probes
from pipeline.util.errors import InvalidInput
from tests.helpers.flow_fields import Linear, OfAUser, strengthened

T = torch.tensor(0.7, dtype=torch.float64)


def jacobians(field: nn.Module, t: Tensor, z: Tensor) -> Tensor:
    """By torch, a row at a time, shape (n, D, D)."""
    return torch.stack([torch.autograd.functional.jacobian(lambda row: field(t, row[None])[0], row) for row in z])


def test_the_exact_divergence_is_the_trace_of_the_jacobian(field: nn.Module, points: Tensor) -> None:
    slope, found = divergence(field, T, points)
    torch.testing.assert_close(slope, field(T, points))
    expected = jacobians(field, T, points).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_exact_divergence_is_that_of_central_differences(field: nn.Module, points: Tensor) -> None:
    step, total = 1e-5, torch.zeros(len(points), dtype=torch.float64)
    for axis, direction in enumerate(torch.eye(3, dtype=torch.float64)):
        ahead, behind = field(T, points + step * direction), field(T, points - step * direction)
        total += (ahead - behind)[:, axis] / (2 * step)
    torch.testing.assert_close(divergence(field, T, points)[1], total, rtol=1e-7, atol=1e-8)


def test_a_closed_form_is_what_the_products_sum_up_to(points: Tensor) -> None:
    torch.manual_seed(0)
    field = strengthened(PlanarField(3, units=8).double())
    slope, products, directions = jacobian_products(field, T, points, None)
    closed_slope, closed = field.slope_and_divergence(T, points)
    torch.testing.assert_close(slope, closed_slope)
    torch.testing.assert_close(trace(products, directions, is_estimate=False), closed, rtol=1e-12, atol=1e-14)


def test_products_with_the_jacobian_are_torchs(field: nn.Module, points: Tensor) -> None:
    probes = torch.randn(2, *points.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    _, products, _ = jacobian_products(field, T, points, probes)
    matrices = jacobians(field, T, points)
    # A field that carries tangents has J e, any other eᵀ J.
    pattern = "knd,nde->kne" if isinstance(field, OfAUser) else "kne,nde->knd"
    torch.testing.assert_close(products, torch.einsum(pattern, probes, matrices), rtol=1e-10, atol=1e-12)


def test_the_jacobians_norm_is_exact_along_the_axes(field: nn.Module, points: Tensor) -> None:
    _, products, _ = jacobian_products(field, T, points, None)
    expected = jacobians(field, T, points).square().sum((1, 2))
    torch.testing.assert_close(squared_norm(products, is_estimate=False), expected, rtol=1e-10, atol=1e-12)


def test_the_divergence_of_a_linear_field_is_its_trace(points: Tensor) -> None:
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    _, found = divergence(Linear(matrix), T, points)
    torch.testing.assert_close(found, matrix.trace().expand(len(points)))


def test_a_field_that_does_not_depend_on_z_has_none(points: Tensor) -> None:
    class Drift(nn.Module):
        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            return (t * torch.ones_like(z)).detach()

    assert divergence(Drift(), T, points)[1].tolist() == [0.0] * len(points)


@pytest.mark.parametrize("noise", ["rademacher", "gaussian"])
def test_estimates_are_right_on_average_and_so_are_their_gradients(
    field: nn.Module, points: Tensor, noise: str
) -> None:
    draws, z = 4096, points[:1]
    together = z.expand(draws, -1).clone().requires_grad_()
    probes = draw_probes(together, 1, noise, torch.Generator().manual_seed(4)).transpose(0, 1)
    _, estimates = divergence(field, T, together, probes)
    exact_z = z.clone().requires_grad_()
    _, exact = divergence(field, T, exact_z)
    _within_four_standard_errors(estimates.detach()[:, None], exact.detach())
    # Each row's own gradient is a sample of the gradient.
    (gradients,) = torch.autograd.grad(estimates.sum(), together)
    (expected,) = torch.autograd.grad(exact.sum(), exact_z)
    _within_four_standard_errors(gradients, expected[0])


def _within_four_standard_errors(samples: Tensor, expected: Tensor) -> None:
    error = samples.std(0) / len(samples) ** 0.5
    assert bool(((samples.mean(0) - expected).abs() <= 4 * error + 1e-12).all())


def test_several_probes_are_averaged(field: nn.Module, points: Tensor) -> None:
    probes = draw_probes(points, 7, "gaussian", torch.Generator().manual_seed(5)).transpose(0, 1)
    _, together = divergence(field, T, points, probes)
    apart = torch.stack([divergence(field, T, points, probe)[1] for probe in probes])
    torch.testing.assert_close(together, apart.mean(0), rtol=1e-12, atol=1e-14)


def test_signs_as_probes_are_exact_for_a_diagonal_jacobian(points: Tensor) -> None:
    field = Linear(torch.diag(torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)))
    probes = draw_probes(points, 1, "rademacher", torch.Generator().manual_seed(6)).transpose(0, 1)
    assert divergence(field, T, points, probes)[1].tolist() == [3.0] * len(points)


def test_gradients_through_the_divergence_reach_weights_and_points(field: nn.Module, points: Tensor) -> None:
    z = points.clone().requires_grad_()

    def objective(moved: Tensor) -> Tensor:
        return divergence(field, T, moved)[1].square().sum()

    torch.autograd.gradcheck(objective, z)
    objective(z).backward()
    found = [parameter.grad for parameter in field.parameters()]
    assert any(gradient is not None and bool(gradient.abs().sum() > 0) for gradient in found)


def test_the_divergence_of_a_users_field_is_there_without_gradients_too(points: Tensor) -> None:
    field = OfAUser(3).double()
    with torch.no_grad():
        slope, found = divergence(field, T, points[:, :])
    assert not slope.requires_grad
    assert not found.requires_grad
    torch.testing.assert_close(found, divergence(field, T, points)[1].detach())


@pytest.mark.parametrize("build", [lambda: PlanarField(3, units=8), lambda: MLPField(3, width=8)])
def test_times_of_samples_are_those_of_each_alone(build: type[nn.Module], points: Tensor) -> None:
    torch.manual_seed(0)
    field = build().double()
    times = torch.linspace(0, 1, len(points), dtype=torch.float64).unsqueeze(1)
    slope, found = divergence(field, times, points)
    for row, (time, z) in enumerate(zip(times, points, strict=True)):
        alone = divergence(field, time[0], z[None])
        torch.testing.assert_close((slope[row : row + 1], found[row : row + 1]), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("build", [lambda: PlanarField(3, units=8), lambda: MLPField(3, width=8)])
def test_weights_of_several_times_are_those_of_each(build: type[nn.Module], points: Tensor) -> None:
    torch.manual_seed(0)
    field = build().double()
    times = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    for time, of_time in zip(times, field.at_times(times), strict=True):
        torch.testing.assert_close(field(time, points, of_time), field(time, points))


def test_a_field_that_returns_another_shape_is_refused_with_both(points: Tensor) -> None:
    class Sum(nn.Module):
        def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
            return z.sum(1, keepdim=True)

    with pytest.raises(InvalidInput, match=r"^the field returned dz/dt of shape \(\d+, 1\) for points of shape"):
        divergence(Sum(), torch.tensor(0.0), points)
