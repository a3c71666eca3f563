"""The same ODE block, solved by other libraries as their documentation shows."""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.ode import ODEBlock


class TorchdiffeqBlock(nn.Module):
    """torchdiffeq: `adjoint`, `seminorm` (the adjoint with it) or `direct`."""

    def __init__(self, block: ODEBlock, gradient: str) -> None:
        super().__init__()
        self.field, self.final_time, self.tolerance = block.field, block.final_time, block.solver.rtol
        self.gradient = gradient

    def forward(self, z: Tensor) -> Tensor:
        from torchdiffeq import odeint, odeint_adjoint

        times = torch.tensor([0.0, self.final_time], device=z.device)
        how: dict[str, Any] = {"rtol": self.tolerance, "atol": self.tolerance, "method": "dopri5"}
        if self.gradient == "direct":
            states = odeint(self.field, z, times, **how)
        else:
            norm = {"adjoint_options": {"norm": "seminorm"}} if self.gradient == "seminorm" else {}
            states = odeint_adjoint(self.field, z, times, **how, **norm)
        return states[-1]


class TorchodeBlock(nn.Module):
    """torchode, whose steps are chosen for each sample apart."""

    def __init__(self, block: ODEBlock) -> None:
        super().__init__()
        self.field, self.final_time, self.tolerance = block.field, block.final_time, block.solver.rtol

    def forward(self, z: Tensor) -> Tensor:
        import torchode

        def field(t: Tensor, flat: Tensor) -> Tensor:
            return self.field(t[0], flat.view_as(z)).flatten(1)  # our fields do not see t, or see one t for all

        term = torchode.ODETerm(field)
        method = torchode.Dopri5(term=term)
        controller = torchode.IntegralController(atol=self.tolerance, rtol=self.tolerance, term=term)
        solver = torchode.AutoDiffAdjoint(method, controller)
        start, end = z.new_zeros(len(z)), z.new_full((len(z),), self.final_time)
        problem = torchode.InitialValueProblem(y0=z.flatten(1), t_start=start, t_end=end, t_eval=end[:, None])
        return solver.solve(problem).ys[:, -1].view_as(z)


class TorchdynBlock(nn.Module):
    """torchdyn with sensitivity `autograd` or `adjoint`."""

    def __init__(self, block: ODEBlock, sensitivity: str) -> None:
        super().__init__()
        from torchdyn.core import ODEProblem

        self.field, self.final_time, tolerance = block.field, block.final_time, block.solver.rtol
        self.problem = ODEProblem(
            _Field(block.field),
            solver="dopri5",
            atol=tolerance,
            rtol=tolerance,
            atol_adjoint=tolerance,
            rtol_adjoint=tolerance,
            sensitivity=sensitivity,
        )

    def forward(self, z: Tensor) -> Tensor:
        _, states = self.problem(z, torch.tensor([0.0, self.final_time], device=z.device))
        return states[-1]


class _Field(nn.Module):
    """A field with the arguments that torchdyn passes."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x: Tensor, args: object = None) -> Tensor:  # noqa: ARG002
        return self.field(t, x)
