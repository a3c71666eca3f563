"""The precision of the field and of the state, and when the one is too coarse for the other."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig, TrainingConfig
from pipeline.device.precision import numerics
from pipeline.ode import ODEBlock, SolverFailure, integrate
from pipeline.ode.field import VectorField
from pipeline.ode.guard import RoundingWarning
from pipeline.ode.state import Layout
from tests.helpers.ode_fields import Convolved, Field, gradients, reference, relative_error
from tests.helpers.ode_modes import solver_for


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_field_computes_in_the_callers_precision_in_both_passes_and_the_state_stays_float32(
    gradient: str, dtype: torch.dtype
) -> None:
    computed: list[torch.dtype] = []
    states: list[torch.dtype] = []
    field = Convolved()
    field.convolution.register_forward_hook(lambda _module, _inputs, output: computed.append(output.dtype))
    field.register_forward_hook(lambda _module, inputs, _output: states.append(inputs[1].dtype))
    z0 = torch.randn(2, 6, 4, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        z = integrate(field, z0, (0.0, 1.0), SolverConfig(gradient=gradient)).state
    forward_evaluations = len(computed)
    z.sum().backward()  # outside the caller's autocast, as torch asks for
    assert z.dtype == torch.float32
    assert set(computed) == {dtype}
    assert set(states) == {torch.float32}
    assert (len(computed) > forward_evaluations) == (gradient == "adjoint")


def test_a_derivative_in_bfloat16_is_not_rounded_again_by_the_step() -> None:
    derivatives: list[Tensor] = []
    convolution = nn.Conv2d(6, 6, 3, padding=1)
    field = Field(lambda _t, z: convolution(z))
    field.register_forward_hook(lambda _module, _inputs, output: derivatives.append(output))
    z0 = torch.randn(2, 6, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        z = integrate(field, z0, (0.0, 0.3), SolverConfig(method="euler")).state
    assert derivatives[0].dtype == torch.bfloat16
    torch.testing.assert_close(z, z0 + 0.3 * derivatives[0].float(), rtol=0, atol=1e-6)


def test_an_ode_block_keeps_a_float32_state_behind_a_layer_that_autocast_rounds() -> None:
    states: list[torch.dtype] = []
    field = Convolved()
    field.register_forward_hook(lambda _module, inputs, _output: states.append(inputs[1].dtype))
    network = nn.Sequential(nn.Conv2d(1, 6, 3), ODEBlock(field, 1.0, SolverConfig()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = network(torch.randn(2, 1, 6, 6))
    assert z.dtype == torch.float32
    assert set(states) == {torch.float32}


def test_an_ode_block_leaves_a_float64_state_as_it_is() -> None:
    block = ODEBlock(Convolved().double(), 1.0, SolverConfig())
    assert block(torch.randn(2, 6, 4, 4, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("cache_enabled", [False, True])
def test_adjoint_gradients_under_autocast_agree_with_the_reference_within_bfloat16(cache_enabled: bool) -> None:
    field, z0, state_reference, parameter_references = reference()
    by_gradient = {}
    for gradient in ("direct", "adjoint"):
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=cache_enabled):
            by_gradient[gradient] = gradients(field, z0, SolverConfig(method="rk4", steps=4, gradient=gradient))
    for by_state, by_parameters, _ in by_gradient.values():
        assert relative_error(by_state, state_reference) < 0.05
        assert len(by_parameters) == 4
        whole = torch.cat([value.flatten() for value in by_parameters])
        assert relative_error(whole, torch.cat([value.flatten() for value in parameter_references])) < 0.05
        assert all(value.abs().max() > 0 for value in by_parameters)


def solve_in(precision: str, tolerance: float) -> None:
    torch.manual_seed(0)
    field = Convolved(channels=16)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"), torch.no_grad():
        integrate(field, 4 * torch.rand(8, 16, 8, 8), (0.0, 1.0), SolverConfig(rtol=tolerance, atol=tolerance))


def test_rounding_that_decides_about_the_steps_is_said_once_with_its_remedy() -> None:
    with pytest.warns(RoundingWarning, match=r"rounded to bfloat16.*rtol=1e-06.*precision fp32"):
        solve_in("bf16", 1e-6)


def test_on_a_gpu_tf32_rounds_to_ten_bits_and_fp32_does_not() -> None:
    field, layout, gpu = Convolved(), Layout(torch.zeros(1, 6, 7, 7), per_sample=False), torch.device("cuda")
    with numerics(TrainingConfig(precision="tf32"), torch.device("cpu")):
        in_tf32 = VectorField(field, layout, gpu)
        assert VectorField(field, layout, torch.device("cpu")).rounding == 0
    with numerics(TrainingConfig(precision="fp32"), torch.device("cpu")):
        in_fp32 = VectorField(field, layout, gpu)
    assert (in_tf32.number_format, in_fp32.rounding) == ("tf32", 0)
    with torch.autocast("cpu", torch.bfloat16):
        in_bf16 = VectorField(field, layout, torch.device("cpu"))
    assert in_tf32.rounding == in_bf16.rounding / 8


def test_on_a_gpu_torchs_own_tf32_concerns_convolutions_in_float32_alone() -> None:
    """Outside of a training torch rounds what goes into convolutions, and not what goes into products of matrices."""
    gpu = torch.device("cuda")
    images, points = torch.zeros(1, 6, 7, 7), torch.zeros(3, 6)
    assert VectorField(Convolved(), Layout(images, per_sample=False), gpu).number_format == "tf32"
    assert VectorField(Convolved(), Layout(images.double(), per_sample=False), gpu).rounding == 0
    assert VectorField(nn.Linear(6, 6), Layout(points, per_sample=False), gpu).rounding == 0
    with numerics(TrainingConfig(precision="tf32"), torch.device("cpu")):
        assert VectorField(nn.Linear(6, 6), Layout(points, per_sample=False), gpu).number_format == "tf32"


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 1e-2), ("bf16", 1e-3), ("fp32", 1e-6)])
def test_rounding_below_the_tolerance_is_not_mentioned(precision: str, tolerance: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RoundingWarning)
        solve_in(precision, tolerance)


# Fields that show their rounding late, and those that round by themselves


class Modulated(nn.Module):
    """A field times a factor of t, which may be 0 where the solve begins or ends."""

    def __init__(self, factor: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = Convolved(channels=8)
        self.factor = factor

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.factor(t) * self.inner(t, z)


FACTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero at first": lambda t: t,
    "small for long": lambda t: 4 * t**8,
    "a bump on the way": lambda t: torch.exp(-40 * (t - 0.7) ** 2),
    "zero at last": lambda t: 1 - t,
    "zero at both ends": lambda t: torch.sin(torch.pi * t),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_field_that_is_small_where_the_solve_begins_or_ends_is_judged_by_its_steps(mode: str, name: str) -> None:
    field, z0 = Modulated(FACTORS[name]), 4 * torch.rand(4, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    evaluations = {}
    for precision in (torch.float32, torch.bfloat16):
        with (
            warnings.catch_warnings(record=True) as said,
            torch.autocast("cpu", precision, enabled=precision.itemsize < 4),
        ):
            warnings.simplefilter("always", RoundingWarning)
            solution = integrate(field, z0, (0.0, 1.0), solver_for(mode, rtol=1e-6, atol=1e-6))
        evaluations[precision] = solution.statistics.nfe_forward
        assert [one.category for one in said if one.category is RoundingWarning] == [RoundingWarning] * (
            precision == torch.bfloat16
        )
    assert evaluations[torch.bfloat16] > 1.4 * evaluations[torch.float32]


def casts(dtype: torch.dtype, back: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """A field that computes in a format of its own choice."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 64).to(dtype)

    def field(_t: Tensor, z: Tensor) -> Tensor:
        slope = torch.tanh(layer(z.to(dtype)))
        return slope.to(z.dtype) if back else slope

    return field


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_field_that_casts_itself_is_warned_of_by_the_name_of_its_format(
    mode: str, dtype: torch.dtype, back: bool
) -> None:
    z0 = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    tolerance = 1e-6 if dtype == torch.bfloat16 else 1e-7
    with pytest.warns(RoundingWarning, match=f"the field is rounded to {str(dtype).removeprefix('torch.')}, "):
        integrate(casts(dtype, back), z0, (0.0, 1.0), solver_for(mode, rtol=tolerance, atol=tolerance))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RoundingWarning)
        integrate(casts(dtype, back), z0, (0.0, 1.0), solver_for(mode, rtol=1e-2, atol=1e-2))


@pytest.mark.parametrize("kind", ["autocast", "casts", "casts back"])
def test_a_solve_that_fails_for_its_rounding_names_the_precision(mode: str, kind: str) -> None:
    field = Convolved() if kind == "autocast" else casts(torch.bfloat16, kind == "casts back")
    z0 = torch.randn(2, 6, 7, 7) if kind == "autocast" else torch.randn(8, 64)
    solver = solver_for(mode, rtol=1e-8, atol=1e-8, max_steps=100)
    with (
        pytest.raises(SolverFailure, match="what helps: float32 instead of bfloat16 in the field") as failed,
        torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"),
    ):
        integrate(field, z0, (0.0, 1.0), solver)
    assert failed.value.number_format == "bfloat16"


@pytest.mark.parametrize("size", [1.0, 2.0**-30, 2.0**20])
def test_a_simple_slope_shows_no_rounding_however_large_or_small_it_is(size: float) -> None:
    with pytest.raises(SolverFailure) as failed:
        integrate(lambda t, z: torch.where(t < 0.5, size, math.nan).expand_as(z), torch.ones(3), (0.0, 1.0))
    assert failed.value.number_format == ""


@pytest.mark.parametrize("function", [lambda _t, z: -torch.tanh(z), lambda _t, z: torch.ones_like(z)])
def test_where_autocast_rounds_nothing_nothing_is_said(mode: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    z0 = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    for enabled in (True, False):
        with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            warnings.simplefilter("error", RoundingWarning)
            integrate(function, z0, (0.0, 3.0), solver_for(mode, rtol=1e-7, atol=1e-7))


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_states_between_the_steps_are_not_rounded_by_a_coarser_field(control: Any) -> None:
    times, z0 = torch.linspace(0, 1, 8), torch.linspace(0.5, 1.5, 12).view(4, 3).requires_grad_()
    solver = SolverConfig(rtol=1e-6, atol=1e-6, control=control)
    with numerics(TrainingConfig(precision="bf16", device="cpu"), torch.device("cpu")):
        states = integrate(lambda _t, z: -z, z0, times, solver).states  # nothing that autocast rounds
    assert isinstance(states, Tensor)
    expected = torch.exp(-times).view(-1, 1, 1) * z0.detach()
    torch.testing.assert_close(states.detach(), expected, rtol=0, atol=5e-6)
    states.sum().backward()
    torch.testing.assert_close(z0.grad, torch.exp(-times).sum().expand_as(z0), rtol=1e-5, atol=0)
