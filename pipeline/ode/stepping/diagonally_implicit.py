"""One step of a diagonally implicit Runge–Kutta method, for stiff fields.

Source: Hairer & Wanner, *Solving Ordinary Differential Equations II*, sections IV.6 (methods) and IV.8 (simplified
Newton iterations, and when they are given up).
"""

from math import hypot
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.methods.tableau import ImplicitTableau
from pipeline.ode.field import VectorField
from pipeline.ode.inference_mode import differentiating, ordinary
from pipeline.ode.once import differentiated_once
from pipeline.ode.stepping.cubic import KnownAtItsEnds
from pipeline.ode.stepping.method import Step
from pipeline.ode.stepping.runge_kutta import weighted_sum
from pipeline.ode.tolerance import Tolerance
from pipeline.util.errors import InvalidInput

LARGEST_ITERATIONS = 10
LARGEST_MATRIX = 2 * 2**30
"""Bytes of the matrix of a step, above which it is refused: several of that size are at work at once."""
PASSED_AT_ONCE = 2**23
"""Elements of all the states that are passed backward through the field together, which has layers wider than these."""
CONVERGED = 1e-3
"""Size of the last correction relative to what the tolerances allow, below which a stage counts as solved: what the
iterations leave is then lost in the error of the step."""
ROUNDINGS = 4
"""So many roundings of a state's largest element are no correction either."""


class _Stage(NamedTuple):
    """Of each system whether it was solved: shape (1,), or with steps of their own (batch,)."""

    state: Tensor
    slope: Tensor
    nfe: int
    converged: Tensor


class DiagonallyImplicit(KnownAtItsEnds):
    """The method of a tableau whose stages behind the first all have the same number on the diagonal.

    The matrix of the Newton iterations is that of all of a batch or, with step control per sample, one a sample: it is
    meant for states of up to some hundred elements.
    """

    def __init__(self, tableau: ImplicitTableau) -> None:
        self.tableau = tableau
        self.order = tableau.order
        self.error_order = tableau.error_order
        self.nfe = 2 * LARGEST_ITERATIONS * len(tableau.b)
        self.error_weight = hypot(*tableau.error)

    def advance(
        self,
        field: VectorField,
        t: Tensor,
        dt: Tensor,
        z: Tensor,
        first: Tensor,
        tolerance: Tolerance,
        keeps_stages: bool = False,  # noqa: ARG002 - it takes none
    ) -> Step:
        """One matrix for all stages, factorised once; each is found by iterations of its own.

        Gradients are those of the equations' solution (the implicit function theorem) and not of the iterations; they
        cannot be differentiated again.
        """
        scaled = dt * self.tableau.diagonal
        matrix = _newton_matrix(field, t, scaled, z)
        stages, nfe, end = [first], 1, z
        converged = torch.ones(len(matrix.factors), dtype=torch.bool, device=z.device)
        for c, weights in zip(self.tableau.c[1:], self.tableau.a, strict=True):
            known = weighted_sum(z, dt, weights[: len(stages)], stages)
            stage = _solve(field, torch.add(t, dt, alpha=c), scaled, known, end, matrix, tolerance)
            stages.append(stage.slope)
            end, nfe, converged = stage.state, nfe + stage.nfe, converged & stage.converged
        with torch.no_grad():
            error = weighted_sum(end * 0, dt, self.tableau.error, stages)
            solved = bool(converged.all())
            if not solved:
                rows = error.reshape(len(converged), -1)
                error = torch.where(converged.unsqueeze(1), rows, torch.nan).reshape(error.shape)
        return Step(end, error, [end, first], nfe, solved)

    def error_ratio(self, step: Step, dt: Tensor, z: Tensor, last: Tensor | None, tolerance: Tolerance) -> Tensor:  # noqa: ARG002
        """By the weights of the embedded solution.

        They are taken as they are: both solutions are A-stable and stiffly accurate, so that the estimate of a stiff
        component is of its size, and one that the matrix damps would hide what order is lost in it.
        """
        return tolerance.ratio(step.error, z, step.end)


def _solve(
    field: VectorField,
    t: Tensor,
    dt: Tensor,
    known: Tensor,
    guess: Tensor,
    matrix: "_NewtonMatrix",
    tolerance: Tolerance,
) -> _Stage:
    """The state Y = known + dt f(t, Y), and f there.

    Of samples with steps of their own each is corrected until it is solved, and no more: its company does not matter.
    """
    state, nfe, systems = guess.detach(), 0, len(matrix.factors)
    with torch.no_grad():
        previous = torch.full((systems,), torch.inf, dtype=state.dtype, device=state.device)
        goes_on = torch.ones(systems, dtype=torch.bool, device=state.device)
        converged = ~goes_on
        for _ in range(LARGEST_ITERATIONS):
            correction = matrix.solve(state - known - dt * field(t, state))
            nfe += 1
            rows, corrections = state.reshape(systems, -1), correction.reshape(systems, -1)
            rows = torch.where(goes_on.unsqueeze(1), rows - corrections, rows)
            state = rows.reshape(state.shape)
            allowed = tolerance.of(rows.abs()).mul_(CONVERGED)
            allowed += ROUNDINGS * torch.finfo(rows.dtype).eps * rows.abs().amax(1, keepdim=True)
            size = (corrections.abs() / allowed).amax(1)
            converged |= goes_on & (size <= 1)
            goes_on &= ~converged & (size < 2 * previous)  # not where it is no number either
            previous = size
            if not goes_on.any():
                break
    if torch.is_grad_enabled():
        exact = _newton_matrix(field, t, dt, state)
        correction = exact.solve(state - known - dt * field(t, state))
        # Its derivatives alone: the step is the same with them and without.
        state = state - (correction - correction.detach())
        state = differentiated_once(state, "an implicit step", ": use an explicit method")
        nfe += 2
    return _Stage(state, (state - known) / dt, nfe, converged)


class _NewtonMatrix(NamedTuple):
    """I - dt ∂f/∂z, factorised: of shape (1, N, N), or with steps of their own (batch, N, N)."""

    factors: Tensor
    pivots: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """The matrix's inverse times `right`, shaped as the state."""
        columns = right.reshape(len(self.factors), -1, 1)
        solved: Tensor = torch.linalg.lu_solve(self.factors, self.pivots, columns)
        return solved.reshape(right.shape)


def _refuse_large_matrix(systems: int, z: Tensor) -> None:
    size = z.numel() // systems
    needed = systems * size**2 * z.element_size()
    if needed > LARGEST_MATRIX:
        apart = "" if systems > 1 else "control=sample, which has a matrix for each sample, or "
        raise InvalidInput(
            f"an implicit method solves equations in {size} unknowns at once, whose matrix takes {needed / 2**30:.0f} "
            f"GiB: use {apart}an explicit method such as dopri5"
        )


def _newton_matrix(field: VectorField, t: Tensor, dt: Tensor, z: Tensor) -> _NewtonMatrix:
    systems = len(z) if dt.dim() else 1
    _refuse_large_matrix(systems, z)
    with differentiating():
        inputs = ordinary(z).detach().requires_grad_()
        slopes = field(ordinary(t), inputs).reshape(systems, -1)
        size = slopes.shape[1]
        identity = torch.eye(size, dtype=z.dtype, device=z.device)
        jacobian = (
            _jacobian(slopes, inputs, identity) if slopes.requires_grad else slopes.new_zeros(systems, size, size)
        )
    factors, pivots, _ = torch.linalg.lu_factor_ex(identity - dt.reshape(-1, 1, 1) * jacobian)
    return _NewtonMatrix(factors, pivots)


def _jacobian(slopes: Tensor, inputs: Tensor, identity: Tensor) -> Tensor:
    """∂f/∂z of every system, shape (systems, N, N), from f's values of shape (systems, N) and the state z."""
    systems, size = slopes.shape
    found = slopes.new_zeros(systems, size, size)
    # A row of every system's matrix is one pass backward; as many rows as memory holds go through at once.
    for rows in torch.arange(size, device=slopes.device).split(max(1, PASSED_AT_ONCE // slopes.numel())):
        directions = identity[rows].unsqueeze(1).expand(-1, systems, -1)
        (found_rows,) = torch.autograd.grad(
            slopes, inputs, directions, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        if found_rows is None:  # the field does not read the state
            break
        found[:, rows] = found_rows.reshape(len(rows), systems, size).movedim(0, 1)
    return found
