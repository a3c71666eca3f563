"""How far a flow's likelihoods can be believed: what each has of the solver."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.config import SolverConfig
from pipeline.flows.flow import Flow
from pipeline.flows.objectives import Density
from pipeline.methods import FIXED_STEP_METHODS
from pipeline.ode.inference_mode import ordinary, outside_inference
from pipeline.util.errors import InvalidInput

ROWS = 10_000
"""Of a grid that are evaluated at once."""
GRIDS = (50, 100, 200, 400, 800)
"""Cells along each of two axes, the square of them along one; the next is tried while the integral changes by more than
`RESOLVED`."""
RESOLVED = 1e-4
SEEN = 100
"""The grid up to which all of its cells are looked into."""
NEGLIGIBLE = 1e-5
"""Share of the integral in cells that finer grids do not look into."""
HUNDREDTH = 100.0
SMALLEST = 1e-12
"""Tolerance that float64 still shows."""
EXACT = SolverConfig(method="dopri5", rtol=1e-8, atol=1e-8, max_steps=100_000)
"""What a solve of equal steps is compared with."""


@dataclass(frozen=True)
class FlowCheck:
    """
    Attributes:
        nll: mean negative log-likelihood of the points, in nats.
        nll_shift: what is to be added to it for what it is at a hundredth of the tolerances and in float64: positive
            where the solve flatters. With equal steps, for what it is with dopri5 at 1e-8.
        round_trip: largest difference of a coordinate between points and what they come to there and back.
        integral: of the density over a grid, in one and two dimensions; None in more.
        integral_change: against a grid half as fine: what the grid still leaves open.
        evaluations: of the field, for the log-densities, at the flow's own tolerances.
    """

    nll: float
    nll_shift: float
    round_trip: float
    integral: float | None
    integral_change: float | None
    evaluations: int


@torch.no_grad()
def check(flow: Flow, x: Tensor, seed: int = 0) -> FlowCheck:
    """Check a flow's numbers on some points, shape (n, D), as it evaluates and not as it trains.

    Args:
        seed: of the probes, where the divergence is estimated; both tolerances have the same.
    """
    if not len(x):
        raise InvalidInput("a flow is checked on points, and there are none: give one at least")
    with outside_inference(), _evaluating(flow):
        x = ordinary(x)
        tight = copy.deepcopy(flow).double().with_solver(tightened(flow.solver))
        nll = _nll(flow, x, seed)
        evaluations = flow.statistics.nfe_forward
        shift = _nll(tight, x.double(), seed) - nll
        mass = integral(flow, x)
        value, change = (None, None) if mass is None else mass
        return FlowCheck(nll, shift, round_trip(flow, x), value, change, evaluations)


@contextmanager
def _evaluating(flow: Flow) -> Iterator[None]:
    was_training = flow.training
    flow.eval()
    try:
        yield
    finally:
        flow.train(was_training)


def _nll(flow: Flow, x: Tensor, seed: int) -> float:
    return -float(flow.log_prob(x, generator=torch.Generator().manual_seed(seed)).value.double().mean())


def tightened(solver: SolverConfig) -> SolverConfig:
    """At a hundredth of the tolerances, with as many steps as that may take; for equal steps, an adaptive method."""
    if solver.method not in FIXED_STEP_METHODS:
        rtol, atol = (max(tolerance / HUNDREDTH, SMALLEST) for tolerance in (solver.rtol, solver.atol))
        return replace(solver, rtol=rtol, atol=atol, max_steps=100_000)
    return EXACT


@torch.no_grad()
def round_trip(flow: Flow, x: Tensor) -> float:
    """Largest difference of a coordinate between points and where they come to by `inverse` and `forward`."""
    return float((flow(flow.inverse(x)) - x).abs().max())


class Integral(NamedTuple):
    """
    Attributes:
        value: of a density over all its space.
        change: against a grid half as fine: what the grid still leaves open.
    """

    value: float
    change: float


@torch.no_grad()
def integral(density: Density, x: Tensor, seed: int = 0) -> Integral | None:
    """Over a grid around the points and the density's own samples, as fine as it has to be; None above two dimensions.

    Args:
        x: shape (n, D).
    """
    if x.shape[1] > 2:
        return None
    found = torch.cat([x, density.sample(2000, seed).to(x)])
    found = found[found.isfinite().all(1)]
    low, high = found.amin(0), found.amax(0)
    margin = 0.5 * (high - low)

    def log_density(rows: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)  # of the probes, where the trace is estimated
        return torch.cat([density.log_prob(some, generator=generator).value for some in rows.split(ROWS)])

    return integral_over(log_density, low - margin, high + margin)


def integral_over(log_density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Integral:
    """Of the exponential of a function over a box in one or two dimensions, by the midpoints of ever finer cells.

    Cells that hold next to nothing, as most of those around a density do, are divided no further than `SEEN`.
    """
    heights = torch.empty(0, dtype=torch.float64)
    last = change = inf
    for cells in GRIDS:
        count = cells if len(low) == 2 else cells**2
        fractions = (torch.arange(count, dtype=low.dtype, device=low.device) + 0.5) / count
        axes = [start + fractions * (end - start) for start, end in zip(low, high, strict=True)]
        heights, is_looked_into = _divided(heights, [count] * len(low))
        midpoints = torch.cartesian_prod(*axes).reshape(-1, len(low))[is_looked_into.flatten().to(low.device)]
        heights[is_looked_into] = log_density(midpoints).double().exp().cpu()
        finer = float(heights.sum() * ((high - low) / count).double().prod())
        change, last = finer - last, finer
        if abs(change) < RESOLVED:
            break
    return Integral(last, change)


def _divided(heights: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The heights of larger cells for the smaller ones in them, and which of these are to be looked into."""
    if max(shape) <= SEEN ** (3 - len(shape)):
        return torch.empty(*shape, dtype=torch.float64), torch.ones(*shape, dtype=torch.bool)
    ordered, places = heights.flatten().sort()
    share = ordered.cumsum(0) / ordered.sum()
    holds = torch.empty(heights.numel(), dtype=torch.float64)
    holds[places] = (~(share <= NEGLIGIBLE)).double()  # a share that is no number is not negligible
    around = {1: functional.max_pool1d, 2: functional.max_pool2d}[len(shape)]
    holds = around(holds.view(1, *heights.shape), 3, stride=1, padding=1)[0]  # those beside them, too
    for axis, count in enumerate(shape):
        factor = count // heights.shape[axis]
        heights, holds = (values.repeat_interleave(factor, axis) for values in (heights, holds))
    return heights, holds > 0


@torch.no_grad()
def estimate_deviation(flow: Flow, x: Tensor, draws: int = 8, seed: int = 0) -> float:
    """Root mean square over the points of the standard deviation, in nats, that probes give a log-density.

    0 where the divergence is exact in evaluation.
    """
    with _evaluating(flow):
        if not flow.is_estimated:
            return 0.0
        generator = torch.Generator().manual_seed(seed)
        values = torch.stack([flow.log_prob(x, generator=generator).value for _ in range(draws)])
    return float(values.double().var(0).mean().sqrt())
