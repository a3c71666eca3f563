"""Other libraries of torch, used as their documentation shows."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.small.fields import Planar
from benchmarks.small.packed import PackedField, pack, unpack
from benchmarks.small.problems import Problem, State
from benchmarks.small.subject import TorchSubject


class Torchdiffeq(TorchSubject):
    """`direct`, or by the adjoint ODE.

    Args:
        written: makes of the field another that computes the same in its way.
    """

    def __init__(
        self, problem: Problem, is_adjoint: bool, written: Callable[[Any], nn.Module] = lambda field: field
    ) -> None:
        super().__init__(problem)
        from torchdiffeq import odeint, odeint_adjoint

        self._odeint = odeint_adjoint if is_adjoint else odeint
        self._written = written(self.field)
        self.called = self._written

    def solve(self) -> State:
        how: dict[str, Any] = {"rtol": self.tolerance, "atol": self.tolerance, "method": "dopri5"}
        return self._odeint(self._written, self.start, self.times, **how)


class Torchdyn(TorchSubject):
    """Its `odeint`; output times between the first and the last are interpolated."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        from torchdyn.numerics import odeint

        self._odeint = odeint
        self._packed = PackedField(self.field, self.start)

    def solve(self) -> State:
        how: dict[str, Any] = {"rtol": self.tolerance, "atol": self.tolerance, "solver": "dopri5"}
        if len(self.times) > 2:
            how["interpolator"] = "4th"
        _, states = self._odeint(self._packed, pack(self.start), self.times, **how)
        return unpack(states, self.start)


class Torchode(TorchSubject):
    """Its steps are chosen for each sample apart, so that a field is given a time for each."""

    def __init__(self, problem: Problem, is_scripted: bool) -> None:
        super().__init__(problem)
        import torchode

        self._torchode = torchode
        field = _PlanarOfSamples(self.field) if isinstance(self.field, Planar) else self.field
        term = torchode.ODETerm(field)
        controller = torchode.IntegralController(atol=self.tolerance, rtol=self.tolerance, term=term)
        solver = torchode.AutoDiffAdjoint(
            torchode.Dopri5(term=term), controller, backprop_through_step_size_control=False
        )
        self._solver = _scripted(solver) if is_scripted else solver
        self._evaluations = 0

    def solve(self) -> State:
        packed = pack(self.start)
        times = self.times.expand(len(packed), -1)
        between = times[:, 1:] if len(self.times) > 2 else None
        problem = self._torchode.InitialValueProblem(packed, times[:, 0], times[:, -1], between)
        solution = self._solver.solve(problem)
        self._evaluations = int(solution.stats["n_f_evals"].max())
        states = torch.cat([packed[None], solution.ys.transpose(0, 1)])
        return unpack(states, self.start)

    def evaluations(self) -> tuple[int, int]:
        self.step()
        return self._evaluations, 0


def _scripted(module: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch: it advises to compile
        return torch.jit.script(module)


class _PlanarOfSamples(nn.Module):
    """The planar units at a time for each sample."""

    def __init__(self, field: Planar) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        slope, change = self.field.slope_and_divergence(t.unsqueeze(1), state[:, :2])
        return torch.cat([slope, -change.unsqueeze(1)], dim=1)
