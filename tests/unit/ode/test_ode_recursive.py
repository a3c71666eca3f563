"""Recursive checkpointing: the gradient of checkpointed steps, from a logarithm of their states."""

import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.config import SolverConfig
from pipeline.ode import integrate
from tests.helpers.ode_fields import Layer, gradients


def rows() -> Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)


@pytest.fixture
def layer() -> Layer:
    torch.manual_seed(0)
    return Layer()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16, 33])
@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_the_gradient_is_that_of_checkpointed_steps_to_the_bit(method: str, steps: int, layer: Layer) -> None:
    recursive, checkpointed = (
        gradients(layer, rows(), SolverConfig(method=method, steps=steps, gradient=gradient))
        for gradient in ("recursive", "checkpointed")
    )
    assert torch.equal(recursive[0], checkpointed[0])
    assert all(map(torch.equal, recursive[1], checkpointed[1]))


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3"])
def test_the_gradient_of_adaptive_steps_is_the_same_to_the_bit(method: str, layer: Layer) -> None:
    options: dict[str, Any] = {"method": method, "rtol": 1e-6, "atol": 1e-6}
    recursive, checkpointed = (
        gradients(layer, rows(), SolverConfig(gradient=gradient, **options), 3.0)
        for gradient in ("recursive", "checkpointed")
    )
    assert recursive[2].accepted == checkpointed[2].accepted > 3
    assert torch.equal(recursive[0], checkpointed[0])
    assert all(map(torch.equal, recursive[1], checkpointed[1]))


def most_alive(gradient: str, steps: int, layer: Layer) -> tuple[int, int, int | None]:
    """Of the states that steps begin with, how many were alive at once, forwards and backwards; and the evaluations."""
    begun: list[weakref.ref[Tensor]] = []
    most = 0

    def field(t: Tensor, z: Tensor) -> Tensor:
        nonlocal most
        begun.append(weakref.ref(z))
        begun[:] = [state for state in begun if state() is not None]
        most = max(most, len(begun))
        return layer(t, z)

    # Euler's method evaluates nothing but the states themselves.
    solver = SolverConfig(method="euler", steps=steps, gradient=gradient)
    solution = integrate(field, rows().requires_grad_(), (0.0, 1.0), solver)
    forwards, most = most, 0
    solution.state.sum().backward()
    return forwards, most, solution.statistics.nfe_backward


def test_the_states_alive_are_a_logarithm_of_the_steps(layer: Layer) -> None:
    """A few in the forward pass, and in the backward pass one for every halving; checkpointing keeps them all."""
    for steps in (8, 64, 256):
        forwards, backwards, _ = most_alive("recursive", steps, layer)
        assert forwards <= 5
        assert backwards <= math.log2(steps) + 5
        assert most_alive("checkpointed", steps, layer)[0] >= steps


@pytest.mark.parametrize("steps", [1, 2, 8, 64, 256])
def test_the_evaluations_are_those_of_as_many_passes_as_there_are_halvings(steps: int, layer: Layer) -> None:
    """Every halving goes over half of the steps again; at the end each of them is built once."""
    assert most_alive("recursive", steps, layer)[2] == steps + steps // 2 * round(math.log2(steps))


def test_outputs_on_the_way_have_the_gradient_of_checkpointed_steps(layer: Layer) -> None:
    found = []
    for gradient in ("recursive", "checkpointed"):
        z0 = rows().requires_grad_()
        solver = SolverConfig(gradient=gradient, rtol=1e-5, atol=1e-5)
        states = integrate(layer, z0, (0.0, 0.3, 0.5, 1.9, 2.0), solver).states
        found.append(torch.autograd.grad(states.sin().sum(), [z0, *layer.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-13)
