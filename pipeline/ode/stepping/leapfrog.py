"""The leapfrog, a symplectic method of equal steps for a pair of parts: positions and momenta.

Source: Hairer, Lubich & Wanner, *Geometric Numerical Integration*, section I.3 (Störmer–Verlet, kick–drift–kick).
"""

import torch
from torch import Tensor

from pipeline.ode.field import VectorField
from pipeline.ode.stepping.cubic import KnownAtItsEnds
from pipeline.ode.stepping.method import Step
from pipeline.ode.tolerance import Tolerance
from pipeline.util.errors import InvalidInput


class Leapfrog(KnownAtItsEnds):
    """Half a kick, a drift, half a kick, for d(q, p)/dt = (v(t, p), force(t, q)): energy drifts in no direction."""

    order = 2
    error_order = None
    error_weight = 0.0
    nfe = 3

    def advance(
        self,
        field: VectorField,
        t: Tensor,
        dt: Tensor,
        z: Tensor,
        first: Tensor,
        tolerance: Tolerance,  # noqa: ARG002 - nothing is solved within the step
        keeps_stages: bool = False,  # noqa: ARG002 - it takes none
    ) -> Step:
        """Two evaluations behind `first`, of each of which one part is used."""
        half = torch.add(t, dt, alpha=0.5)
        q, p = _pair(field, z)
        _, kick = _pair(field, first)
        p = torch.addcmul(p, kick, dt, value=0.5)
        drift, _ = _pair(field, field(half, torch.cat([q, p], dim=-1)))
        q = torch.addcmul(q, drift, dt)
        _, kick = _pair(field, field(t + dt, torch.cat([q, p], dim=-1)))
        end = torch.cat([q, torch.addcmul(p, kick, dt, value=0.5)], dim=-1)
        return Step(end, (end * 0).detach(), [end, first], nfe=2)

    def error_ratio(self, step: Step, dt: Tensor, z: Tensor, last: Tensor | None, tolerance: Tolerance) -> Tensor:  # noqa: ARG002
        """It is not estimated: 0, or no number."""
        return tolerance.norm(step.error)


def _pair(field: VectorField, packed: Tensor) -> tuple[Tensor, Tensor]:
    sizes = field.layout.sizes
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        found = "one part" if len(sizes) == 1 else f"{len(sizes)} parts"
        if len(sizes) == 2:
            found = f"parts of {sizes[0]} and {sizes[1]} numbers"
        raise InvalidInput(f"leapfrog needs a state of two parts of one size, positions and momenta, not {found}")
    q, p = packed.split(sizes, dim=-1)
    return q, p
