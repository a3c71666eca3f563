"""Every way in which a solve is differentiated, and the same accepted steps written out by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.methods import TABLEAUS
from pipeline.methods.tableau import Tableau
from pipeline.ode import Statistics, integrate
from pipeline.ode.solution import Attempt

WHOLE = ("direct", "auto")
"""Modes whose graph is torch's own throughout; `auto` as the small fields here have it."""
DISCRETE = (*WHOLE, "checkpointed", "recursive", "kept", "starved", "sample")
"""Modes that differentiate the accepted steps. `kept` is `auto` for what is not small, whose graph is cut at the steps;
`starved` the same without any memory; `sample` control per sample."""
MODES = (*DISCRETE, "adjoint")
MUST_NAME = ("checkpointed", "recursive", "sample", "adjoint")
"""Modes that refuse a field which reads what an earlier computation gave, unless that is named."""
TIMES = (0.0, 1.3)


def solver_for(mode: str, method: str = "dopri5", **options: Any) -> SolverConfig:
    """At 1e-7, without other options. What `kept` and `starved` have of memory is the fixture's."""
    options = {"method": method, "rtol": 1e-7, "atol": 1e-7, "steps": 20, "max_steps": 100_000, **options}
    if mode == "sample":
        return SolverConfig(control="sample", **options)
    return SolverConfig(gradient={"kept": "auto", "starved": "auto"}.get(mode, mode), **options)


def z_start() -> Tensor:
    """Two samples of unlike size, that want a gradient."""
    return torch.tensor([[0.3, -0.8, 0.5], [2.0, 1.5, -3.0]], dtype=torch.float64, requires_grad=True)


class Weighted(nn.Module):
    """tanh(z weight) cos t, of whatever is its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(random_tensor(3, 3))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(z @ self.weight) * torch.cos(t)


def random_tensor(*shape: int) -> Tensor:
    """The same whenever it is asked for."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def hypernetwork() -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]:
    """A field, the leaf that its weights are computed of, and the weights."""
    leaf = random_tensor(3).requires_grad_()
    weight = torch.outer(leaf, leaf.sin())
    return lambda t, z: torch.tanh(z @ weight) * torch.cos(t), leaf, weight


def by_hand(field: Callable[..., Any], z0: Tensor, statistics: Statistics, method: str = "dopri5") -> Tensor:
    """The state after the accepted steps of a solve, each sample's own where it has its own."""
    tableau = TABLEAUS[method]
    if statistics.nfe_of_samples is None:
        return _steps(field, z0, statistics.attempts, tableau, ())
    column = (1,) * z0.dim()
    pairs = zip(z0.split(1), statistics.samples, strict=True)
    return torch.cat([_steps(field, z, sample.attempts, tableau, column) for z, sample in pairs])


def _steps(
    field: Callable[..., Any], z: Tensor, attempts: Sequence[Attempt], tableau: Tableau, column: tuple[int, ...]
) -> Tensor:
    for attempt in attempts:
        if attempt.accepted:
            stages: list[Tensor] = []
            for c, weights in zip(tableau.c, ((), *tableau.a), strict=True):
                inner = z + sum((attempt.dt * a * k for a, k in zip(weights, stages, strict=True)), torch.zeros_like(z))
                stages.append(field(torch.full(column, attempt.t + c * attempt.dt, dtype=z.dtype), inner))
            z = z + sum((attempt.dt * b * k for b, k in zip(tableau.b, stages, strict=True)), torch.zeros_like(z))
    return z


def loss_of(state: Tensor) -> Tensor:
    """Unlike in every element."""
    return (state.square() * torch.arange(1.0, 1 + state.numel(), dtype=state.dtype).view_as(state)).sum()


def check_gradients(
    mode: str,
    field: Callable[..., Any],
    z0: Tensor,
    tensors: Sequence[Tensor],
    method: str = "dopri5",
    **options: Any,
) -> None:
    """That value and gradients of a solve are those of the same steps by hand; of the adjoint, within tolerances."""
    solution = integrate(field, z0, TIMES, solver_for(mode, method), **options)
    assert isinstance(solution.state, Tensor)
    found = torch.autograd.grad(loss_of(solution.state), tensors, retain_graph=True)
    state = by_hand(field, z0, solution.statistics, method)
    expected = torch.autograd.grad(loss_of(state), tensors, retain_graph=True)
    torch.testing.assert_close(solution.state, state, rtol=1e-10, atol=1e-10)
    within = 1e-4 if mode == "adjoint" else 1e-9
    for gradient, right in zip(found, expected, strict=True):
        assert (gradient - right).norm() <= within * right.norm()
        assert right.norm() > 0
