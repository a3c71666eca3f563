"""Fields that draw random numbers or change something of themselves with every evaluation."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from pipeline.config import SolverConfig
from pipeline.ode import integrate
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.ode_modes import (
    MUST_NAME,
    TIMES,
    WHOLE,
    Weighted,
    by_hand,
    hypernetwork,
    loss_of,
    solver_for,
    z_start,
)


def test_a_field_whose_buffers_every_evaluation_changes_is_differentiated_as_its_steps_were_or_refused(
    mode: str,
) -> None:
    found = []
    for one in ("direct", mode):
        torch.manual_seed(0)
        linear = spectral_norm(nn.Linear(3, 3).double())
        field = nn.Module()
        field.linear = linear
        field.forward = lambda t, z, linear=linear: torch.tanh(linear(z)) * torch.cos(t)  # type: ignore[method-assign]
        z0 = z_start()
        state = integrate(field, z0, TIMES, solver_for(one)).state
        after = [buffer.clone() for buffer in linear.buffers()]
        loss_of(state).backward()
        assert all(map(torch.equal, after, linear.buffers()))
        found.append([z0.grad, *(p.grad for p in linear.parameters())])
    within = {"adjoint": 1e-4, "sample": 1e-5}.get(mode, 1e-9)
    torch.testing.assert_close(found[0], found[1], rtol=within, atol=within)


class Noisy(Weighted):
    """Multiplied by noise of a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.Generator().manual_seed(1)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        noise = torch.rand(z.shape[1:], generator=self.noise, dtype=z.dtype)
        return super().forward(t, z) * (1 + 0.1 * noise)


def test_a_generator_of_the_fields_own_is_repeated_or_refused_by_name(mode: str) -> None:
    field, z0 = Noisy(), z_start()
    options = {"rtol": 0.1, "atol": 0.1}
    method = "dopri5" if mode == "sample" else "rk4"

    def solve_and_differentiate() -> tuple[Tensor, ...]:
        solution = integrate(field, z0, TIMES, solver_for(mode, method, **options))
        found = torch.autograd.grad(loss_of(solution.state), [z0, field.weight])
        field.noise.manual_seed(1)
        hand = by_hand(field, z0, solution.statistics, method)
        torch.testing.assert_close(found, torch.autograd.grad(loss_of(hand), [z0, field.weight]))
        return found

    if mode in (*WHOLE, "kept"):
        solve_and_differentiate()
    else:
        with pytest.raises(OdenetError, match=r"generator of its own.*use gradient=direct"):
            solve_and_differentiate()


def test_a_field_with_dropout_is_repeated_or_refused_by_name(mode: str) -> None:
    field, z0 = Weighted(), z_start()
    method = "dopri5" if mode == "sample" else "rk4"

    def dropped(t: Tensor, z: Tensor) -> Tensor:
        return nn.functional.dropout(field(t, z), 0.2)

    def solve_and_differentiate() -> None:
        torch.manual_seed(0)
        integrate(dropped, z0, TIMES, solver_for(mode, method, rtol=1, atol=1))

    if mode in ("sample", "adjoint"):
        with pytest.raises(InvalidInput, match=r"draws random numbers \(dropout\?\), which .* cannot repeat"):
            solve_and_differentiate()
        return
    torch.manual_seed(0)
    solution = integrate(dropped, z0, TIMES, solver_for(mode, method))
    found = torch.autograd.grad(loss_of(solution.state), [z0, field.weight])
    torch.manual_seed(0)
    hand = by_hand(dropped, z0, solution.statistics, method)
    torch.testing.assert_close(found, torch.autograd.grad(loss_of(hand), [z0, field.weight]))


def test_a_solve_that_falls_back_on_one_graph_draws_and_changes_what_direct_does(mode: str) -> None:
    if mode in MUST_NAME:
        pytest.skip("refused")
    found = []
    for chosen in ("direct", mode):
        torch.manual_seed(0)
        _, leaf, weight = hypernetwork()
        normalised, calls = nn.BatchNorm1d(3).double(), []
        field = nn.Module()
        field.normalised = normalised
        field.forward = lambda t, z, w=weight, n=normalised, c=calls: (
            c.append(1)
            or nn.functional.dropout(  # type: ignore[method-assign]
                torch.tanh(n(z) @ w), 0.2
            )
            * torch.cos(t)
        )
        solution = integrate(field, z_start(), TIMES, solver_for(chosen, "rk4"))
        assert solution.statistics.nfe_forward == len(calls)
        loss_of(solution.state).backward()
        drawn = torch.rand(1)
        found.append((solution.state.detach(), leaf.grad))
        if chosen == "direct":
            moments = normalised.running_mean.clone(), drawn
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    assert torch.equal(normalised.running_mean, moments[0])


class Randomly(nn.Module):
    """A weight times noise of torch's own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return self.weight * torch.rand((), dtype=z.dtype) * z


@pytest.mark.parametrize("gradient", ["checkpointed", "recursive"])
@pytest.mark.parametrize("ends_early", [False, True])
def test_what_is_drawn_for_the_states_within_a_step_is_drawn_again(gradient: str, ends_early: bool) -> None:
    found = []
    for one in ("direct", gradient):
        torch.manual_seed(3)
        field = Randomly()
        solver = SolverConfig(rtol=1.0, atol=1.0, method="dopri8", gradient=one)
        event = (lambda t, z: t - 0.45) if ends_early else None  # noqa: ARG005
        states = integrate(field, torch.ones(2, dtype=torch.float64), [0.0, 0.3, 0.6, 1.0], solver, event=event).states
        before = torch.get_rng_state()
        states.sum().backward()
        assert torch.equal(torch.get_rng_state(), before)
        found.append(field.weight.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["a closure", "partial"])
def test_buffers_of_a_network_that_a_function_calls_are_those_of_the_forward_pass(mode: str, kind: str) -> None:
    found = []
    for one in ("direct", mode):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh()).double()
        field = partial(_called, network) if kind == "partial" else lambda _t, z, network=network: network(z)
        if kind == "a closure":
            field = (lambda inner: lambda _t, z: inner(z))(network)
        if one == "sample":
            with pytest.raises(InvalidInput, match=r"^the field normalises over its batch"):
                integrate(field, z_start(), TIMES, solver_for(one))
            return
        state = integrate(field, z_start(), TIMES, solver_for(one, rtol=1e-3, atol=1e-3)).state
        after = [buffer.clone() for buffer in network.buffers()]
        loss_of(state).backward()
        assert all(map(torch.equal, after, network.buffers()))
        found.append(after)
    torch.testing.assert_close(found[1], found[0])


def _called(network: nn.Module, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG001
    return network(z)
