"""Torch's inference mode around solves, what differentiates a field in them, and their backward passes."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.flows import Flow
from pipeline.ode import integrate
from pipeline.ode.penalties import random_signs, with_product
from pipeline.util.errors import InvalidInput

GRADIENTS = ("direct", "auto", "checkpointed", "recursive", "adjoint")
MADE_INSIDE = r"weights or buffers that were made within torch\.inference_mode"


class Scaled(nn.Module):
    """A field with a weight and a buffer."""

    def __init__(self, dimension: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(dimension, dimension)
        self.register_buffer("scale", torch.tensor(1.5))

    def forward(self, _t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(self.linear(z)) * self.scale


@pytest.mark.parametrize("size", [3, 2**15])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_backward_pass_in_it_gives_the_gradients_that_it_gives_outside(gradient: str, size: int) -> None:
    solver, found = SolverConfig(rtol=1e-5, atol=1e-6, gradient=gradient), []
    for inside in (False, True):
        field, z = Scaled(), torch.ones(size, 2, requires_grad=True)
        total = integrate(field, z, (0.0, 0.5, 1.0), solver).states.square().sum()
        with torch.inference_mode(inside):
            total.backward()
        assert z.grad is not None
        assert field.linear.weight.grad is not None
        found.append((z.grad, field.linear.weight.grad))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_log_density_in_it_is_that_outside_of_it() -> None:
    flow, x = Flow(Scaled(), dimension=2).eval(), torch.randn(4, 2)
    with torch.inference_mode():
        inside, checked = flow.log_prob(x).value, flow.check(x)
        made_there = flow.log_prob(x + 0).value
    assert torch.equal(inside, flow.log_prob(x).value)
    assert torch.equal(made_there, inside)
    assert abs(checked.nll_shift) < 1e-4


def test_a_stiff_solve_in_it_is_that_outside_of_it() -> None:
    field, z, solver = Scaled(), torch.ones(3, 2), SolverConfig(method="kvaerno3")
    with torch.inference_mode():
        inside = integrate(field, z, (0.0, 1.0), solver)
    with torch.no_grad():
        outside = integrate(field, z, (0.0, 1.0), solver)
    assert torch.equal(inside.state, outside.state)
    assert inside.statistics.nfe_forward == outside.statistics.nfe_forward


@pytest.mark.parametrize("kind", ["module", "keyword", "function"])
def test_a_buffer_that_was_made_in_it_may_be_changed_by_the_field_in_it(kind: str) -> None:
    with torch.inference_mode():
        normalised, z = nn.BatchNorm1d(2), torch.randn(4, 2)

        class Normalised(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = normalised

            def forward(self, _t: Tensor, z: Tensor) -> Tensor:
                return self.layer(z)  # type: ignore[no-any-return]

        if kind == "keyword":
            integrate(field=Normalised(), z0=z, times=(0.0, 1.0))
        else:
            integrate(Normalised() if kind == "module" else lambda _t, z: normalised(z), z, (0.0, 1.0))
    assert int(normalised.num_batches_tracked) > 1


def test_what_was_made_in_it_and_is_to_be_differentiated_is_refused_in_a_sentence() -> None:
    x = torch.ones(3, 2)
    with torch.inference_mode():
        field = Scaled()
        with pytest.raises(InvalidInput, match=MADE_INSIDE):
            Flow(field, dimension=2).eval().log_prob(x)
        with pytest.raises(InvalidInput, match=MADE_INSIDE):
            integrate(field, x, (0.0, 1.0), SolverConfig(method="kvaerno3"))
        with pytest.raises(InvalidInput, match=MADE_INSIDE):
            with_product(field, torch.tensor(0.0), x, random_signs(x))
        assert integrate(field, x, (0.0, 1.0)).state.isfinite().all(), "which differentiates nothing"
