"""Continuous extensions: order conditions, the ends of the step, and errors within steps."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import RK23, RK45, solve_ivp

from pipeline.methods import TABLEAUS
from pipeline.methods.tableau import Tableau

Array = NDArray[np.float64]
Derivative = Callable[[float, Array], Array]
Tree = tuple["Tree", ...]
"""A rooted tree as its subtrees."""
WITHIN = np.linspace(0, 1, 12)[1:-1]
ORDERS = {"euler": 1, "heun": 2, "midpoint": 2, "bosh3": 3, "rk4": 3, "dopri5": 4, "tsit5": 4, "dopri8": 7}


@cache
def trees(order: int) -> tuple[Tree, ...]:
    """Every rooted tree with so many vertices, once."""

    def forests(vertices: int, largest: int, last: int | None) -> Iterator[Tree]:
        if not vertices:
            yield ()
        for size in range(min(vertices, largest), 0, -1):
            ends = len(trees(size)) if last is None or size < largest else last + 1
            for index in range(ends):
                for rest in forests(vertices - size, size, index):
                    yield (trees(size)[index], *rest)

    return tuple(forests(order - 1, order - 1, None))


def vertices(tree: Tree) -> int:
    return 1 + sum(map(vertices, tree))


def density(tree: Tree) -> int:
    """γ of the order conditions."""
    return vertices(tree) * math.prod(map(density, tree))


def symmetry(tree: Tree) -> int:
    """σ, the number of a tree's automorphisms."""
    return math.prod(math.factorial(count) * symmetry(subtree) ** count for subtree, count in Counter(tree).items())


def elementary_weights(tree: Tree, a: Array) -> Array:
    """Φ_i of each stage."""
    weights = np.ones(len(a))
    for subtree in tree:
        weights *= a @ elementary_weights(subtree, a)
    return weights


def rows(tableau: Tableau) -> list[tuple[float, ...]]:
    """The weights in the state of each k_i of the extension but the first."""
    at_end = [] if tableau.first_same_as_last else [tableau.b]
    return [*tableau.a, *at_end, *tableau.dense.a]


def times(tableau: Tableau) -> list[float]:
    at_end = [] if tableau.first_same_as_last else [1.0]
    return [*tableau.c, *at_end, *tableau.dense.c]


def matrix(tableau: Tableau) -> Array:
    a = np.zeros((len(rows(tableau)) + 1,) * 2)
    for i, row in enumerate(rows(tableau), start=1):
        a[i, : len(row)] = row
    return a


def end_of_step(tableau: Tableau) -> int:
    """Which k_i is the slope at the step's end."""
    return len(tableau.b) - tableau.first_same_as_last


def weights_at(tableau: Tableau, theta: float) -> Array:
    """b_i(θ)."""
    weights = np.array(tableau.dense.weights)
    return weights @ theta ** np.arange(1, weights.shape[1] + 1)


def slopes_at(tableau: Tableau, theta: float) -> Array:
    """b_i'(θ)."""
    weights = np.array(tableau.dense.weights)
    powers = np.arange(weights.shape[1])
    return weights @ ((powers + 1) * theta**powers)


def largest_defect(tableau: Tableau, order: int) -> float:
    """How far the trees of an order are from their condition, at the worst θ."""
    a = matrix(tableau)
    defects = [
        abs(weights_at(tableau, theta) @ elementary_weights(tree, a) - theta**order / density(tree))
        for tree in trees(order)
        for theta in (*WITHIN, 1.0)
    ]
    return float(max(defects))


def error_norm(tableau: Tableau, order: int, weights: Array, theta: float) -> float:
    """Norm of the coefficients that the elementary differentials of an order have in the error at θ."""
    a = matrix(tableau)
    defects = [
        (float(weights @ elementary_weights(tree, a)[: len(weights)]) - theta**order / density(tree)) / symmetry(tree)
        for tree in trees(order)
    ]
    return math.hypot(*defects)


def step(derivative: Derivative, tableau: Tableau, t: float, dt: float, z: Array) -> tuple[Array, Array]:
    """The state at the end, and the states at `WITHIN`."""
    stages = [derivative(t, z)]
    for c, row in zip(times(tableau)[1:], rows(tableau), strict=True):
        state = z + dt * sum(weight * stage for weight, stage in zip(row, stages, strict=False))
        stages.append(derivative(t + c * dt, state))
    end = z + dt * sum(weight * stage for weight, stage in zip(tableau.b, stages, strict=False))
    return end, np.array([z + dt * weights_at(tableau, theta) @ np.array(stages) for theta in WITHIN])


def four_coupled(t: float, z: Array) -> Array:
    """Nonlinear, and not autonomous."""
    first, second, third, fourth = z
    changes = [second**0.2 * fourth, 5 * math.exp(5 * (third - 1)) * fourth, fourth, -math.log(first)]
    return 2 * t * np.array(changes)


def predator_and_prey(t: float, z: Array) -> Array:
    """Lotka and Volterra's, with a season."""
    prey, predators = z
    return np.array([prey * (1.1 - predators) + 0.1 * math.sin(3 * t), predators * (prey - 0.9)])


def solution_of_four_coupled(t: float) -> Array:
    sine = math.sin(t * t)
    return np.array([math.exp(sine), math.exp(5 * sine), sine + 1, math.cos(t * t)])


def largest_errors(tableau: Tableau, steps: int, start: float, final_time: float) -> tuple[float, float]:
    """Over equal steps of the four equations: at their ends, and within them."""
    dt = (final_time - start) / steps
    z, ends, within = solution_of_four_coupled(start), [], []
    for index in range(steps):
        t = start + index * dt
        z, states = step(four_coupled, tableau, t, dt, z)
        ends.append(np.abs(z - solution_of_four_coupled(t + dt)).max())
        exact = [solution_of_four_coupled(t + theta * dt) for theta in WITHIN]
        within.append(np.abs(states - exact).max())
    return max(ends), max(within)


def test_there_are_as_many_rooted_trees_as_cayley_counted() -> None:
    assert [len(set(trees(order))) for order in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@pytest.mark.parametrize("method", TABLEAUS)
def test_every_stage_of_an_extension_has_a_time_a_row_and_weights(method: str) -> None:
    tableau = TABLEAUS[method]
    a = matrix(tableau)
    assert len(tableau.dense.weights) == len(times(tableau)) == len(a)
    assert len({len(weights) for weights in tableau.dense.weights}) == 1
    assert all(len(row) in (index, len(tableau.b)) for index, row in enumerate(rows(tableau), start=1))
    assert a.sum(axis=1) == pytest.approx(times(tableau), abs=1e-13)


@pytest.mark.parametrize("method", TABLEAUS)
def test_an_extension_meets_the_order_conditions_of_its_order_at_every_time_and_of_no_higher_one(method: str) -> None:
    tableau = TABLEAUS[method]
    assert tableau.dense.order == ORDERS[method]
    for order in range(1, tableau.dense.order + 1):
        assert largest_defect(tableau, order) < 1e-12
    assert largest_defect(tableau, tableau.dense.order + 1) > 1e-6


@pytest.mark.parametrize("method", TABLEAUS)
def test_an_extension_ends_in_the_state_of_the_step(method: str) -> None:
    tableau = TABLEAUS[method]
    weights = weights_at(tableau, 1.0)
    assert weights[: len(tableau.b)] == pytest.approx(tableau.b, abs=3e-13)
    assert weights[len(tableau.b) :] == pytest.approx(0, abs=3e-13)
    assert weights_at(tableau, 0.0).tolist() == [0] * len(weights)


@pytest.mark.parametrize("method", TABLEAUS)
def test_every_extension_but_the_straight_line_has_the_slopes_of_both_ends(method: str) -> None:
    tableau = TABLEAUS[method]
    if tableau.order == 1:
        assert slopes_at(tableau, 0.0) == pytest.approx(slopes_at(tableau, 1.0))
        return
    identity = np.eye(len(tableau.dense.weights))
    assert slopes_at(tableau, 0.0) == pytest.approx(identity[0], abs=1e-15)
    assert slopes_at(tableau, 1.0) == pytest.approx(identity[end_of_step(tableau)], abs=3e-12)


@pytest.mark.parametrize(("method", "scipy"), [("bosh3", RK23), ("dopri5", RK45)])
def test_an_extension_that_scipy_has_too_is_scipys(method: str, scipy: type[RK23 | RK45]) -> None:
    np.testing.assert_allclose(TABLEAUS[method].dense.weights, scipy.P, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("method", TABLEAUS)
def test_errors_within_steps_shrink_with_the_order(method: str) -> None:
    tableau = TABLEAUS[method]
    # Within a step the error grows by dt to the extension's order + 1; that of the steps before it is there already.
    order = min(tableau.order, tableau.dense.order + 1)
    counts = (10, 20, 40) if order > 6 else (40, 80, 160)
    errors = [largest_errors(tableau, steps, 0.1, 1.4)[1] for steps in counts]
    assert math.log2(errors[-2] / errors[-1]) > order - 0.3
    assert all(fine < coarse for coarse, fine in pairwise(errors))


def test_dopri8_has_the_error_coefficients_within_a_step_that_it_says() -> None:
    tableau = TABLEAUS["dopri8"]
    within = max(error_norm(tableau, 8, weights_at(tableau, theta), theta) for theta in np.linspace(0, 1, 41))
    assert within == pytest.approx(3.1e-6, rel=0.02)
    assert error_norm(tableau, 8, np.subtract(tableau.b, tableau.error), 1.0) == pytest.approx(2.9e-5, rel=0.02)


@pytest.mark.parametrize("steps", [6, 12, 18])
def test_dopri8_is_at_most_ten_times_less_accurate_within_steps_than_at_their_ends(steps: int) -> None:
    tableau, dt, z = TABLEAUS["dopri8"], 5.0 / steps, np.array([0.8, 1.3])
    exact = solve_ivp(
        predator_and_prey, (0, 5), z, method="DOP853", rtol=1e-13, atol=1e-14, max_step=0.02, dense_output=True
    ).sol
    at_ends, within = [], []
    for index in range(steps):
        t = index * dt
        z, states = step(predator_and_prey, tableau, t, dt, z)
        at_ends.append(np.abs(z - exact(t + dt)).max())
        within.append(np.abs(states - exact(t + WITHIN * dt).T).max())
    assert max(within) < 10 * max(at_ends)


@pytest.mark.parametrize("steps", [5, 10, 20, 30])
def test_dopri8_is_off_within_a_step_by_less_than_its_estimated_error(steps: int) -> None:
    tableau, dt = TABLEAUS["dopri8"], 1.4 / steps
    embedded = replace(tableau, b=tuple(b + e for b, e in zip(tableau.b, tableau.error, strict=True)))
    estimates, within = [], []
    for index in range(steps):
        t = index * dt
        z = solution_of_four_coupled(t)
        end, states = step(four_coupled, tableau, t, dt, z)
        estimates.append(np.abs(step(four_coupled, embedded, t, dt, z)[0] - end).max())
        within.append(np.abs(states - [solution_of_four_coupled(t + theta * dt) for theta in WITHIN]).max())
    assert max(within) < max(estimates)
