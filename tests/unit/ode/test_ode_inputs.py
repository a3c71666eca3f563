"""What a solve may be given: shapes, number formats, functions, times; and what is refused in a sentence."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torch.autograd import forward_ad

from pipeline.config import SolverConfig
from pipeline.ode import ODEBlock, RootMeanSquare, Solution, integrate, odeint
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.ode_fields import Growth, Layer
from tests.helpers.ode_modes import MODES, TIMES, WHOLE, by_hand, check_gradients, loss_of, solver_for, z_start

Function = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def layer() -> Layer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Layer()


# What the field returns, and what it does to its argument


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda _t, z: z.sum(1), r"\(2,\)"),
        (lambda _t, z: z[:1], r"\(1, 3\)"),
        (lambda _t, z: z.sum(), r"\(\)"),
        (lambda _t, z: z.unsqueeze(0), r"\(1, 2, 3\)"),
    ],
)
def test_a_derivative_of_another_shape_is_refused_with_both_shapes(mode: str, function: Function, shape: str) -> None:
    with pytest.raises(InvalidInput, match=rf"dz/dt of shape {shape} for a state of shape \(2, 3\)"):
        integrate(function, z_start(), TIMES, solver_for(mode))


@pytest.mark.parametrize("returned", [None, 1.0, [1.0, 2.0]])
def test_a_derivative_that_is_no_tensor_is_refused(mode: str, returned: object) -> None:
    with pytest.raises(InvalidInput, match=r"^the field returned a (NoneType|float|list)"):
        integrate(lambda _t, _z: returned, z_start(), TIMES, solver_for(mode))


def writes_at_once(_t: Tensor, z: Tensor) -> Tensor:
    return z.mul_(0.5)


def writes_later(t: Tensor, z: Tensor) -> Tensor:
    return z.mul_(0.5) if t.max() > 0.5 else -z


@pytest.mark.parametrize("writes", [writes_at_once, writes_later])
@pytest.mark.parametrize("wants_gradient", [False, True])
@pytest.mark.parametrize("method", ["dopri5", "rk4", "dopri8"])
def test_a_field_that_writes_into_its_argument_is_refused(
    mode: str, writes: Function, wants_gradient: bool, method: str
) -> None:
    if mode == "sample" and method == "rk4":
        method = "heun"
    z0 = z_start().detach().requires_grad_(wants_gradient)
    # Into a leaf that wants a gradient torch itself lets nothing be written.
    with pytest.raises((InvalidInput, RuntimeError), match=r"changes the state .* in place|leaf Variable"):
        integrate(writes, z0, TIMES, solver_for(mode, method))


def into_one_buffer() -> Function:
    """A field that returns the same tensor each time."""
    buffer = z_start().detach()
    return lambda _t, z: torch.neg(z.detach(), out=buffer)


def into_views_of_one_buffer() -> Function:
    """The same, each time by another view of it."""
    buffer = z_start().detach().unsqueeze(0)
    return lambda _t, z: buffer[0].copy_(-z.detach())


@pytest.mark.parametrize("made", [into_one_buffer, into_views_of_one_buffer])
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8", "heun"])
@pytest.mark.parametrize("control", ["direct", "sample"])
@pytest.mark.parametrize("inference", [False, True])
def test_a_field_that_overwrites_what_it_returned_before_is_refused(
    made: Callable[[], Function], method: str, control: str, inference: bool
) -> None:
    field = made()
    with torch.inference_mode(inference), pytest.raises(InvalidInput, match="overwrites what it returned before"):
        integrate(field, z_start().detach(), TIMES, solver_for(control, method))


def test_a_field_that_writes_into_a_buffer_and_returns_a_copy_is_solved(mode: str) -> None:
    buffer = z_start().detach()

    def field(_t: Tensor, z: Tensor) -> Tensor:
        return torch.neg(z.detach(), out=buffer[: len(z)]).clone()

    solution = integrate(field, z_start().detach(), TIMES, solver_for(mode))
    torch.testing.assert_close(solution.state.detach(), z_start().detach() * math.exp(-TIMES[1]), rtol=1e-5, atol=1e-5)


class Constant(nn.Module):
    """dz/dt = w: what it returns is its weight itself, of several samples a view of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 3, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return self.weight if len(z) == 1 else self.weight.expand_as(z)


@pytest.mark.parametrize("samples", [1, 2])
def test_a_field_that_returns_its_weight_as_it_is_is_solved_before_and_after_a_step_of_training(
    mode: str, samples: int
) -> None:
    field, z0 = Constant(), z_start().detach()[:samples]
    for _ in range(2):
        end = integrate(field, z0, TIMES, solver_for(mode)).state
        torch.testing.assert_close(end, z0 + TIMES[1] * field.weight)
        end.sum().backward()
        with torch.no_grad():
            field.weight += 1


@pytest.mark.parametrize("writes", [writes_at_once, writes_later])
@pytest.mark.parametrize("control", ["direct", "sample"])
@pytest.mark.parametrize("made_within", [False, True])
def test_a_field_that_writes_into_its_argument_is_refused_in_inference_mode_too(
    writes: Function, control: str, made_within: bool
) -> None:
    z0 = z_start().detach()
    with torch.inference_mode():
        if made_within:
            z0 = z0.clone()
        before = z0.clone()
        with pytest.raises(InvalidInput, match="changes the state that it is given in place"):
            integrate(writes, z0, TIMES, solver_for(control))
        if made_within:
            assert torch.equal(z0, before)


@pytest.mark.parametrize("control", ["direct", "sample"])
def test_a_solve_in_inference_mode_is_that_outside_of_it(layer: Layer, control: str) -> None:
    outside = integrate(layer, z_start().detach(), TIMES, solver_for(control)).state
    with torch.inference_mode():
        assert torch.equal(integrate(layer, z_start().detach().clone(), TIMES, solver_for(control)).state, outside)
        block = ODEBlock(layer, TIMES[1], solver_for(control))
        assert torch.equal(block(z_start().clone()), outside)
        normalised = nn.BatchNorm1d(3).double()
        field = nn.Sequential()
        field.add_module("normalisation", normalised)
        field.forward = lambda _t, z: normalised(z)  # type: ignore[method-assign]
        if control == "direct":
            integrate(field, z_start(), TIMES, solver_for(control))
            assert normalised.num_batches_tracked > 0


# Number formats


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.uint8])
def test_a_state_of_integers_is_refused_with_the_remedy(mode: str, dtype: torch.dtype) -> None:
    with pytest.raises(InvalidInput, match=rf"the state's tensor is of {dtype}, which cannot change.*z0\.float\(\)"):
        integrate(lambda _t, z: -z, torch.ones(2, 3, dtype=dtype), TIMES, solver_for(mode))


def test_times_may_be_integers(mode: str, layer: Layer) -> None:
    z0 = z_start()
    found = []
    for times in ((0.0, 1.0, 2.0), (0, 1, 2), torch.tensor([0, 1, 2]), torch.arange(3.0)):
        solution = integrate(layer, z0, times, solver_for(mode))
        found.append((solution.states, *torch.autograd.grad(loss_of(solution.state), [z0, layer.linear.weight])))
    for other in found[1:]:
        assert all(map(torch.equal, other, found[0]))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_a_complex_state_turns_as_it_should_and_so_does_its_gradient(mode: str, dtype: torch.dtype) -> None:
    z0 = torch.tensor([[1.0 + 2.0j], [0.5 - 1.0j]], dtype=dtype, requires_grad=True)
    turn = torch.tensor(-0.3 + 2.0j, dtype=dtype, requires_grad=True)
    state = integrate(lambda _t, z: turn * z, z0, TIMES, solver_for(mode, rtol=1e-5, atol=1e-5)).state
    exact = z0 * torch.exp(turn * TIMES[1])
    assert state.dtype == dtype
    torch.testing.assert_close(state, exact, rtol=1e-3, atol=1e-3)
    found, expected = (torch.autograd.grad((z.abs() ** 3).sum() + z.imag.sum(), [z0, turn]) for z in (state, exact))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_have_the_number_formats_of_what_they_are_of(mode: str, dtype: torch.dtype) -> None:
    """Weights of one, a state of the other."""
    other = torch.float64 if dtype == torch.float32 else torch.float32
    weight = torch.eye(3, dtype=other, requires_grad=True)
    z0 = z_start().detach().to(dtype).requires_grad_()
    state = integrate(lambda _t, z: -(z.to(other) @ weight), z0, TIMES, solver_for(mode, rtol=1e-5, atol=1e-5)).state
    by_state, by_weight = torch.autograd.grad(state.sum(), [z0, weight])
    assert (state.dtype, by_state.dtype, by_weight.dtype) == (dtype, dtype, other)
    torch.testing.assert_close(by_state, torch.full_like(z0, math.exp(-TIMES[1])), rtol=1e-3, atol=1e-3)


# Functions instead of modules


class Holder:
    """No module, with a weight and a method that is a field."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def slope(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(z @ self.weight) * torch.cos(t)


@pytest.mark.parametrize("kind", ["function", "method of a module", "method of no module", "a module's forward"])
def test_a_function_is_a_field_as_a_module_is(mode: str, kind: str, layer: Layer) -> None:
    field: Function
    tensors = list(layer.parameters())
    if kind == "function":
        field = lambda t, z: layer(t, z)  # noqa: E731
    elif kind == "method of a module":
        layer.slope = type(layer).forward.__get__(layer)
        field = layer.slope
    elif kind == "method of no module":
        weight = layer.linear.weight.detach().clone().requires_grad_()
        field, tensors = Holder(weight).slope, [weight]
    else:
        field = layer.forward
    z0 = z_start()
    check_gradients(mode, field, z0, [z0, *tensors])


def test_what_cannot_be_called_is_refused(mode: str) -> None:
    with pytest.raises(InvalidInput, match="the field is a Tensor: give a module or a function"):
        integrate(torch.ones(2, 3), z_start(), TIMES, solver_for(mode))  # type: ignore[arg-type]


# Empty batches


@pytest.mark.parametrize("shape", [(0, 3), (0,), (2, 0), (0, 4, 5, 5)])
def test_an_empty_state_has_an_empty_answer_and_an_empty_gradient(mode: str, shape: tuple[int, ...]) -> None:
    z0 = torch.ones(shape, requires_grad=True)
    solution = integrate(lambda _t, z: -z, z0, (0.0, 0.5, 1.0), solver_for(mode))
    assert solution.state.shape == shape
    assert solution.states.shape == (3, *shape)
    solution.states.sum().backward()
    assert z0.grad is not None
    assert z0.grad.shape == shape
    assert solution.statistics.status == "completed"


def test_an_empty_batch_passes_a_block(mode: str, layer: Layer) -> None:
    block = ODEBlock(layer, 1.0, solver_for(mode))
    network = nn.Sequential(nn.Linear(3, 3).double(), block, nn.Linear(3, 2).double())
    scores = network(torch.ones(0, 3, dtype=torch.float64))
    assert scores.shape == (0, 2)
    scores.sum().backward()


# Long times


@pytest.mark.parametrize("final_time", [1e10, 1e12])
@pytest.mark.parametrize("method", ["dopri5", "tsit5"])
def test_a_solution_that_comes_to_rest_is_followed_for_ages(mode: str, final_time: float, method: str) -> None:
    z0 = z_start()
    field = Growth(-1.0)
    solver = solver_for(mode, method, rtol=1e-6, atol=1e-6)

    def slows(t: Tensor, z: Tensor) -> Tensor:
        return field(t, z) / (1 + t) ** 2

    state = integrate(slows, z0, (0.0, final_time), solver).state
    exact = z0 * torch.exp(field.rate * (1 - 1 / (1 + final_time)))
    torch.testing.assert_close(state, exact, rtol=1e-4, atol=1e-4)
    by_scipy = solve_ivp(
        lambda t, z: -z / (1 + t) ** 2, (0, final_time), z0.detach().flatten().numpy(), rtol=1e-6, atol=1e-6
    ).y[:, -1]
    torch.testing.assert_close(state.detach().flatten(), torch.from_numpy(by_scipy), rtol=1e-4, atol=1e-4)
    found, expected = (torch.autograd.grad(loss_of(z), [z0, field.rate]) for z in (state, exact))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


# Times that want a gradient


@pytest.mark.parametrize("direction", [1, -1])
def test_times_have_gradients_as_finite_differences_say(mode: str, direction: int, layer: Layer) -> None:
    times = torch.tensor([0.2, 0.5, 0.9, 1.3], dtype=torch.float64)
    times = (times if direction > 0 else times.flip(0)).requires_grad_()
    solver = solver_for(mode, rtol=1e-9, atol=1e-9)
    weights = torch.tensor([0.5, -1.0, 2.0, 1.0], dtype=torch.float64).view(4, 1, 1)

    def loss(at: Tensor) -> Tensor:
        return (integrate(layer, z0, at, solver).states.square() * weights).sum()

    z0 = z_start()
    (by_times,) = torch.autograd.grad(loss(times), times)
    for k in range(4):
        moved = torch.zeros_like(times)
        moved[k] = 1e-4
        with torch.no_grad():
            difference = float((loss(times + moved) - loss(times - moved)) / 2e-4)
        assert float(by_times[k]) == pytest.approx(difference, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("given", [torch.stack, tuple, iter])
def test_a_final_time_that_is_computed_has_a_gradient_beside_those_of_state_and_weights(
    mode: str, given: Callable[[list[Tensor]], Any]
) -> None:
    field, log_time = Growth(-0.7), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    z0 = z_start()
    times = given([torch.zeros_like(log_time), log_time.exp()])
    state = integrate(field, z0, times, solver_for(mode)).state
    exact = z0 * torch.exp(field.rate * log_time.exp())
    found, expected = (torch.autograd.grad(loss_of(z), [z0, field.rate, log_time]) for z in (state, exact))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_parameters_and_knots_may_come_from_a_generator() -> None:
    late = nn.Linear(2, 2)

    def field(t: Tensor, z: Tensor) -> Tensor:
        return late(z) if t > 0.5 else -z  # reads what the first evaluation does not

    solver, z0 = solver_for("checkpointed"), torch.ones(2, requires_grad=True)
    found, expected = (
        integrate(field, z0, (0.0, 1.0), solver, parameters=parameters, knots=knots)
        for parameters, knots in ((late.parameters(), iter((0.5,))), (list(late.parameters()), (0.5,)))
    )
    assert found.statistics.trials[-1].t == expected.statistics.trials[-1].t
    by_generator, by_list = (torch.autograd.grad(one.state.sum(), late.weight) for one in (found, expected))
    torch.testing.assert_close(by_generator, by_list, rtol=0, atol=0)


def test_evaluations_for_the_gradients_of_times_are_counted(mode: str) -> None:
    calls = 0

    def field(_t: Tensor, z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return -z

    times = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    statistics = integrate(field, z_start(), times, solver_for(mode)).statistics
    assert statistics.nfe_forward == calls


def test_a_second_derivative_by_times_is_right_or_refused(mode: str) -> None:
    field, z0 = Growth(-0.7), z_start()
    times = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    state = integrate(field, z0, times, solver_for(mode)).state
    exact = z0 * torch.exp(field.rate * (times[1] - times[0]))
    with pytest.raises(OdenetError, match="cannot be differentiated again"):
        torch.autograd.grad(loss_of(state), times, create_graph=True)
    if mode == "direct":
        found, expected = (
            torch.autograd.grad(torch.autograd.grad(loss_of(z), field.rate, create_graph=True), [times, z0])
            for z in (integrate(field, z0, times, solver_for(mode)).state, exact)
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


# torch.compile, and gradients asked for twice


@pytest.mark.parametrize("backend", ["eager", "inductor"])
@pytest.mark.parametrize("chosen", MODES)
def test_torch_compile_over_a_block_breaks_its_graph_there_and_works(backend: str, chosen: str, layer: Layer) -> None:
    if backend == "inductor" and chosen != "auto":
        pytest.skip("compiled by inductor once")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), ODEBlock(layer, 1.0, solver_for(chosen)), nn.Linear(3, 2))
    network = network.double()
    z0 = z_start()
    tensors = [z0, *network.parameters()]
    expected = torch.autograd.grad(loss_of(network(z0)), tensors)
    torch.compiler.reset()
    compiled = torch.compile(network, backend=backend)
    for _ in range(2):
        found = torch.autograd.grad(loss_of(compiled(z0)), tensors)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.compiler.reset()


def test_a_graph_that_is_retained_gives_the_same_gradients_again(mode: str, layer: Layer) -> None:
    z0 = z_start()
    solution = integrate(layer, z0, (0.0, 0.5, 1.0), solver_for(mode))
    tensors = [z0, *layer.parameters()]
    whole = loss_of(solution.states)
    once, again = (torch.autograd.grad(whole, tensors, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, once, again))
    states = [one.sum() for one in solution.states[1:]]
    shares = [torch.autograd.grad(state, tensors, retain_graph=True) for state in states]
    together = torch.autograd.grad(solution.states[1:].sum(), tensors)
    for share, other, total in zip(*shares, together, strict=True):
        torch.testing.assert_close(share + other, total, rtol=1e-5, atol=1e-5)


def test_steps_by_hand_are_those_of_the_solve(mode: str, layer: Layer) -> None:
    for method in ("dopri5", "dopri8", "heun"):
        solution = integrate(layer, z_start(), TIMES, solver_for(mode, method, rtol=1e-4, atol=1e-4))
        hand = by_hand(layer, z_start(), solution.statistics, method)
        torch.testing.assert_close(solution.state, hand, rtol=1e-12, atol=1e-12)


# Number formats, parts and context


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_state_coarser_than_float32_is_refused(mode: str, dtype: torch.dtype) -> None:
    with pytest.raises(InvalidInput, match=rf"^the state's tensor is of {dtype}.+float32 \(z0\.float\(\)\)"):
        integrate(lambda _t, z: -z, torch.ones(2, 1, dtype=dtype), TIMES, solver_for(mode))


def test_a_complex_derivative_of_a_real_state_is_refused_in_each_part(mode: str) -> None:
    with pytest.raises(InvalidInput, match=r"^the field returned a complex dz/dt for a real state: give z0 as complex"):
        integrate(lambda _t, z: (1 + 1j) * z, torch.ones(2, 1), TIMES, solver_for(mode))
    state = (torch.ones(2, 1), torch.ones(2, 1, dtype=torch.complex64))
    with pytest.raises(InvalidInput, match=r"^the field returned a complex dz/dt for a real state \(part 0\)"):
        integrate(lambda _t, z: (1j * z[0], z[1]), state, TIMES, solver_for(mode))


@pytest.mark.parametrize(
    ("z0", "what"),
    [(torch.ones(2, 2, device="meta"), "on the meta device"), (torch.eye(2).to_sparse(), "sparse")],
)
def test_a_state_without_dense_numbers_is_refused(z0: Tensor, what: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^the state's tensor is {what}: give a dense tensor"):
        integrate(lambda _t, z: -z, z0, TIMES)


@pytest.mark.parametrize("name", ["parameters", "context"])
def test_a_number_in_the_place_of_a_tensor_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}\[1\] is a float: give a tensor"):
        integrate(lambda _t, z, *_: -z, torch.ones(1), TIMES, **{name: (torch.ones(1), 2.0)})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["parameters", "context"])
def test_one_tensor_may_be_given_where_several_may(name: str) -> None:
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    computed = weight.exp()

    def field(_t: Tensor, z: Tensor, *context: Tensor) -> Tensor:
        return -(context[0] if context else computed) * z

    slopes = []
    for given in (computed, (computed,)):
        end = integrate(field, torch.ones(2), TIMES, solver_for("checkpointed"), **{name: given}).state
        slopes += torch.autograd.grad(end.sum(), weight, retain_graph=True)
    torch.testing.assert_close(*slopes, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["parameters", "context"])
@pytest.mark.parametrize("given", [None, 3])
def test_what_is_no_sequence_of_tensors_is_refused(name: str, given: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name} is {given}: give a sequence of tensors"):
        integrate(lambda _t, z: -z, torch.ones(1), TIMES, **{name: given})


@pytest.mark.parametrize("shape", [(), (1, 1)])
def test_a_context_without_a_row_for_each_sample_is_refused_before_the_first_step(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"^context\[0\] has the shape .+ takes a row for each of the 4 samples"):
        integrate(
            lambda _t, z, rate: -rate * z, torch.ones(4, 1), TIMES, solver_for("sample"), context=(torch.ones(shape),)
        )


def test_a_part_without_elements_stays_as_it_is_and_leaves_the_others_theirs(mode: str) -> None:
    state = (torch.ones(2, 0, dtype=torch.float64), z_start())
    nothing, found = integrate(lambda _t, z: (-z[0], -z[1]), state, TIMES, solver_for(mode)).state
    alone = integrate(lambda _t, z: -z, z_start(), TIMES, solver_for(mode)).state
    assert nothing.shape == (2, 0)
    torch.testing.assert_close(found, alone, rtol=1e-6, atol=1e-6)


# Norms


def test_a_norm_may_return_a_number() -> None:
    as_number = integrate(lambda _t, z: -z, torch.ones(2), TIMES, norm=lambda z: float(z.abs().max()))
    as_tensor = integrate(lambda _t, z: -z, torch.ones(2), TIMES, norm=lambda z: z.abs().max())
    torch.testing.assert_close(as_number.state, as_tensor.state, rtol=0, atol=0)


@pytest.mark.parametrize("norm", [None, "max"])
def test_a_norm_that_is_no_function_is_refused(norm: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"^the norm is {norm!r}: give a RootMeanSquare, or a function of a state"):
        integrate(lambda _t, z: -z, torch.ones(2), TIMES, norm=norm)


@pytest.mark.parametrize(("outside", "said"), [(("momentun",), r" \(did you mean momentum\?\)"), ((3,), "")])
def test_a_part_that_a_norm_is_to_leave_out_and_that_is_none_is_refused(outside: tuple[str | int], said: str) -> None:
    state = {"place": torch.ones(1), "momentum": torch.ones(1)}
    with pytest.raises(
        InvalidInput, match=rf"^the norm leaves out the part {outside[0]}{said}; there are place, momen"
    ):
        integrate(lambda _t, z: z, state, TIMES, norm=RootMeanSquare(outside=outside))


# Tangents and transforms


def test_tangents_are_carried_through_the_steps_or_refused(mode: str) -> None:
    tangent = torch.linspace(1, 2, 40_000, dtype=torch.float64).view(2, -1)
    with forward_ad.dual_level():
        z0 = forward_ad.make_dual(torch.ones_like(tangent), tangent)
        if mode not in (*WHOLE, "kept", "starved", "sample"):
            with pytest.raises(InvalidInput, match=r"forward_ad differentiate a solve with gradient=direct alone"):
                integrate(lambda _t, z: -z, z0, TIMES, solver_for(mode))
            return
        state = integrate(lambda _t, z: -z, z0, TIMES, solver_for(mode)).state
        found = forward_ad.unpack_dual(state).tangent
    torch.testing.assert_close(found, tangent * math.exp(TIMES[0] - TIMES[1]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("elements", [2, 40_000])
def test_a_transform_of_what_the_field_reads_goes_through_a_solve_or_is_refused(mode: str, elements: int) -> None:
    z0 = torch.ones(2, elements // 2, dtype=torch.float64)

    def end(rate: Tensor) -> Tensor:
        state = integrate(lambda _t, z: -rate * z, z0, TIMES, solver_for(mode)).state
        assert isinstance(state, Tensor)
        return state.mean()

    rate, span = torch.tensor(1.0, dtype=torch.float64), TIMES[1] - TIMES[0]
    with pytest.raises(InvalidInput, match=r"^torch\.func\.vmap cannot go around a solve"):
        torch.func.vmap(end)(rate.expand(3))
    if mode not in (*WHOLE, "kept", "starved", "sample"):
        with pytest.raises(InvalidInput, match=r"^torch\.func and .+ with gradient=direct alone"):
            torch.func.grad(end)(rate)
        return
    assert float(torch.func.grad(end)(rate)) == pytest.approx(-span * math.exp(-span), rel=1e-5)
    assert float(torch.func.hessian(end)(rate)) == pytest.approx(span**2 * math.exp(-span), rel=1e-4)


@pytest.mark.parametrize("given", [torch.stack, tuple])
@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacfwd, torch.func.jacrev])
def test_times_are_not_differentiated_by_a_transform_without_a_word(
    transform: Callable[[Function], Callable[[Tensor], Tensor]], given: Callable[[list[Tensor]], Any]
) -> None:
    def end(final_time: Tensor) -> Tensor:
        times = given([torch.zeros_like(final_time), final_time])
        return integrate(lambda _t, z: -z, torch.ones(3), times).state.sum()

    with pytest.raises(
        InvalidInput, match=r"^torch\.func and .+ do not differentiate a solve with respect to its times"
    ):
        transform(end)(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"event": lambda _t, z: z[0] - 0.5}, "an event"), ({"solver": solver_for("direct", "kvaerno3")}, "kvaerno3")],
    ids=["an event", "implicit"],
)
def test_a_transform_of_what_differentiates_by_itself_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^torch\.func and .+ do not go through .*{said}"):
        torch.func.grad(lambda z: integrate(lambda _t, z: -z, z, TIMES, **options).state.sum())(torch.ones(3))


def test_a_batch_of_states_or_fields_is_refused_however_far_out_it_is_made() -> None:
    def loss(z: Tensor) -> Tensor:
        return integrate(lambda _t, z: -z, z, TIMES).state.sum()

    def loss_by_rate(rate: Tensor) -> Tensor:
        return integrate(lambda _t, z: -rate * z, torch.ones(2), TIMES).state.sum()

    for function, batch in ((loss, torch.ones(3, 2)), (loss_by_rate, torch.ones(3))):
        with pytest.raises(InvalidInput, match=r"^torch\.func\.vmap cannot go around a solve"):
            torch.func.vmap(torch.func.grad(function))(batch)
    assert torch.func.jacfwd(loss)(torch.ones(2)).shape == (2,)


@pytest.mark.parametrize("transform", [lambda end: end, torch.func.grad])
@pytest.mark.parametrize(
    "solve",
    [
        lambda t: integrate(lambda _t, z: -z, torch.ones(2), t).state,
        lambda t: integrate(lambda _t, z: -z, torch.ones(2), (0.0, t[1])).state,
        lambda t: integrate(lambda _t, z: -z, torch.ones(2), (0.0, 3.0), knots=t).state,
        lambda t: odeint(lambda _t, z: -z, torch.ones(2), t, event_fn=lambda _t, z: z[0] - 0.5)[0],
    ],
    ids=["times", "a time", "knots", "with an event"],
)
def test_a_batch_of_times_is_refused(
    solve: Callable[[Tensor], Tensor], transform: Callable[[Function], Callable[[Tensor], Tensor]]
) -> None:
    times = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    with pytest.raises(InvalidInput, match=r"^the (times|knots) of a solve are batched by torch\.func\.vmap"):
        torch.func.vmap(transform(lambda t: solve(t).sum()))(times)


def test_a_batch_of_states_is_refused_by_the_reference_too() -> None:
    reference = SolverConfig(engine="torchdiffeq", gradient="direct")
    with pytest.raises(InvalidInput, match=r"^torch\.func\.vmap cannot go around a solve"):
        torch.func.vmap(lambda z: integrate(lambda _t, z: -z, z, TIMES, reference).state)(torch.ones(3, 2))


def test_a_transform_goes_through_equal_steps_of_the_reference_and_is_refused_elsewhere() -> None:
    def gradient(**solver: Any) -> Tensor:
        reference = SolverConfig(engine="torchdiffeq", **solver)
        solved = torch.func.grad(lambda z: integrate(lambda _t, z: -z, z, TIMES, reference).state.sum())
        return torch.as_tensor(solved(torch.ones(2)))

    through = gradient(gradient="direct", method="rk4", steps=8)
    torch.testing.assert_close(through, torch.full((2,), math.exp(TIMES[0] - TIMES[-1])))
    for refused in ({"gradient": "direct"}, {"gradient": "adjoint"}, {"gradient": "adjoint", "method": "rk4"}):
        with pytest.raises(InvalidInput, match=r"^torch\.func around a solve goes with engine=torchdiffeq through"):
            gradient(**refused)


class Turning(NamedTuple):
    cosine: Tensor
    sine: Tensor


def stored(solution: Solution) -> Solution:
    """As a process hands it to another."""
    return pickle.loads(pickle.dumps(solution))  # noqa: S301 - written in this line


def test_a_named_tuple_stays_one_and_a_solution_can_be_stored() -> None:
    def turn(t: Tensor, state: Turning) -> Turning:  # noqa: ARG001
        return Turning(-state.sine, state.cosine)

    solution = integrate(turn, Turning(torch.ones(2), torch.zeros(2)), (0.0, 1.0), dense=True)
    for one in (solution, stored(solution)):
        assert isinstance(one.state, Turning)
        torch.testing.assert_close(one.interpolant(1.0).sine, torch.full((2,), math.sin(1)), rtol=1e-3, atol=0)
    parts = {"a": torch.ones(2)}
    solution = integrate(lambda _t, state: {"a": -state["a"]}, parts, (0.0, 1.0))
    torch.testing.assert_close(stored(solution).state["a"], torch.full((2,), math.exp(-1)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, stored])
def test_a_copy_of_a_solution_knows_its_states_from_a_start_that_was_filled_in_place(
    copied: Callable[[Solution], Solution],
) -> None:
    z0 = torch.zeros(2).add_(1)  # as torch.randn and many others fill what they return
    solution = integrate(lambda _t, z: -z, z0, (0.0, 1.0))
    torch.testing.assert_close(copied(copied(solution)).states, solution.states, rtol=0, atol=0)
    z0.add_(1)
    with pytest.raises(InvalidInput, match=r"^the state that the solve began with was changed in place since"):
        _ = copied(solution).states


def test_the_solution_of_an_empty_batch_is_empty_at_every_time() -> None:
    interpolant = integrate(lambda _t, z: -z, torch.ones(0, 2), (0.0, 1.0), dense=True).interpolant
    assert interpolant is not None
    assert interpolant([0.2, 0.5]).shape == (2, 0, 2)


def test_times_that_are_words_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^the times of a solve are \['now', 'later'\]: give a sequence of numbers"):
        integrate(lambda _t, z: -z, torch.ones(2), ["now", "later"])


def test_a_solver_that_is_the_name_of_a_method_is_refused(layer: Layer) -> None:
    for use in (lambda: integrate(layer, z_start(), TIMES, "rk4"), lambda: ODEBlock(layer, 1.0, "rk4")):  # type: ignore[arg-type]
        with pytest.raises(
            InvalidInput, match=r"the solver is 'rk4': give a SolverConfig, as SolverConfig\(method='rk4'"
        ):
            use()
