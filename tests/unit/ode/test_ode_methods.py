"""Methods that are not explicit: Kværnø's for stiff fields, and the leapfrog for pairs of positions and momenta."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.problems import ROBERTSON, STIFF_VAN_DER_POL, by_scipy
from pipeline.config import SolverConfig
from pipeline.methods import METHODS
from pipeline.methods.tableau import ImplicitTableau
from pipeline.ode import SolverFailure, Status, integrate
from pipeline.ode.field import VectorField
from pipeline.ode.state import Layout
from pipeline.ode.stepping import method_named
from pipeline.ode.tolerance import Tolerance, root_mean_square
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers.ode_fields import OSCILLATION, Field, Growth, Layer, gradients

Pair = tuple[Tensor, Tensor]
MODES: dict[str, dict[str, Any]] = {
    "direct": {"gradient": "direct"},
    "auto": {"gradient": "auto"},
    "checkpointed": {"gradient": "checkpointed"},
    "recursive": {"gradient": "recursive"},
    "sample": {"control": "sample"},
}
TIGHT = Tolerance(1e-12, 1e-12, root_mean_square)
IMPLICIT = METHODS["kvaerno3"]
assert isinstance(IMPLICIT, ImplicitTableau)


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rows() -> Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)


# ---- Kværnø's method: its coefficients


def matrix(tableau: ImplicitTableau) -> Tensor:
    """All weights of the stages, the diagonal among them."""
    size = len(tableau.c)
    full = torch.zeros(size, size, dtype=torch.float64)
    for i, weights in enumerate(tableau.a, start=1):
        full[i, :i] = vector(*weights)
        full[i, i] = tableau.diagonal
    return full


def order_conditions(b: Tensor, c: Tensor, a: Tensor) -> dict[int, list[float]]:
    """What is 0 for a method of an order, by orders.

    Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, section II.2.
    """
    return {
        1: [float(b.sum()) - 1],
        2: [float(b @ c) - 1 / 2],
        3: [float(b @ c**2) - 1 / 3, float(b @ a @ c) - 1 / 6],
        4: [
            float(b @ c**3) - 1 / 4,
            float((b * c) @ a @ c) - 1 / 8,
            float(b @ a @ c**2) - 1 / 12,
            float(b @ a @ a @ c) - 1 / 24,
        ],
    }


@pytest.mark.parametrize(("embedded", "order"), [(False, 3), (True, 2)])
def test_the_coefficients_meet_the_conditions_of_their_order_and_no_more(embedded: bool, order: int) -> None:
    tableau = IMPLICIT
    b = vector(*tableau.b) - (vector(*tableau.error) if embedded else 0)
    conditions = order_conditions(b, vector(*tableau.c), matrix(tableau))
    assert order == (tableau.error_order if embedded else tableau.order)
    for met in range(1, order + 1):
        assert conditions[met] == pytest.approx([0] * len(conditions[met]), abs=1e-13)
    assert max(map(abs, conditions[order + 1])) > 1e-3


def test_every_stage_is_consistent_and_the_last_one_is_the_solution() -> None:
    a = matrix(IMPLICIT)
    torch.testing.assert_close(a.sum(1), vector(*IMPLICIT.c), rtol=0, atol=1e-14)
    torch.testing.assert_close(a[-1], vector(*IMPLICIT.b), rtol=0, atol=1e-15)
    # The second order of the stages themselves: a stiff part does not spoil them.
    torch.testing.assert_close(a @ vector(*IMPLICIT.c), vector(*IMPLICIT.c) ** 2 / 2, rtol=0, atol=1e-13)


@pytest.mark.parametrize("embedded", [False, True])
def test_no_component_grows_that_decays_and_stiff_ones_vanish_in_one_step(embedded: bool) -> None:
    """L-stable: the stability function 1 + x b (I - xA)⁻¹ 1 is at most 1 on the imaginary axis, and 0 at infinity; of
    the embedded solution at most 1 too."""
    a = matrix(IMPLICIT).to(torch.complex128)
    b = (vector(*IMPLICIT.b) - (vector(*IMPLICIT.error) if embedded else 0)).to(torch.complex128)
    one = torch.ones(len(b), dtype=torch.complex128)

    def growth(x: complex) -> float:
        return float((1 + x * (b @ torch.linalg.solve(torch.eye(len(b)).to(a) - x * a, one))).abs())

    assert growth(-1e9) < (1 if embedded else 1e-6)
    assert max(growth(1j * 10**exponent) for exponent in torch.linspace(-3, 6, 200).tolist()) <= 1 + 1e-12


def equal_steps(function: Callable[[Tensor, Tensor], Tensor], z: Tensor, t1: float, steps: int) -> Tensor:
    """By the method's own steps, all of one length."""
    method, dt = method_named("kvaerno3"), torch.tensor(t1 / steps, dtype=z.dtype)
    field = VectorField(function, Layout(z, per_sample=False), z.device)
    with torch.no_grad():
        for number in range(steps):
            t = dt * number
            step = method.advance(field, t, dt, z, field(t, z), TIGHT)
            assert step.converged
            z = step.end
    return z


@pytest.mark.parametrize("stiffness", [0.0, 1e5])
def test_the_implicit_method_converges_with_order_3(stiffness: float) -> None:
    """Of Prothero and Robinson's problem with a stiff part too, as the solution itself is smooth: order 2 at least."""

    def function(t: Tensor, z: Tensor) -> Tensor:
        swing, other = z.unbind()
        return torch.stack([-torch.sin(t) - stiffness * (swing - torch.cos(t)), -other * swing])

    errors = []
    for steps in (40, 80):
        end = equal_steps(function, vector(1, 1), 1.0, steps)
        errors.append((end - vector(math.cos(1), math.exp(-math.sin(1)))).abs())
    orders = torch.log2(errors[0] / errors[1])
    assert float(orders[1]) > 2.85
    assert float(errors[1].max()) < 1e-6
    if not stiffness:
        assert float(orders[0]) > 2.85


# ---- Stiff problems


@pytest.mark.parametrize(
    ("problem", "times", "atol"),
    [(ROBERTSON, (0.0, 0.4, 40.0, 4e3), 1e-9), (STIFF_VAN_DER_POL, (0.0, 300.0, 700.0, 1000.0), 1e-5)],
    ids=str,
)
def test_a_stiff_problem_is_solved_as_by_radau(problem: Any, times: tuple[float, ...], atol: float) -> None:
    """To twenty times what the tolerances allow a step, as in the tests of the problems; the jump of van der Pol's
    oscillator lies on the way."""
    right = by_scipy(problem, "Radau", 1e-8, times, atol=1e-12).states
    solver = SolverConfig(method="kvaerno3", rtol=1e-5, atol=atol, max_steps=5000)
    with torch.no_grad():
        solution = integrate(problem.function, problem.z0, times, solver)
    assert ((solution.states - right).abs() / (atol + 1e-5 * right.abs())).max() < 20
    assert solution.statistics.nfe_forward < 10_000


def test_stiffness_costs_the_implicit_method_little_and_an_explicit_one_everything() -> None:
    field = Field(lambda t, z: -1e6 * (z - torch.cos(t)) - torch.sin(t))
    with torch.no_grad():
        solution = integrate(field, vector(1), (0.0, 3.0), SolverConfig(method="kvaerno3", rtol=1e-5, atol=1e-5))
        assert solution.statistics.accepted < 100
        assert float(solution.state) == pytest.approx(math.cos(3), abs=1e-4)
        with pytest.raises(SolverFailure):
            integrate(field, vector(1), (0.0, 3.0), SolverConfig(rtol=1e-5, atol=1e-5))


@pytest.mark.parametrize("stiffness", [1e2, 1e3, 1e4, 1e6])
@pytest.mark.parametrize("tolerance", [1e-5, 1e-7])
def test_a_stiff_component_is_as_exact_as_asked_for(stiffness: float, tolerance: float) -> None:
    """The problem of Prothero and Robinson: what the method loses of its order in it shows in its estimate."""
    field = Field(lambda t, z: -stiffness * (z - torch.cos(t)) - torch.sin(t))
    with torch.no_grad():
        solver = SolverConfig(method="kvaerno3", rtol=tolerance, atol=tolerance)
        state = integrate(field, vector(1), (0.0, 3.0), solver).state
    assert float(state) == pytest.approx(math.cos(3), abs=tolerance)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-5, 1e-6])
def test_in_float32_the_iterations_end_at_its_rounding(tolerance: float) -> None:
    z0 = torch.tensor([1.0, 2.0])
    solver = SolverConfig(method="kvaerno3", rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        state = integrate(OSCILLATION, z0, (0.0, 3.0), solver).state
    torch.testing.assert_close(state, z0 * math.exp(math.sin(3)), rtol=30 * tolerance, atol=0)


def test_iterations_of_one_sample_do_not_depend_on_its_company() -> None:
    """Both in its steps and in its state, though the other one's are far harder to solve."""
    field = Field(lambda t, z: -100 * z**3 + torch.cos(t))
    solver = SolverConfig(method="kvaerno3", control="sample", rtol=1e-5, atol=1e-5)
    z0 = vector(0.1, 30)[:, None]
    with torch.no_grad():
        together = integrate(field, z0, (0.0, 1.0), solver)
        for sample in (0, 1):
            alone = integrate(field, z0[sample : sample + 1], (0.0, 1.0), solver)
            assert [attempt.dt for attempt in together.statistics.samples[sample].attempts] == pytest.approx(
                [attempt.dt for attempt in alone.statistics.samples[0].attempts], rel=1e-8
            )
            torch.testing.assert_close(together.state[sample], alone.state[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_matrix_that_is_made_in_portions_is_the_same(control: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of wide fields, through which all of its rows at once would take memory by the number of unknowns."""
    torch.manual_seed(0)
    layer, z0 = Layer(), rows()
    solver = SolverConfig(method="kvaerno3", control=control, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        at_once = integrate(layer, z0, (0.0, 1.0), solver).state
        monkeypatch.setattr("pipeline.ode.stepping.diagonally_implicit.PASSED_AT_ONCE", 1)
        torch.testing.assert_close(integrate(layer, z0, (0.0, 1.0), solver).state, at_once, rtol=1e-12, atol=1e-12)


# ---- Gradients through implicit steps


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_implicit_steps_agree_with_finite_differences(mode: str) -> None:
    torch.manual_seed(0)
    layer, times = Layer(), (0.0, 0.4, 1.2)
    solver = SolverConfig(method="kvaerno3", rtol=1e-5, atol=1e-5, **MODES[mode])

    def loss(of: nn.Module, z: Tensor) -> Tensor:
        states = integrate(of, z, times, solver).states
        assert isinstance(states, Tensor)
        return states.sin().sum()

    z0, width = rows().requires_grad_(), 1e-4
    found = torch.autograd.grad(loss(layer, z0), [z0, layer.linear.weight])
    for gradient, moves_start in zip(found, (True, False), strict=True):
        sides = []
        for sign in (1, -1):
            moved = copy.deepcopy(layer)
            if not moves_start:
                moved.linear.weight.data += sign * width
            with torch.no_grad():
                sides.append(float(loss(moved, z0 + sign * width * moves_start)))
        assert float(gradient.sum()) == pytest.approx((sides[0] - sides[1]) / (2 * width), rel=3e-4)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_implicit_steps_are_those_of_an_explicit_method(mode: str) -> None:
    torch.manual_seed(0)
    layer = Layer()
    implicit = SolverConfig(method="kvaerno3", rtol=1e-6, atol=1e-6, **MODES[mode])
    explicit = SolverConfig(method="dopri8", rtol=1e-11, atol=1e-11, gradient="direct")
    found, expected = gradients(layer, rows(), implicit), gradients(layer, rows(), explicit)
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_of_a_stiff_solve_is_that_of_the_closed_form(mode: str) -> None:
    """z is drawn to `goal` at a rate of 1e4: what it began with is forgotten."""
    goal = nn.Parameter(vector(0.7))
    z0 = vector(2, -1)[:, None].requires_grad_()
    solver = SolverConfig(method="kvaerno3", rtol=1e-6, atol=1e-6, **MODES[mode])
    state = integrate(lambda _t, z: -1e4 * (z - goal), z0, (0.0, 1.0), solver, parameters=[goal]).state
    by_start, by_goal = torch.autograd.grad(state.sum(), [z0, goal])
    assert float(by_start.abs().max()) < 1e-9
    torch.testing.assert_close(by_goal, vector(2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_loosely_solved_stages_are_the_same_again_in_the_backward_pass(tolerance: float) -> None:
    """Iterations that end early leave the same state with a graph and without one, to the bit."""
    torch.manual_seed(0)
    layer, found = Layer(), {}
    for mode in ("direct", "auto", "checkpointed", "recursive"):
        solver = SolverConfig(method="kvaerno3", rtol=tolerance, atol=tolerance, **MODES[mode])
        z0 = (3 * rows()).requires_grad_()
        state = integrate(layer, z0, (0.0, 3.0), solver).state
        found[mode] = (state.detach(), torch.autograd.grad(state.square().sum(), z0)[0])
    for mode in ("auto", "checkpointed", "recursive"):
        assert torch.equal(found[mode][0], found["direct"][0])
        torch.testing.assert_close(found[mode][1], found["direct"][1], rtol=1e-11, atol=1e-13)


def test_the_adjoint_of_an_implicit_method_is_refused() -> None:
    z0 = vector(1).requires_grad_()
    with pytest.raises(InvalidInput, match=r"^gradient=adjoint does not go with method=kvaerno3: use gradient=auto"):
        integrate(Growth(-1.0), z0, (0.0, 1.0), SolverConfig(method="kvaerno3", gradient="adjoint"))


def test_a_second_derivative_of_implicit_steps_is_refused() -> None:
    z0 = vector(1, 2).requires_grad_()
    state = integrate(Growth(-1.0), z0, (0.0, 1.0), SolverConfig(method="kvaerno3", gradient="direct")).state
    with pytest.raises(
        OdenetError, match=r"^the gradient of an implicit step cannot be differentiated again.*explicit"
    ):
        torch.autograd.grad(state.sum(), z0, create_graph=True)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_equations_without_a_solution_end_the_solve_with_their_own_status(control: str) -> None:
    """The slope jumps at 0, which every step of more than nothing reaches, and between the two sides nothing solves."""
    field = Field(lambda _t, z: -1e15 * torch.sign(z))
    solver = SolverConfig(method="kvaerno3", control=control)
    with pytest.raises(SolverFailure) as failure:
        integrate(field, vector(1e-3)[:, None], (0.0, 1.0), solver, first_dt=1.0)
    assert failure.value.status == Status.NOT_CONVERGED
    assert "the equations of an implicit step could not be solved" in str(failure.value)


def test_a_step_whose_equations_have_no_solution_is_tried_shorter() -> None:
    """Where the solution decays at once, long steps overshoot into where the slope is no number."""
    field = Field(lambda _t, z: -1000 * torch.sqrt(z) * (z > 0) + 0 * torch.log(z))
    solver = SolverConfig(method="kvaerno3", rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        solution = integrate(field, vector(100), (0.0, 0.01), solver, first_dt=0.01)
    assert solution.statistics.rejected > 0
    assert float(solution.state) == pytest.approx((10 - 5) ** 2, rel=1e-3)


# ---- The leapfrog


def pendulum(t: Tensor, z: Pair) -> Pair:  # noqa: ARG001
    angle, speed = z
    return speed, -torch.sin(angle)


def energy(z: Pair) -> Tensor:
    """Of the pendulum."""
    angle, speed = z
    return speed.square() / 2 - torch.cos(angle)


def kepler(t: Tensor, z: Pair) -> Pair:  # noqa: ARG001
    position, momentum = z
    return momentum, -position / position.norm() ** 3


def leapfrog(steps: int, **options: Any) -> SolverConfig:
    return SolverConfig(method="leapfrog", steps=steps, **options)


def test_the_leapfrog_converges_with_order_2() -> None:
    z0 = (vector(1.0), vector(0.5))
    right = integrate(pendulum, z0, (0.0, 3.0), SolverConfig(method="dopri8", rtol=1e-12, atol=1e-12)).state
    errors = []
    for steps in (40, 80, 160):
        state = integrate(pendulum, z0, (0.0, 3.0), leapfrog(steps)).state
        errors.append(float((torch.cat(state) - torch.cat(right)).norm()))
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2, 2], abs=0.05)


def test_the_energy_does_not_drift_over_ten_thousand_steps() -> None:
    """Of a planet: it swings within an error of dt², from the first of eighty turns to the last."""
    steps, dt = 10_000, 0.05
    times = torch.linspace(0, steps * dt, 201, dtype=torch.float64)
    with torch.no_grad():
        position, momentum = integrate(kepler, (vector(1, 0), vector(0, 1.1)), times, leapfrog(steps)).states
    energies = momentum.square().sum(1) / 2 - 1 / position.norm(dim=1)
    swing = (energies - energies[0]).abs()
    assert float(swing.max()) < dt**2
    assert float(swing[-40:].max()) < 1.5 * float(swing[:40].max())


def test_the_energy_of_a_pendulum_does_not_drift_where_that_of_another_method_does() -> None:
    z0, steps = (vector(1.5), vector(0.0)), 1000
    times = torch.linspace(0, 100, 101, dtype=torch.float64)
    drifts = []
    with torch.no_grad():
        for method in ("leapfrog", "midpoint"):
            states = integrate(pendulum, z0, times, SolverConfig(method=method, steps=steps)).states
            drifts.append(float((energy(states) - energy(z0)).abs().max()))
    assert drifts[0] < drifts[1] / 5, drifts


def test_the_leapfrog_goes_back_the_way_it_came() -> None:
    z0 = (vector(1.0, -2), vector(0.5, 0.3))
    there = integrate(pendulum, z0, (0.0, 30.0), leapfrog(300)).state
    back = integrate(pendulum, there, (30.0, 0.0), leapfrog(300)).state
    torch.testing.assert_close(back, z0, rtol=0, atol=1e-11)


@pytest.mark.parametrize("mode", ["direct", "auto", "checkpointed", "recursive"])
def test_gradients_of_the_leapfrog_are_those_of_its_steps(mode: str) -> None:
    """Against autograd through a hand-written loop of kicks and drifts."""
    stiffness = nn.Parameter(vector(2.0))
    q0, p0 = vector(1, -0.5).requires_grad_(), vector(0.3, 0.7).requires_grad_()
    steps, dt = 20, 0.1

    def field(t: Tensor, z: Pair) -> Pair:
        return z[1], -stiffness * torch.sin(z[0]) + 0.1 * torch.cos(t)

    state = integrate(field, (q0, p0), (0.0, steps * dt), leapfrog(steps, gradient=mode), parameters=[stiffness]).state
    q, p = q0, p0
    for number in range(steps):
        half = p + dt / 2 * field(vector(number * dt)[0], (q, p))[1]
        q = q + dt * half
        p = half + dt / 2 * field(vector((number + 1) * dt)[0], (q, half))[1]
    torch.testing.assert_close(state, (q, p), rtol=1e-12, atol=1e-12)
    inputs = [q0, p0, stiffness]
    found, expected = (torch.autograd.grad(one[0].square().sum() + one[1].sum(), inputs) for one in (state, (q, p)))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


def test_the_adjoint_of_the_leapfrog_is_refused_in_a_sentence() -> None:
    """Its backward state has no pair of parts."""
    z0 = (vector(1.0).requires_grad_(), vector(0.5))
    with pytest.raises(InvalidInput, match=r"^gradient=adjoint does not go with method=leapfrog: use gradient=auto"):
        integrate(pendulum, z0, (0.0, 3.0), leapfrog(10, gradient="adjoint"))


@pytest.mark.parametrize(
    ("z0", "what"),
    [
        (vector(1, 2), "one part"),
        ((vector(1), vector(2), vector(3)), "3 parts"),
        ((vector(1, 2), vector(3)), "parts of 2 and 1 numbers"),
    ],
)
def test_a_state_that_is_no_pair_is_refused_by_the_leapfrog(z0: Any, what: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"^leapfrog needs a state of two parts of one size, positions and momenta, not {what}$"
    ):
        integrate(lambda _t, z: z, z0, (0.0, 1.0), leapfrog(3))


@pytest.mark.parametrize(
    ("control", "remedy"), [("batch", "use control=sample, "), ("sample", "use an explicit method")]
)
def test_an_implicit_step_whose_matrix_no_memory_holds_is_refused(control: str, remedy: str) -> None:
    images = torch.zeros(2, 128, 28, 28)
    with pytest.raises(InvalidInput, match=rf"in \d+ unknowns at once, whose matrix takes \d+ GiB: {remedy}"):
        integrate(lambda _t, z: -z, images, (0.0, 1.0), SolverConfig(method="kvaerno3", control=control))
