"""States in parts: tuples, dictionaries, complex numbers, images; norms by part, and parts outside of the norm."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from pipeline.config import SolverConfig
from pipeline.ode import RootMeanSquare, SolverFailure, State, Status, integrate
from pipeline.util.errors import InvalidInput
from tests.helpers.ode_fields import Convolved

Pair = tuple[Tensor, Tensor]
MODES: dict[str, dict[str, Any]] = {
    "direct": {"gradient": "direct"},
    "auto": {"gradient": "auto"},
    "checkpointed": {"gradient": "checkpointed"},
    "recursive": {"gradient": "recursive"},
    "adjoint": {"gradient": "adjoint"},
    "sample": {"control": "sample"},
}
TIGHT = {"rtol": 1e-9, "atol": 1e-9, "max_steps": 10_000}


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def decay_and_growth(t: Tensor, z: Pair) -> Pair:  # noqa: ARG001
    """z -> (z_0 exp(-2t), z_1 exp(t/2))."""
    fast, slow = z
    return -2 * fast, 0.5 * slow


def parts() -> Pair:
    return torch.linspace(1, 2, 6, dtype=torch.float64).view(2, 3), vector(0.5, -1)


# ---- The forms of a state


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "kvaerno3"])
def test_a_tuple_comes_back_as_a_tuple_of_the_same_shapes(method: str, control: str) -> None:
    first, second = parts()
    solver = SolverConfig(method=method, control=control, rtol=1e-7, atol=1e-7, max_steps=5000)
    solution = integrate(decay_and_growth, (first, second), (0.0, 0.4, 1.0), solver)
    assert isinstance(solution.state, tuple)
    torch.testing.assert_close(solution.state, (first * math.exp(-2), second * math.exp(0.5)), rtol=1e-5, atol=1e-6)
    assert isinstance(solution.states, tuple)
    assert [tuple(part.shape) for part in solution.states] == [(3, 2, 3), (3, 2)]
    torch.testing.assert_close(solution.states[0][1], first * math.exp(-0.8), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(solution.states[1][1], second * math.exp(0.2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_dictionary_comes_back_with_its_names_whatever_order_the_field_returns_them_in(control: str) -> None:
    first, second = parts()

    def field(t: Tensor, z: dict[str, Tensor]) -> dict[str, Tensor]:
        assert list(z) == ["fast", "slow"]
        fast, slow = decay_and_growth(t, (z["fast"], z["slow"]))
        return {"slow": slow, "fast": fast}

    solution = integrate(field, {"fast": first, "slow": second}, (0.0, 1.0), SolverConfig(control=control, **TIGHT))
    assert isinstance(solution.state, dict)
    assert list(solution.state) == ["fast", "slow"]
    expected = {"fast": first * math.exp(-2), "slow": second * math.exp(0.5)}
    torch.testing.assert_close(solution.state, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("method", ["dopri5", "kvaerno3"])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_a_complex_state_turns(dtype: torch.dtype, method: str, control: str) -> None:
    z0 = torch.tensor([[1 + 1j, 2], [0.5j, -1]], dtype=dtype)
    tolerance = 1e-5 if dtype == torch.complex64 else 1e-8
    solver = SolverConfig(method=method, control=control, rtol=tolerance, atol=tolerance, max_steps=5000)
    seen = set()

    def field(t: Tensor, z: Tensor) -> Tensor:
        seen.update((t.dtype, z.dtype))
        return 1j * z

    solution = integrate(field, z0, (0.0, 2.0), solver)
    assert seen == {dtype.to_real(), dtype}
    assert isinstance(solution.state, Tensor)
    assert solution.state.dtype == dtype
    assert (solution.state - z0 * complex(math.cos(2), math.sin(2))).abs().max() < 50 * tolerance


def test_the_times_of_samples_go_with_the_part_of_the_most_dimensions() -> None:
    shapes = set()

    def field(t: Tensor, z: Pair) -> Pair:
        shapes.add((tuple(t.shape), tuple(z[0].shape)))
        return t * z[0], t.reshape(-1) * z[1]

    z0 = (torch.ones(2, 3, 4, 5, dtype=torch.complex128), vector(1, 2))
    images, numbers = integrate(field, z0, (0.0, 2.0), SolverConfig(control="sample", **TIGHT)).state
    assert {shape for shape, _ in shapes} <= {(2, 1, 1, 1), (1, 1, 1, 1)}
    torch.testing.assert_close((images, numbers), (z0[0] * math.exp(2), z0[1] * math.exp(2)), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("real_first", [False, True])  # the complex numbers then begin at an odd place
@pytest.mark.parametrize("mode", MODES)
def test_gradients_reach_complex_and_real_parts(mode: str, real_first: bool) -> None:
    rate = nn.Parameter(vector(0.3))
    z0 = (torch.tensor([[1 + 1j, 2]], dtype=torch.complex128, requires_grad=True), vector(0.7).requires_grad_())

    def ordered(pair: Pair) -> Pair:
        return pair[::-1] if real_first else pair

    def field(t: Tensor, z: Pair) -> Pair:  # noqa: ARG001
        wave, size = ordered(z)
        return ordered(((1j - rate) * wave, -rate * size))

    solver = SolverConfig(**MODES[mode], **TIGHT)
    wave, size = ordered(integrate(field, ordered(z0), (0.0, 2.0), solver, parameters=[rate]).state)
    found = torch.autograd.grad(wave.real.sum() + wave.imag[0, 1] + size.square().sum(), [*z0, rate])
    turned = z0[0] * torch.exp((1j - rate) * 2)
    decayed = z0[1] * torch.exp(-2 * rate)
    expected = torch.autograd.grad(turned.real.sum() + turned.imag[0, 1] + decayed.square().sum(), [*z0, rate])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_parts_at_every_time_are_those_of_the_closed_form(mode: str) -> None:
    z0 = tuple(part.requires_grad_() for part in parts())
    fast, slow = integrate(decay_and_growth, z0, (0.0, 0.3, 1.0), SolverConfig(**MODES[mode], **TIGHT)).states
    found = torch.autograd.grad(fast[1].sum() + 3 * fast[2].sum() + slow[1].sum() + 5 * slow[2].sum(), z0)
    by_fast, by_slow = math.exp(-0.6) + 3 * math.exp(-2), math.exp(0.15) + 5 * math.exp(0.5)
    expected = (torch.full((2, 3), by_fast).double(), torch.full((2,), by_slow).double())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def _is_channels_last(images: Tensor) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("gradient", ["auto", "checkpointed"])
def test_images_reach_the_field_in_the_layout_of_the_start(gradient: str, control: str) -> None:
    field, images = Convolved(), torch.randn(4, 6, 5, 7).contiguous(memory_format=torch.channels_last)
    layouts = []

    def watched(t: Tensor, z: Pair) -> Pair:
        # Of samples the other part lies between the images, each of which is as it should be.
        layouts.append(z[0].stride(1) == 1 and (control == "sample" or _is_channels_last(z[0])))
        slope = field(t, z[0])
        return slope, slope.square().flatten(1).sum(1)

    solver = SolverConfig(gradient=gradient, control=control)
    z0 = (images.requires_grad_(), torch.zeros(4))
    state, penalty = integrate(watched, z0, (0.0, 1.0), solver).state
    (state.square().sum() + penalty.sum()).backward()
    assert all(layouts)
    assert control == "sample" or _is_channels_last(state)
    ordinary = images.detach().contiguous().requires_grad_()
    state_again, penalty_again = integrate(
        lambda t, z: (slope := field(t, z[0]), slope.square().flatten(1).sum(1)),
        (ordinary, torch.zeros(4)),
        (0.0, 1.0),
        solver,
    ).state
    (state_again.square().sum() + penalty_again.sum()).backward()
    torch.testing.assert_close((state, penalty), (state_again, penalty_again), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(images.grad, ordinary.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("z0", "field", "sentence"),
    [
        ((), decay_and_growth, "the state has no parts: give at least one tensor"),
        ((torch.ones(2), torch.ones(2).long()), decay_and_growth, "the state's part 1 is of torch.int64, .*z0.float"),
        ((torch.ones(2), torch.ones(2).double()), decay_and_growth, "the parts of a state must have one number format"),
        (parts(), lambda _t, z: z[0], "the field returned 1 parts, and its state has 2"),
        (parts(), lambda _t, z: {"a": z[0]}, "the field returned a dict, and its state is a tuple"),
        (parts(), lambda _t, z: (z[1], z[0]), r"dz/dt of shape \(2,\) for a state of shape \(2, 3\) \(part 0\)"),
        ({"a": torch.ones(2)}, lambda _t, z: {"b": z["a"]}, "the field returned the parts b, and its state has a"),
    ],
)
def test_a_state_or_slope_of_another_form_is_refused_in_a_sentence(z0: State, field: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        integrate(field, z0, (0.0, 1.0))


def test_parts_of_other_batch_sizes_are_refused_for_samples_solved_apart() -> None:
    with pytest.raises(InvalidInput, match=r"^control=sample needs a state whose first dimension is the batch"):
        integrate(decay_and_growth, (torch.ones(2, 3), torch.ones(3)), (0.0, 1.0), SolverConfig(control="sample"))


# ---- Norms


def uneven(t: Tensor, z: Pair) -> Pair:  # noqa: ARG001
    """A part of many elements that hardly move, and one of one element that does."""
    easy, quick = z
    return -0.1 * easy, -2 * quick


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_the_error_of_parts_is_the_largest_of_theirs_as_with_torchdiffeq(tolerance: float, method: str) -> None:
    """torchdiffeq's mixed norm for tuples: as many evaluations."""
    z0 = (torch.linspace(0, 1, 500, dtype=torch.float64), vector(1.3))
    calls = 0

    def counted(t: Tensor, z: Pair) -> Pair:
        nonlocal calls
        calls += 1
        return uneven(t, z)

    theirs = odeint(
        counted, z0, vector(0, 2), rtol=tolerance, atol=tolerance, method=method, options={"step_t": vector(0, 2)}
    )
    their_calls = calls
    solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance)
    solution = integrate(uneven, z0, (0.0, 2.0), solver)
    assert solution.statistics.rejected == 0  # where errors grow, the controllers differ
    assert solution.statistics.nfe_forward == their_calls
    torch.testing.assert_close(solution.state, tuple(part[-1] for part in theirs), rtol=tolerance, atol=tolerance)
    # The mean over all elements together would take far fewer.
    together = integrate(uneven, z0, (0.0, 2.0), solver, norm=_of_all_elements)
    assert together.statistics.accepted < solution.statistics.accepted


def _of_all_elements(z: State) -> Tensor:
    assert isinstance(z, tuple)
    return torch.cat([part.flatten() for part in z]).square().mean().sqrt()


Norm = Callable[[State], Tensor]


@pytest.mark.parametrize("control", ["batch", "sample"])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3"])
def test_a_part_outside_of_the_norm_leaves_the_steps_as_they_are_to_the_bit(method: str, control: str) -> None:
    """A quadrature that is far harder than the state itself: its own error would take many more steps."""

    def slope(t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(z.flip(-1)) * torch.cos(t)

    def with_penalty(t: Tensor, z: Pair) -> Pair:
        derivative = slope(t, z[0])
        return derivative, 1e3 * torch.cos(20 * t).reshape(-1) * derivative.square().sum(-1)

    z0 = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    solver = SolverConfig(method=method, control=control, rtol=1e-5, atol=1e-5, max_steps=100_000)
    times = (0.0, 0.7, 2.0)
    alone = integrate(lambda t, z: (slope(t, z[0]),), (z0,), times, solver)
    beside = integrate(with_penalty, (z0, vector(0, 0)), times, solver, norm=RootMeanSquare(outside=(1,)))
    within = integrate(with_penalty, (z0, vector(0, 0)), times, solver)
    assert torch.equal(alone.states[0], beside.states[0])
    assert alone.statistics.attempts == beside.statistics.attempts
    assert alone.statistics.nfe_forward == beside.statistics.nfe_forward
    assert within.statistics.accepted > 1.5 * beside.statistics.accepted


def test_a_part_outside_of_the_norm_may_be_named() -> None:
    z0 = {"z": vector(1, 2), "work": vector(0)}

    def field(t: Tensor, z: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"z": z["z"] * torch.cos(t), "work": 1e4 * torch.sin(30 * t).reshape(1)}

    with_it, without = (
        integrate(field, z0, (0.0, 2.0), SolverConfig(rtol=1e-5, atol=1e-5), norm=norm).statistics.accepted
        for norm in (RootMeanSquare(), RootMeanSquare(outside=("work",)))
    )
    assert without < with_it / 2


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_part_outside_of_the_norm_that_is_no_number_is_not_passed_over(control: str) -> None:
    def field(t: Tensor, z: Pair) -> Pair:
        return -z[0], torch.where(t.reshape(-1)[:1] > 0.5, math.inf, 1.0) * torch.ones_like(z[1])

    with pytest.raises(SolverFailure) as failure:
        integrate(field, parts(), (0.0, 1.0), SolverConfig(control=control), norm=RootMeanSquare(outside=(1,)))
    assert failure.value.status == Status.DIVERGED


@pytest.mark.parametrize("mode", MODES)
def test_a_quadrature_and_its_gradient_are_those_of_the_integral(mode: str) -> None:
    """∫ z² dt of z = z0 exp(-rate t)."""
    rate = nn.Parameter(vector(0.8, 0.3))
    z0 = vector(1, 2).requires_grad_()

    def field(t: Tensor, z: Pair) -> Pair:  # noqa: ARG001
        return -rate.mean() * z[0], z[0].square()

    solver = SolverConfig(**MODES[mode], **TIGHT)
    state = integrate(
        field, (z0, torch.zeros(2).double()), (0.0, 1.5), solver, norm=RootMeanSquare(outside=(1,)), parameters=[rate]
    ).state
    assert isinstance(state, tuple)
    expected = z0.square() * (1 - torch.exp(-3 * rate.mean())) / (2 * rate.mean())
    torch.testing.assert_close(state[1], expected, rtol=1e-6, atol=1e-7)
    found = torch.autograd.grad(state[1].sum(), [z0, rate])
    torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), [z0, rate]), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "kvaerno3"])
def test_each_sample_of_a_state_in_parts_takes_the_steps_that_it_takes_alone(method: str) -> None:
    def field(t: Tensor, z: Pair) -> Pair:
        return torch.tanh(z[0]) * torch.cos(t), z[0].square().sum(1)

    z0 = (torch.linspace(-2, 8, 6, dtype=torch.float64).view(2, 3), vector(0, 0))
    solver = SolverConfig(method=method, control="sample", rtol=1e-6, atol=1e-6)
    together = integrate(field, z0, (0.0, 0.5, 3.0), solver)
    for sample in range(2):
        alone = integrate(field, tuple(part[sample : sample + 1] for part in z0), (0.0, 0.5, 3.0), solver)
        assert [attempt.dt for attempt in together.statistics.samples[sample].attempts] == pytest.approx(
            [attempt.dt for attempt in alone.statistics.samples[0].attempts], rel=1e-9
        )
        for part, part_alone in zip(together.states, alone.states, strict=True):
            torch.testing.assert_close(part[:, sample], part_alone[:, 0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_norm_of_the_users_decides_about_the_steps(control: str) -> None:
    seen = []

    def largest(z: State) -> Tensor:
        assert isinstance(z, tuple)
        seen.append([tuple(part.shape) for part in z])
        if control == "batch":
            return torch.stack([part.abs().max() for part in z]).max()
        return torch.maximum(z[0].abs().amax(1), z[1].abs())

    counts = []
    for norm in (RootMeanSquare(), largest, lambda z: 1e-3 * largest(z)):
        solution = integrate(hard_samples, parts(), (0.0, 2.0), SolverConfig(control=control, **TIGHT), norm=norm)
        counts.append(solution.statistics.accepted)
    assert set(map(tuple, seen)) <= {((2, 3), (2,)), ((1, 3), (1,))}
    assert ([(1, 3), (1,)] in seen) == (control == "sample")
    assert counts[2] < counts[0] < counts[1]


def hard_samples(t: Tensor, z: Pair) -> Pair:
    wide = torch.cos(5 * t) * z[0] * torch.linspace(0, 1, 3, dtype=torch.float64)
    return wide, -z[1]


@pytest.mark.parametrize(("control", "wanted"), [("batch", "one number"), ("sample", "one for each of the 2 samples")])
def test_a_norm_of_another_shape_is_refused(control: str, wanted: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^the norm returned a tensor of shape \(2, 3\): return {wanted}"):
        integrate(lambda _t, z: -z, torch.ones(2, 3), (0.0, 1.0), SolverConfig(control=control), norm=torch.abs)
