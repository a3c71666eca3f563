"""Noticing that the field is computed more coarsely than it is to be solved."""

import warnings

from torch import Tensor

from pipeline.ode.field import VectorField
from pipeline.ode.stepping.method import Method
from pipeline.ode.tolerance import Tolerance
from pipeline.util.user_warnings import OdenetWarning

NOTICEABLE = 0.3
"""Error ratio of rounding alone from which it decides about the steps. Measured with the simple ODE-Net in bfloat16:
dopri5 at 1e-4 reaches 0.2 and costs 1.2 times the evaluations of float32, at 1e-5 0.7 and 1.7 times."""


class RoundingWarning(OdenetWarning):
    """The error estimate shows the rounding of the field rather than the error of the steps."""


def warn_of_rounding(
    field: VectorField, method: Method, tolerance: Tolerance, roughness: float, t: Tensor, z: Tensor
) -> None:
    """Say so where the steps of a solve were so short for its field's rounding and not for the ODE.

    Rounding errors of the stages, taken as independent, enter a step's error estimate with its weights; unlike the
    error of the method they shrink no faster than the step.

    Args:
        roughness: largest size, relative to what the tolerances allow, of what an accepted step changed.
        t, z: where it is tried out whether autocast rounds anything of this field.
    """
    if roughness * method.error_weight * field.rounding > NOTICEABLE and field.rounds_at(t, z):
        warnings.warn(
            f"the field is rounded to {field.number_format}, which reaches the errors that rtol={tolerance.rtol:g} and "
            f"atol={tolerance.atol:g} allow in a step, so that steps shrink for rounding: compute it in float32 "
            "(precision fp32) or use looser tolerances",
            RoundingWarning,
            stacklevel=2,
        )


def rounding_above(field: VectorField, tolerance: Tolerance) -> str:
    """The number format in which a field is computed, where its rounding is above the tolerances; else empty."""
    return field.number_format if field.rounding > tolerance.rtol else ""
