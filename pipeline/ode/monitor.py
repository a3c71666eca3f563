"""A field for torchdiffeq that counts its evaluations and ends a solve that cannot succeed.

torchdiffeq reports trouble by bare assertions, which `python -O` removes (a solve whose step size underflowed then
runs for ever), so every check is made here, in the callbacks that it offers.
"""

import sys
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.ode.field import VectorField
from pipeline.ode.solution import SolverFailure, Statistics, Status, state_norm


class MonitoredField(nn.Module):
    """dz/dt = field(t, z), counted; the result has the dtype of `z` whatever precision the field computes in."""

    def __init__(self, field: VectorField, times: Tensor, max_steps: int) -> None:
        super().__init__()
        self.t0, self.t1 = float(times[0]), float(times[-1])
        self.max_steps = max_steps
        self.statistics = Statistics()
        self.direction: Literal["forward", "backward"] = "forward"
        self._attempts = 0
        self._vector_field = field

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        if self.direction == "forward":
            self.statistics.nfe_forward += 1
        else:
            self.statistics.nfe_backward = (self.statistics.nfe_backward or 0) + 1
        return self._vector_field(t, z)

    def finish_forward(self, state: Tensor) -> None:
        """Check z(T) and count what follows as the backward pass."""
        if not torch.isfinite(state).all():
            raise self._failure(Status.DIVERGED, self.t1, 0.0, state)
        self._attempts = 0
        self.direction = "backward"

    def finish_backward(self, gradients: tuple[Tensor | None, ...], _: object) -> None:
        """Check what the adjoint solve came to; torchdiffeq's norm of its state passes over what is no number."""
        whole = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])
        if not torch.isfinite(whole).all():
            raise self._failure(Status.DIVERGED, 0.0, 0.0, whole)

    # torchdiffeq calls these by name.

    def callback_step(self, t: Tensor, z: Tensor, dt: Tensor) -> None:
        """Before every step, accepted later or not."""
        self._attempts += 1
        step = float(dt.detach())
        if not torch.isfinite(z).all():
            raise self._failure(Status.DIVERGED, float(t.detach()), step, z)
        # torchdiffeq turns a non-finite step, which a non-finite derivative leads to, into zero.
        if step == 0:
            raise self._failure(Status.DIVERGED, float(t.detach()), step, z)
        # A step that is lost against the solve is no step.
        if abs(step) <= sys.float_info.epsilon * max(abs(self.t0), abs(self.t1)):
            raise self._failure(Status.UNDERFLOW, float(t.detach()), step, z)
        if self._attempts > self.max_steps:
            raise self._failure(Status.STEP_LIMIT, float(t.detach()), step, z)

    def callback_step_adjoint(self, t: Tensor, z: tuple[Tensor, ...], dt: Tensor) -> None:
        """Before every step of the adjoint solve, whose state is (t's adjoint, z, z's adjoint, …)."""
        self.callback_step(t, torch.stack([z[1], z[2]]), dt)

    def _failure(self, status: Status, t: float, dt: float, z: Tensor) -> SolverFailure:
        self.statistics.status = status
        counted = self.statistics.nfe_forward
        if self.direction == "backward":
            counted = self.statistics.nfe_backward or 0
        return SolverFailure(status, t, dt, counted, state_norm(z), self.direction)


class AdaptiveMonitoredField(MonitoredField):
    """The same for methods that may reject a step."""

    def callback_accept_step(self, t: Tensor, z: Tensor, dt: Tensor) -> None:  # noqa: ARG002
        self.statistics.accepted += 1

    def callback_reject_step(self, t: Tensor, z: Tensor, dt: Tensor) -> None:  # noqa: ARG002
        self.statistics.rejected += 1
