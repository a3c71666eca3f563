"""What a field reads beside its arguments, and what others do to it between the passes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.ode import AdjointWarning, ODEBlock, integrate
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.ode_modes import (
    MUST_NAME,
    TIMES,
    WHOLE,
    Weighted,
    by_hand,
    check_gradients,
    hypernetwork,
    loss_of,
    random_tensor,
    solver_for,
    z_start,
)

METHODS = ("dopri5", "rk4")


def methods_of(mode: str) -> tuple[str, ...]:
    """Steps of their own are those of adaptive methods."""
    return ("dopri5", "bosh3") if mode == "sample" else METHODS


# Tensors that are not the field's own


def test_gradients_reach_a_leaf_that_the_field_reads_by_closure(mode: str) -> None:
    weight = random_tensor(3, 3).requires_grad_()
    for method in methods_of(mode):
        z0 = z_start()
        check_gradients(mode, lambda t, z: torch.tanh(z @ weight) * torch.cos(t), z0, [z0, weight], method)


@pytest.mark.parametrize("computed", [False, True])
def test_gradients_reach_a_tensor_that_is_read_later_alone_or_it_is_to_be_named(mode: str, computed: bool) -> None:
    leaves = [(random_tensor(3, 3) + k).requires_grad_() for k in range(2)]
    weights = [leaves[0], leaves[1].sin() if computed else leaves[1]]

    def field(t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(z @ weights[int(t.max() >= 0.6)])

    z0 = z_start()
    if mode in WHOLE:
        check_gradients(mode, field, z0, [z0, *leaves], knots=[0.6])
    else:
        with pytest.raises(OdenetError, match=r"reads a tensor of shape \(3, 3\).*in parameters=, or use gradient=dir"):
            check_gradients(mode, field, z0, [z0, *leaves], knots=[0.6])
    check_gradients(mode, field, z0, [z0, *leaves], parameters=weights, knots=[0.6])


def test_gradients_reach_what_a_hypernetwork_gave_or_it_is_to_be_named(mode: str) -> None:
    field, leaf, weight = hypernetwork()
    z0 = z_start()
    if mode in MUST_NAME:
        with pytest.raises(InvalidInput, match=r"reads what an earlier computation gave.*name the tensors in param"):
            check_gradients(mode, field, z0, [z0, leaf])
    else:
        check_gradients(mode, field, z0, [z0, leaf])
    for method in methods_of(mode):
        check_gradients(mode, field, z0, [z0, leaf], method, parameters=[weight])


def replica() -> tuple[nn.Module, Tensor]:
    """A module as DataParallel makes them: its weight is no parameter, but computed of the original's."""
    original = Weighted()
    weight = original.weight
    copied = Weighted()
    del copied._parameters["weight"]
    copied.weight = weight.clone()
    return copied, weight


def test_gradients_reach_the_original_of_a_replica_or_its_weights_are_to_be_named(mode: str) -> None:
    field, weight = replica()
    z0 = z_start()
    if mode in MUST_NAME:
        with pytest.raises(InvalidInput, match="parameters="):
            check_gradients(mode, field, z0, [z0, weight])
    else:
        check_gradients(mode, field, z0, [z0, weight])
    check_gradients(mode, field, z0, [z0, weight], parameters=[field.weight])


# Hooks


@pytest.mark.parametrize("kind", ["tensor", "accumulated", "of what a hypernetwork gave", "of the start"])
def test_a_hook_runs_once_and_what_it_makes_of_the_gradient_counts_once(mode: str, kind: str) -> None:
    calls = []

    def doubles(gradient: Tensor) -> Tensor:
        calls.append(1)
        return 2 * gradient

    def doubles_grad(parameter: Tensor) -> None:
        calls.append(1)
        assert parameter.grad is not None
        parameter.grad *= 2

    field, leaf, weight = hypernetwork()
    z0, named = z_start(), [weight]
    if kind in ("tensor", "accumulated"):
        field = Weighted()
        leaf, named = field.weight, []
    expected = torch.autograd.grad(loss_of(integrate(field, z0, TIMES, solver_for("direct")).state), [leaf, z0])
    if kind == "tensor":
        leaf.register_hook(doubles)
    elif kind == "accumulated":
        leaf.register_post_accumulate_grad_hook(doubles_grad)
    elif kind == "of what a hypernetwork gave":
        field, leaf, weight = hypernetwork()
        named = [weight]
        weight.register_hook(doubles)
    else:
        field, leaf, weight = hypernetwork()
        named = [weight]
        z0.register_hook(doubles)
    solution = integrate(field, z0, TIMES, solver_for(mode), parameters=named)
    loss_of(solution.state).backward()
    factors = (1, 2) if kind == "of the start" else (2, 1)
    assert len(calls) == 1
    tolerance = 1e-4 if mode in ("adjoint", "sample") else 1e-9
    torch.testing.assert_close(leaf.grad, factors[0] * expected[0], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(z0.grad, factors[1] * expected[1], rtol=tolerance, atol=tolerance)


def test_hooks_of_modules_within_the_field_see_every_evaluation(mode: str) -> None:
    field = Weighted()
    inner = nn.Linear(3, 3).double()
    whole = nn.Module()
    whole.inner, whole.outer = inner, field
    whole.forward = lambda t, z: field(t, inner(z))  # type: ignore[method-assign]
    inner.register_full_backward_hook(lambda _module, _inputs, outputs: (3 * outputs[0] @ inner.weight,))
    z0 = z_start()
    check_gradients(mode, whole, z0, [z0, field.weight, inner.weight])


# Changed in place between the passes

CHANGED = "modified by an inplace operation"


def test_weights_changed_in_place_before_the_backward_pass_are_torchs_own_error(mode: str) -> None:
    field = Weighted()
    closure = random_tensor(3, 3).requires_grad_()
    for read, function in ((field.weight, field), (closure, lambda _t, z: torch.tanh(z @ closure))):
        state = integrate(function, z_start(), TIMES, solver_for(mode)).state
        with torch.no_grad():
            read.mul_(1.5)
        with pytest.raises(RuntimeError, match=CHANGED):
            loss_of(state).backward()


def test_an_input_changed_in_place_before_the_backward_pass_is_torchs_own_error(mode: str) -> None:
    z0 = z_start() * 1
    state = integrate(Weighted(), z0, TIMES, solver_for(mode)).state
    z0.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss_of(state).backward()


def test_an_output_changed_in_place_does_not_change_the_gradient(mode: str) -> None:
    field, z0 = Weighted(), z_start()
    solution = integrate(field, z0, (0.0, 0.4, *TIMES[1:]), solver_for(mode))
    loss = loss_of(nn.functional.relu(solution.state * 1, inplace=True)) + 0 * solution.states[1].sum()
    expected = torch.autograd.grad(loss, [z0, field.weight], retain_graph=True)
    changed = nn.functional.relu(solution.state, inplace=True)
    found = torch.autograd.grad(loss_of(changed), [z0, field.weight])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_constant_changed_in_place_before_the_backward_pass_is_refused_or_harmless(mode: str) -> None:
    field = Weighted()
    field.register_buffer("offset", torch.ones(3, dtype=torch.float64))
    z0 = z_start()
    state = integrate(lambda t, z: field(t, z) * field.offset, z0, TIMES, solver_for(mode)).state
    field.offset.mul_(1.5)
    if mode == "adjoint":
        with pytest.warns(AdjointWarning, match="came back to a state.*or its field is not what it was"):
            loss_of(state).backward()
    else:
        with pytest.raises((RuntimeError, OdenetError), match=rf"{CHANGED}|came out differently"):
            loss_of(state).backward()


# functional_call


def test_functional_call_through_a_block_uses_and_differentiates_the_weights_that_it_is_given(mode: str) -> None:
    block = ODEBlock(Weighted(), TIMES[1], solver_for(mode))
    z0 = z_start()
    given = (random_tensor(3, 3) + 0.5).requires_grad_()
    for weight in (given, given.sin()):
        state = torch.func.functional_call(block, {"field.weight": weight}, z0)
        found = torch.autograd.grad(loss_of(state), [z0, given], retain_graph=True)
        hand = by_hand(lambda t, z, w=weight: torch.tanh(z @ w) * torch.cos(t), z0, block.statistics)
        expected = torch.autograd.grad(loss_of(hand), [z0, given], retain_graph=True)
        torch.testing.assert_close(state, hand)
        within = 1e-4 if mode == "adjoint" else 1e-9
        torch.testing.assert_close(found, expected, rtol=within, atol=within)
    assert block.field.weight.grad is None


class Buffered(Weighted):
    """With a factor that is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(3, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return super().forward(t, z) * self.factor


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_functional_call_gives_buffers_too(mode: str, scale: float) -> None:
    block = ODEBlock(Buffered(), TIMES[1], solver_for(mode))
    z0, given = z_start(), torch.full((3,), scale, dtype=torch.float64, requires_grad=True)
    state = torch.func.functional_call(block, {"field.factor": given}, z0)
    found = torch.autograd.grad(loss_of(state), [z0, given, block.field.weight])
    hand = by_hand(lambda t, z: torch.tanh(z @ block.field.weight) * torch.cos(t) * given, z0, block.statistics)
    expected = torch.autograd.grad(loss_of(hand), [z0, given, block.field.weight])
    within = 1e-4 if mode == "adjoint" else 1e-9
    torch.testing.assert_close(found, expected, rtol=within, atol=within)


# torch.func and torch.utils.checkpoint within a field


def potential(weight: Tensor, z: Tensor) -> Tensor:
    return torch.tanh(z @ weight).square().sum()


INNER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad": lambda w, z: torch.func.grad(potential, argnums=1)(w, z),
    "jvp": lambda w, z: torch.func.jvp(lambda x: torch.tanh(x @ w), (z,), (z.cos(),))[1],
    "vjp": lambda w, z: torch.func.vjp(lambda x: torch.tanh(x @ w), z)[1](z.cos())[0],
    "vmap": lambda w, z: torch.func.vmap(lambda x: torch.tanh(x @ w))(z),
    "jacrev": lambda w, z: torch.func.vmap(torch.func.jacrev(lambda x: torch.tanh(x @ w)))(z).sum(-1),
    "autograd.grad": lambda w, z: by_autograd(w, z),
    "checkpoint": lambda w, z: checkpoint(lambda x: torch.tanh(x @ w), z, use_reentrant=False),
}


def by_autograd(weight: Tensor, z: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = z if z.requires_grad else z.detach().requires_grad_()
        return torch.autograd.grad(potential(weight, leaf), leaf, create_graph=True)[0]


@pytest.mark.parametrize("name", INNER)
def test_derivatives_within_a_field_are_differentiated(mode: str, name: str) -> None:
    field = Weighted()
    field.forward = lambda t, z: 0.3 * INNER[name](field.weight, z) * torch.cos(t)  # type: ignore[method-assign]
    z0 = z_start()
    check_gradients(mode, field, z0, [z0, field.weight])


# What a first evaluation does not tell


@pytest.mark.parametrize("elements", [2, 40_000])  # above, `auto` does not keep the whole graph
def test_gradients_reach_a_leaf_that_the_field_returns_as_it_is(mode: str, elements: int) -> None:
    weight = torch.ones(1, elements, dtype=torch.float64, requires_grad=True)
    state = integrate(lambda _t, _z: weight, torch.zeros_like(weight.detach()), TIMES, solver_for(mode)).state
    assert isinstance(state, Tensor)
    state.sum().backward()
    torch.testing.assert_close(weight.grad, torch.full_like(weight, TIMES[-1] - TIMES[0]))


def test_gradients_of_what_a_module_returns_of_its_own_count_once(mode: str) -> None:
    field = nn.Module()
    field.weight = nn.Parameter(torch.ones(2, 3, dtype=torch.float64))
    field.forward = lambda _t, _z: field.weight  # type: ignore[method-assign]
    z0 = z_start()
    state = integrate(field, z0, TIMES, solver_for(mode)).state
    assert isinstance(state, Tensor)
    state.sum().backward()
    torch.testing.assert_close(field.weight.grad, torch.full_like(field.weight, TIMES[-1] - TIMES[0]))
    torch.testing.assert_close(z0.grad, torch.ones_like(z0))


class ReadsLater(nn.Module):
    """Reads a tensor of its class, but not yet where it begins."""

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3, dtype=torch.float64)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        ahead = (t - TIMES[0]).abs() > 0.5 * abs(TIMES[-1] - TIMES[0])
        return self.linear(z) * torch.where(ahead, self.factor, 1.0) if bool(ahead.any()) else self.linear(z)


def test_a_module_that_reads_what_is_not_its_own_later_alone_has_its_gradient_or_is_told_to_name_it(mode: str) -> None:
    ReadsLater.factor = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    halfway = (0.5 * (TIMES[0] + TIMES[-1]),)
    state = integrate(ReadsLater(), z_start(), TIMES, solver_for(mode), knots=halfway).state
    if mode in WHOLE:
        loss_of(state).backward()
        assert ReadsLater.factor.grad is not None
        return
    with pytest.raises(OdenetError, match=r"not yet where the solve begins: name the tensors"):
        loss_of(state).backward()


# Tensors that depend on each other, and what lies between the passes


def test_what_a_context_was_computed_from_has_its_share_once(mode: str) -> None:
    rate = (random_tensor(2, 3).abs() + 0.5).requires_grad_()
    for offset in (rate + 1, rate.exp()):  # which saves nothing for its gradient, and something

        def field(t: Tensor, z: Tensor, rate: Tensor, offset: Tensor) -> Tensor:  # noqa: ARG001
            return offset - rate * z

        gradients = []
        for one in ("direct", mode):
            state = integrate(field, z_start(), TIMES, solver_for(one), context=(rate, offset)).state
            gradients.append(torch.autograd.grad(loss_of(state), rate, retain_graph=True)[0])
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_a_context_of_the_fields_own_parameter_adds_to_its_gradient(mode: str) -> None:
    field = Weighted()

    def pushed(t: Tensor, z: Tensor, push: Tensor) -> Tensor:
        return field(t, z) + push

    gradients = []
    for one in ("direct", mode):
        context = (field.weight[:1].expand(2, 3),)
        state = integrate(pushed, z_start(), TIMES, solver_for(one), context=context, parameters=[field.weight]).state
        gradients.append(torch.autograd.grad(loss_of(state), field.weight)[0])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_named_tensors_of_which_one_was_computed_from_another_are_differentiated_or_refused(mode: str) -> None:
    rate = random_tensor(3).abs().requires_grad_()
    offset, z0 = rate + 1, z_start()
    options = {"parameters": [rate, offset]}
    if mode in MUST_NAME:
        with pytest.raises(InvalidInput, match=r"in context= those that were computed from others"):
            check_gradients(mode, lambda _t, z: offset - rate * z, z0, [z0, rate], **options)
    else:
        check_gradients(mode, lambda _t, z: offset - rate * z, z0, [z0, rate], **options)


@pytest.mark.parametrize("around", ["checkpoint", "save_on_cpu"])
def test_hooks_on_what_torch_saves_change_no_gradient(mode: str, around: str) -> None:
    gradients = []
    for one in ("direct", mode):
        block, z0 = ODEBlock(Weighted(), TIMES[1], solver_for(one)), z_start()
        if around == "checkpoint":
            state = checkpoint(block, z0, use_reentrant=False)
        else:
            with torch.autograd.graph.save_on_cpu():
                state = block(z0)
        gradients.append(torch.autograd.grad(loss_of(state), [z0, *block.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)


def test_weights_that_are_frozen_before_the_backward_pass_leave_the_inputs_gradient(mode: str) -> None:
    gradients = []
    for is_frozen in (False, True):
        field, z0 = Weighted(), z_start()
        state = integrate(field, z0, TIMES, solver_for(mode)).state
        field.requires_grad_(not is_frozen)
        loss_of(state).backward()
        gradients.append(z0.grad)
        assert (field.weight.grad is None) == is_frozen
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0)
