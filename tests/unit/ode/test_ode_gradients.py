"""Gradients: their values, their memory, and what they cost."""

import copy
import gc
import math
from functools import partial
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.device.host_memory import give_back_freed_memory
from pipeline.ode import ODEBlock, discrete, integrate, memory
from pipeline.ode.path import NOTHING, RecordedPath, Segment, StepGraph
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.ode_fields import (
    ADAPTIVE,
    ENGINES,
    EVALUATIONS_PER_STEP,
    GRADIENTS,
    Convolved,
    Field,
    Growth,
    Layer,
    Reference,
    gradients,
    reference,
    relative_error,
    start,
)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("method", [*ADAPTIVE[:3], "rk4", "tsit5"])
def test_gradients_agree_with_the_closed_form(method: str, gradient: str) -> None:
    solver = SolverConfig(method=method, steps=40, rtol=1e-9, atol=1e-9, max_steps=100_000, gradient=gradient)
    rate, final_time = -0.7, 1.5
    by_state, (by_rate,), _ = gradients(Growth(rate), start(), solver, final_time)
    growth = math.exp(2 * rate * final_time)  # of z²
    assert relative_error(by_state, 2 * start() * growth) < 1e-6
    assert relative_error(by_rate, 2 * final_time * growth * start().square().sum()) < 1e-6


@pytest.fixture
def convolved() -> Reference:
    return reference()


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize(
    ("method", "tolerance", "within"),
    [("dopri5", 1e-3, 1e-2), ("dopri5", 1e-6, 1e-4), ("dopri8", 1e-6, 1e-4), ("bosh3", 1e-6, 1e-4), ("rk4", 1, 1e-4)],
)
def test_gradients_agree_with_a_tight_float64_reference(
    convolved: Reference,
    gradient: str,
    method: str,
    tolerance: float,
    within: float,
) -> None:
    field, z0, state_reference, parameter_references = convolved
    solver = SolverConfig(method=method, steps=10, rtol=tolerance, atol=tolerance, gradient=gradient)
    by_state, by_parameters, _ = gradients(field, z0, solver)
    assert relative_error(by_state, state_reference) < within
    assert len(by_parameters) == len(parameter_references) == 4
    # The convolution's bias is nearly cancelled by the normalisation behind it: judged against the whole gradient.
    scale = torch.cat([exact.flatten() for exact in parameter_references]).norm()
    for value, exact in zip(by_parameters, parameter_references, strict=True):
        assert (value.double() - exact).norm() < within * scale


def test_direct_and_adjoint_count_their_evaluations_apart(
    convolved: Reference,
) -> None:
    field, z0, *_ = convolved
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = field.register_forward_hook(count)
    direct = gradients(field, z0, SolverConfig(gradient="direct"))[2]
    assert (direct.nfe_forward, direct.nfe_backward) == (calls, None)
    calls = 0
    z0 = z0.clone().requires_grad_()
    solution = integrate(field, z0, (0.0, 1.0), SolverConfig(gradient="adjoint"))
    forward_calls = calls
    assert (solution.statistics.nfe_forward, solution.statistics.nfe_backward) == (forward_calls, 0)
    accepted = solution.statistics.accepted
    solution.state.sum().backward()
    handle.remove()
    assert solution.statistics.nfe_forward == forward_calls == direct.nfe_forward
    assert solution.statistics.nfe_backward == calls - forward_calls > 0
    assert solution.statistics.accepted == accepted


@pytest.mark.parametrize("method", EVALUATIONS_PER_STEP)
@pytest.mark.parametrize(("steps", "final_time"), [(3, 0.3), (7, 1.0), (7, 10.0)])
def test_the_adjoint_of_a_fixed_step_method_takes_the_same_steps_back(
    method: str, steps: int, final_time: float
) -> None:
    solver = SolverConfig(method=method, steps=steps, gradient="adjoint")
    statistics = gradients(Growth(-0.1), start(), solver, final_time)[2]
    assert statistics.nfe_backward == statistics.nfe_forward == EVALUATIONS_PER_STEP[method] * steps


class Dropped(nn.Module):
    """Draws anew at every evaluation."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return nn.functional.dropout(self.field(t, z), 0.2)


@pytest.mark.parametrize(("method", "stages"), [("euler", 1), ("rk4", 4), ("heun", 2), ("dopri5", 6), ("dopri8", 13)])
@pytest.mark.usefixtures("step_by_step")
def test_checkpointed_gradients_are_those_of_the_kept_graphs_to_the_bit_random_numbers_included(
    method: str, stages: int, convolved: Reference
) -> None:
    field, z0, *_ = convolved
    found, drawn = {}, {}
    for gradient in ("direct", "auto", "checkpointed", "recursive"):
        torch.manual_seed(1)
        solver = SolverConfig(method=method, steps=3, gradient=gradient, rtol=0.1, atol=0.1)
        found[gradient] = gradients(Dropped(field), z0, solver)
        drawn[gradient] = float(torch.rand(1))
    by_state, by_parameters, statistics = found["auto"]
    for gradient in ("checkpointed", "recursive"):
        assert torch.equal(by_state, found[gradient][0])
        assert all(map(torch.equal, by_parameters, found[gradient][1]))
    # Torch adds up a parameter's shares of one graph in another order than step by step.
    torch.testing.assert_close(found["direct"][0], by_state, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["direct"][1], by_parameters, rtol=1e-5, atol=1e-5)
    assert len(set(drawn.values())) == 1
    assert (statistics.nfe_backward, statistics.rejected) == (None, found["checkpointed"][2].rejected)
    assert found["checkpointed"][2].nfe_backward == stages * statistics.accepted


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small fields are treated as large ones: their graphs are cut at every step."""
    monkeypatch.setattr(memory, "SMALL_STATE", -1)


def test_the_graph_of_a_small_field_is_torchs_own_and_that_of_a_large_one_is_cut(
    convolved: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    field, z0, *_ = convolved
    z0 = z0.clone().requires_grad_()
    assert integrate(field, z0, (0.0, 1.0)).state.grad_fn.name() == "AddcmulBackward0"
    monkeypatch.setattr(memory, "LARGEST_WHOLE_GRAPH", 2**20)
    assert integrate(field, z0, (0.0, 1.0)).state.grad_fn.name() == "_DiscreteBackward"


@pytest.fixture
def layer() -> Layer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Layer()


# Two steps of 0.6 whatever the state: the tolerance is loose, and no step size depends on what is differentiated.
TWO_STEPS = {"steps": 2, "rtol": 0.1, "atol": 0.1}


@pytest.mark.parametrize("gradient", ["direct", "checkpointed", "auto"])
@pytest.mark.parametrize("method", ["euler", "rk4", "heun", "bosh3", "dopri5", "tsit5", "dopri8"])
def test_gradients_are_those_of_the_steps(method: str, gradient: str, layer: Layer) -> None:
    solver = SolverConfig(method=method, gradient=gradient, **TWO_STEPS)
    z0 = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).requires_grad_()

    def solved(z: Tensor) -> Tensor:
        solution = integrate(layer, z, (0.0, 1.2), solver, first_dt=0.6)
        assert [attempt.dt for attempt in solution.statistics.attempts] == pytest.approx([0.6, 0.6])
        return solution.state

    assert torch.autograd.gradcheck(solved, z0)
    (by_weight,) = torch.autograd.grad(solved(z0).square().sum(), layer.linear.weight)
    direction, width = torch.ones_like(by_weight), 1e-6
    sides = []
    for sign in (1, -1):
        moved = copy.deepcopy(layer)
        moved.linear.weight.data += sign * width * direction
        with torch.no_grad():
            sides.append(integrate(moved, z0, (0.0, 1.2), solver, first_dt=0.6).state.square().sum())
    assert float((by_weight * direction).sum()) == pytest.approx(float(sides[0] - sides[1]) / (2 * width), rel=1e-6)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_gradients_of_equal_steps_are_torchdiffeqs(method: str, layer: Layer) -> None:
    z0 = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    ours, theirs = (
        gradients(layer, z0, SolverConfig(engine=engine, method=method, steps=5, gradient="direct"))
        for engine in ENGINES
    )
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", ["auto", "checkpointed", "recursive", "adjoint"])
@pytest.mark.usefixtures("step_by_step")
def test_a_second_derivative_is_refused_instead_of_being_wrong(gradient: str, layer: Layer) -> None:
    z0 = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    z = integrate(layer, z0, (0.0, 1.0), SolverConfig(gradient=gradient)).state
    with pytest.raises(
        OdenetError, match=r"^the gradient of this solve cannot be differentiated again.*gradient=direct"
    ):
        torch.autograd.grad(z.sum(), z0, create_graph=True)


def test_a_graph_that_is_retained_gives_the_same_gradient_again(layer: Layer) -> None:
    z0 = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    loss = integrate(layer, z0, (0.0, 1.0), SolverConfig(gradient="direct")).state.sum()
    once, again = (torch.autograd.grad(loss, z0, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, again)


def test_a_parameter_that_the_field_does_not_use_has_no_gradient(layer: Layer) -> None:
    layer.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    for gradient in ("direct", "checkpointed"):
        layer.zero_grad()
        z = integrate(layer, torch.ones(1, 3, dtype=torch.float64), (0.0, 1.0), SolverConfig(gradient=gradient)).state
        z.sum().backward()
        assert layer.unused.grad is None
        assert layer.linear.weight.grad is not None


def test_rejected_steps_leave_nothing_behind() -> None:
    field = Growth(-300.0)
    direct = gradients(field, start(), SolverConfig(gradient="direct"), 0.1)
    checkpointed = gradients(field, start(), SolverConfig(gradient="checkpointed"), 0.1)
    assert direct[2].rejected > 0
    assert checkpointed[2].nfe_backward == 6 * checkpointed[2].accepted
    torch.testing.assert_close(direct[0], checkpointed[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(direct[1][0], checkpointed[1][0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.usefixtures("step_by_step")
def test_auto_keeps_the_graphs_that_fit_and_no_bit_of_the_gradient_depends_on_it(
    share: float,
    convolved: Reference,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    field, z0, *_ = convolved
    steps, saved = 8, 2 * z0.nbytes * 4  # of a step: inputs of convolution, normalisation and two products
    free = share * steps * saved / memory.SHARE_OF_FREE_MEMORY
    monkeypatch.setattr(memory, "free_memory", lambda _device: int(free))
    solver = {"method": "midpoint", "steps": steps}
    auto = gradients(field, z0, SolverConfig(gradient="auto", **solver))
    checkpointed = gradients(field, z0, SolverConfig(gradient="checkpointed", **solver))
    assert torch.equal(auto[0], checkpointed[0])
    assert all(map(torch.equal, auto[1], checkpointed[1]))
    rebuilt = (auto[2].nfe_backward or 0) / 2
    assert rebuilt == pytest.approx((1 - share) * steps, abs=1)


def test_the_graphs_of_the_first_steps_are_kept_with_room_for_one_that_is_built_again() -> None:
    size = 4 * 2**10
    path = RecordedPath((), torch.device("cpu"), budget=3.5 * size)
    for _ in range(5):
        z = path.leaf(torch.ones(2**10))
        with path.recording():
            end = z * z
        path.extend(segment(z, end))
    assert [one.graph is not None for one in path.segments if isinstance(one, Segment)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert path.kept_bytes == 2 * size


def segment(z: Tensor, end: Tensor) -> Segment:
    """A step of which nothing but its graph matters."""
    nothing = torch.zeros(())
    graph = StepGraph(end, None, None) if end.requires_grad else None
    return Segment(nothing, nothing, nothing, z, None, None, None, None, None, False, graph, NOTHING, NOTHING, NOTHING)


@pytest.mark.usefixtures("step_by_step")
def test_the_memory_that_is_counted_is_the_memory_that_is_taken() -> None:
    counted, taken = graph_memory("auto")
    assert counted == pytest.approx(taken, rel=0.2)
    counted, taken = graph_memory("checkpointed")
    assert counted == 0
    assert taken < 10 * STATE_BYTES + 20 * 2**20


@pytest.mark.parametrize("gradient", ["direct", "auto", "checkpointed", "recursive", "adjoint"])
def test_a_field_that_uses_torch_func_is_counted_and_has_its_gradient(gradient: str) -> None:
    """Its saved tensors are wrapped, without a storage of their own."""
    network = Layer()

    class Divergence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            def slope(z: Tensor) -> Tensor:
                return self.network(t, z)

            jacobian = torch.func.vmap(torch.func.jacfwd(slope))(state[0])
            return slope(state[0]), jacobian.diagonal(dim1=1, dim2=2).sum(1)

    def by_weight(gradient: str) -> Tensor:
        z0 = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
        solver = SolverConfig(rtol=1e-7, atol=1e-7, gradient=gradient)  # type: ignore[arg-type]
        end, change = integrate(Divergence(), (z0, z0[:, 0] * 0), (0.0, 1.0), solver).state  # type: ignore[misc]
        network.zero_grad()
        (end.square().sum() + change.sum()).backward()
        assert network.linear.weight.grad is not None
        return network.linear.weight.grad.clone()

    assert torch.allclose(by_weight(gradient), by_weight("direct"), rtol=1e-4 if gradient == "adjoint" else 1e-12)


@pytest.mark.filterwarnings("error")
def test_the_adjoint_warns_of_no_difference_that_is_rounding() -> None:
    speed = torch.tensor([100.3], requires_grad=True)
    solver = SolverConfig(rtol=1e-8, atol=1e-8, gradient="adjoint")
    for time in (2.5, 10.0):
        start = (torch.tensor([1e-5]), speed)
        solution = integrate(lambda _t, z: (z[1], torch.full_like(z[1], -9.8)), start, (1.4, 1.4 + time), solver)
        (gradient,) = torch.autograd.grad(solution.state[0].sum(), speed)  # type: ignore[index, union-attr]
        assert float(gradient) == pytest.approx(time, rel=1e-4)


STATE_BYTES = 4 * 2**20


def resident_bytes() -> int:
    """Of this process, without garbage, and without what its allocator holds free."""
    gc.collect()
    give_back_freed_memory()
    return int(psutil.Process().memory_info().rss)


def graph_memory(gradient: str) -> tuple[int, int]:
    """Bytes of the graphs of ten steps: as counted, and as the process grew."""
    field = Convolved(channels=4)
    z0 = torch.randn(64, 4, 64, 64)
    paths = []

    class Watched(RecordedPath):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            paths.append(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(discrete, "RecordedPath", Watched)
        with torch.no_grad():
            integrate(
                field, z0, (0.0, 1.0), SolverConfig(method="euler", steps=1)
            )  # what the libraries take for themselves
        before = resident_bytes()
        solution = integrate(field, z0, (0.0, 1.0), SolverConfig(method="euler", steps=10, gradient=gradient))
        taken = resident_bytes() - before
        assert solution.statistics.accepted == 10  # and so its graph is alive until here
    return paths[0].kept_bytes, taken


def test_batch_statistics_are_moved_by_the_forward_pass_alone() -> None:
    statistics = {}
    for gradient in ("direct", "checkpointed", "adjoint"):
        torch.manual_seed(0)
        normalisation = nn.BatchNorm2d(3)
        inner = Field(lambda t, z, n=normalisation: torch.tanh(n(z)) * torch.cos(t))
        inner.add_module("normalisation", normalisation)
        z = integrate(inner, torch.randn(4, 3, 5, 5), (0.0, 1.0), SolverConfig(gradient=gradient)).state
        after_forward = normalisation.running_mean.clone()
        z.sum().backward()
        assert torch.equal(normalisation.running_mean, after_forward)
        statistics[gradient] = after_forward
    assert torch.equal(statistics["direct"], statistics["checkpointed"])
    assert torch.equal(statistics["direct"], statistics["adjoint"])


def test_the_adjoint_has_tolerances_of_its_own(
    convolved: Reference,
) -> None:
    field, z0, state_reference, _ = convolved
    loose = gradients(field, z0, SolverConfig(gradient="adjoint"))
    tight = gradients(field, z0, SolverConfig(gradient="adjoint", adjoint_rtol=1e-6, adjoint_atol=1e-6))
    assert loose[2].nfe_forward == tight[2].nfe_forward
    assert (tight[2].nfe_backward or 0) > (loose[2].nfe_backward or 0)
    assert relative_error(loose[0], state_reference) < 1e-2
    assert relative_error(tight[0], state_reference) < relative_error(loose[0], state_reference)


def test_the_parameters_gradients_do_not_decide_about_the_steps_of_the_adjoint() -> None:
    class Scaled(nn.Module):
        """The same ODE for every scale, which only makes the gradient by the offset larger."""

        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale
            self.offset = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            return -z * torch.cos(3 * t) + self.scale * self.offset

    counts = [
        gradients(Scaled(scale), start(), SolverConfig(gradient="adjoint"), 3.0)[2].nfe_backward for scale in (1.0, 1e6)
    ]
    assert counts[0] == counts[1]


def solved_from(z: Tensor, **settings: Any) -> Tensor:
    field = Field(lambda t, z: torch.sin(z @ z.new_tensor([[1.0, 0.5], [-0.3, 0.2]])) + t)
    state = integrate(field, z, (0.0, 1.0), SolverConfig(**settings)).state
    assert isinstance(state, Tensor)
    return state


@pytest.mark.parametrize("gradient", ["auto", "direct"])
@pytest.mark.parametrize("method", [{"method": "euler", "steps": 3}, {"method": "dopri5"}])
@pytest.mark.parametrize("transform", [torch.func.jacrev, torch.func.jacfwd])
def test_torch_func_goes_through_a_solve(transform: Any, method: dict[str, Any], gradient: str) -> None:
    z0 = torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    solve = partial(solved_from, gradient=gradient, **method)
    torch.testing.assert_close(transform(solve)(z0), torch.autograd.functional.jacobian(solve, z0))


class Autonomous(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return torch.tanh(self.network(z))


@pytest.mark.parametrize("size", [4, 40_000])
def test_torch_func_differentiates_a_solve_by_its_weights(size: int) -> None:
    network, z0 = nn.Linear(4, 4), torch.ones(size // 4, 4)
    block = ODEBlock(Autonomous(network), 1.0, SolverConfig(rtol=1e-3, atol=1e-3))

    def loss(weights: dict[str, Tensor]) -> Tensor:
        total: Tensor = torch.func.functional_call(block, weights, z0).square().mean()
        return total

    weights = dict(block.named_parameters())
    found = torch.func.grad(loss)(weights)
    expected = torch.autograd.grad(loss(weights), list(weights.values()))
    for ours, theirs in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("gradient", ["checkpointed", "recursive", "adjoint"])
def test_torch_func_around_a_solve_that_it_cannot_see_into_is_refused(gradient: str) -> None:
    z0 = torch.ones(1, 2, dtype=torch.float64)
    with pytest.raises(InvalidInput, match=f"a solve with gradient=direct alone, not {gradient}: use that"):
        torch.func.jacrev(partial(solved_from, gradient=gradient))(z0)


def test_vmap_around_a_solve_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidInput, match=r"vmap cannot go around a solve.*: give the batch as the state's first"):
        torch.func.vmap(solved_from)(torch.ones(3, 1, 2, dtype=torch.float64))
