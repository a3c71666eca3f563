"""What methods share that know the solution within a step by its ends alone."""

from collections.abc import Sequence

from torch import Tensor

from pipeline.ode.dense import hermite
from pipeline.ode.field import VectorField


class KnownAtItsEnds:
    """A method whose steps keep their end and the slope at their start, and are computed one by one as they stand."""

    evaluates_end = False
    is_compiled = False
    several = None
    nfe_within = 0

    def evaluate(self, field: VectorField, t: Tensor, z: Tensor) -> Tensor:
        """dz/dt."""
        return field(t, z)

    def complete(
        self,
        field: VectorField,  # noqa: ARG002
        t: Tensor,  # noqa: ARG002
        dt: Tensor,  # noqa: ARG002
        z: Tensor,  # noqa: ARG002
        stages: Sequence[Tensor],
    ) -> Sequence[Tensor]:
        """Both ends and the slopes there."""
        return stages

    def between(self, theta: Tensor, dt: Tensor, z: Tensor, stages: Sequence[Tensor]) -> Tensor:
        """By the cubic through both ends."""
        end, first, last = stages
        return hermite(theta, dt, z, end, first, last)
