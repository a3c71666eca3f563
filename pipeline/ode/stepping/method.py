"""A method of integration is an object that computes one step; another is another file."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from pipeline.ode.field import VectorField
from pipeline.ode.stepping.several import SeveralSteps
from pipeline.ode.tolerance import Tolerance


class Step(NamedTuple):
    """One step that was tried.

    Attributes:
        end: the state that it reached.
        error: without gradients, the estimated error as far as it is known yet; not finite where anything within the
            step is not.
        stages: the slopes that the solution between its ends is made of, as far as they are known yet.
        nfe: evaluations of the field that it took.
        converged: False where equations of the step were not solved.
    """

    end: Tensor
    error: Tensor
    stages: Sequence[Tensor]
    nfe: int
    converged: bool = True


class Method(Protocol):
    """How a step is computed.

    Attributes:
        order: of the solution that it carries on.
        error_order: of the embedded solution; None for a method of equal steps, which does not estimate its error.
        error_weight: of errors of the slopes in the estimated error, taken as independent.
        nfe: evaluations of a step at most.
        nfe_within: further ones where the solution between its ends is wanted.
        is_compiled: its pieces are compiled.
        several: takes several steps in one call; None where it does not.
        evaluates_end: its error needs dz/dt at the end of the step, which is the first stage of the next.
    """

    @property
    def order(self) -> int: ...

    @property
    def error_order(self) -> int | None: ...

    @property
    def error_weight(self) -> float: ...

    @property
    def nfe(self) -> int: ...

    @property
    def nfe_within(self) -> int: ...

    @property
    def is_compiled(self) -> bool: ...

    @property
    def several(self) -> SeveralSteps | None: ...

    @property
    def evaluates_end(self) -> bool: ...

    def evaluate(self, field: VectorField, t: Tensor, z: Tensor) -> Tensor:
        """dz/dt."""

    def advance(
        self,
        field: VectorField,
        t: Tensor,
        dt: Tensor,
        z: Tensor,
        first: Tensor,
        tolerance: Tolerance,
        keeps_stages: bool = False,
    ) -> Step:
        """A step of `dt` from `z` at `t`.

        Args:
            t, dt: of the number format of `z`, scalars or, for samples with steps of their own, (batch, 1, …, 1).
            first: dz/dt at (t, z).
            tolerance: for what is solved within the step.
            keeps_stages: the solution is wanted between the ends too.
        """

    def error_ratio(self, step: Step, dt: Tensor, z: Tensor, last: Tensor | None, tolerance: Tolerance) -> Tensor:
        """Size of a step's error, 1 being what the tolerances allow, shape (1,) or (batch,); no number where anything
        is not finite.

        Args:
            last: dz/dt at the end, for a method that `evaluates_end`.
        """

    def complete(
        self, field: VectorField, t: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """All that the solution within a step is made of, by `nfe_within` further evaluations.

        Args:
            stages: of the step, and dz/dt at its end behind them.
        """

    def between(self, theta: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """The states at fractions `theta` of a step, shape (len(theta), *z.shape).

        Args:
            theta: shape (n,), or with steps of their own (n, batch).
            stages: as `complete` returned them.
        """
