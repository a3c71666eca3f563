"""What a solve computes its steps with: functions of tensors alone, eager or compiled."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pipeline.device.compilation import compiled
from pipeline.ode.step import Derivative, advance, error_ratio


@dataclass(frozen=True)
class StepFunctions:
    """The pieces of a step.

    Attributes:
        evaluate: dz/dt of a field at t and z.
        advance, error_ratio: as in `pipeline.ode.step`.
    """

    evaluate: Callable[[Derivative, Tensor, Tensor], Tensor]
    advance: Callable[..., tuple[Tensor, Tensor]]
    error_ratio: Callable[..., Tensor]


def _evaluate(derivative: Derivative, t: Tensor, z: Tensor) -> Tensor:
    return derivative(t, z)


EAGER = StepFunctions(_evaluate, advance, error_ratio)


def compiled_step_functions() -> StepFunctions:
    """The same, each compiled as a whole."""
    return StepFunctions(compiled(_evaluate), compiled(advance), compiled(error_ratio))
