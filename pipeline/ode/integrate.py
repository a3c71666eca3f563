"""The way in."""

from math import inf

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode.field import VectorField
from pipeline.ode.gradients import solve_with_gradients
from pipeline.ode.reference import solve_with_torchdiffeq
from pipeline.ode.samples import solve_samples
from pipeline.ode.solution import Solution
from pipeline.ode.step_functions import EAGER, compiled_step_functions
from pipeline.util.errors import InvalidInput


def integrate(
    field: nn.Module,
    z0: Tensor,
    t1: float,
    solver: SolverConfig,
    first_dt: float | None = None,
    is_compiled: bool = False,
    implicit_zeros: int = 0,
) -> Solution:
    """Integrate dz/dt = field(t, z) from t = 0 to `t1`.

    With `solver.gradient` `direct`, gradients are those of the accepted steps at the sizes that they had: that a step
    size depends on the state is not differentiated (discretise, then optimise). `checkpointed` gives the same, on a
    CPU to the bit, from one state per step, each step being evaluated again in the backward pass; `auto` does so for
    the steps whose graphs would not fit into a third of the free memory. With `adjoint` they come from the adjoint ODE,
    solved backwards from z(t1) (optimise, then discretise). Gradients reach `z0` and the parameters of `field`, once:
    they cannot be differentiated again.

    With `solver.control=sample` each sample of the batch, the first dimension, has its own error and its own steps, and
    gradients are computed as with `checkpointed`. A field that draws random numbers, or in training normalises over
    the batch, cannot be differentiated then: its steps could not be repeated for some samples alone.

    Args:
        field: called with t, a scalar tensor, and z, shaped as `z0`; returns dz/dt, shaped as z. With
            `solver.control=sample` t has the shape (n, 1, …, 1), and z is n samples of the batch.
        z0: state at t = 0, any shape, float32 or float64; the field's t has its dtype.
        t1: end time, above 0 and finite in the dtype of `z0`.
        first_dt: size of the first step, for an adaptive method of our own engine; estimated without it.
        is_compiled: compute every step by compiled functions, where `solver.can_be_compiled`.
        implicit_zeros: elements of each sample's state that were left out of `z0`, since they are zero, stay so, and
            are read neither by the field nor behind the solve. Errors are averaged over them too, so that the steps
            are those of the whole state.

    Returns:
        z(t1) with the shape and dtype of `z0`, and the solve's statistics; evaluations of the backward pass are
        counted there as they happen.

    Raises:
        InvalidInput: an end time that cannot be.
        SolverFailure: step size underflow, step limit or a non-finite state, here or later in the backward pass.

    Source: Chen et al. 2018, section 2 and appendix C, for the adjoint; Gholami, Keutzer & Biros 2019, *ANODE*, for
    the gradients of checkpointed steps; Eberhard & Bischof 1999, *Automatic Differentiation of Numerical Integration
    Algorithms*, for step sizes held fixed.
    """
    end = torch.tensor(t1, dtype=z0.dtype)
    if not 0 < end < inf:
        raise InvalidInput(f"the end time must be above 0 and finite in {z0.dtype}, not {t1}: change model.final_time")
    zeros = implicit_zeros * z0.shape[:1].numel()
    if solver.engine == "torchdiffeq":
        return solve_with_torchdiffeq(field, z0, t1, solver, zeros)
    if solver.control == "sample":
        return solve_samples(VectorField(field, z0.device), z0, t1, solver, first_dt, implicit_zeros)
    functions = compiled_step_functions() if is_compiled and solver.can_be_compiled else EAGER
    return solve_with_gradients(VectorField(field, z0.device), z0, t1, solver, first_dt, functions, zeros)
