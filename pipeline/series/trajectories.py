"""Latent states at the times of many series, by one solve over the union of those times."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import Statistics, StepGraphs, integrate
from pipeline.util.errors import InvalidInput

TIME_BITS = {torch.float32: 21, torch.float64: 48}
"""Times that differ by less than the span over two to this power are one: the solve could hardly tell them apart."""


@dataclass(frozen=True)
class Union:
    """The times of all series of a batch, each once.

    Attributes:
        before, after: of the start, from it on away, without it; shape (u,), float64.
        index: of each of the times asked for, its place in (before…, start, after…), shape (b, n); None where every
            series has all of these times in their order.
    """

    before: Tensor
    after: Tensor
    index: Tensor | None


def union(times: Tensor, dtype: torch.dtype) -> Union:
    """Of times from the start of each series.

    Args:
        times: shape (b, n), in any order.
        dtype: of the states.
    """
    if dtype not in TIME_BITS:
        raise InvalidInput(f"latent ODEs are solved in float32 or float64, not {dtype}: convert the model")
    unit = float(times.abs().amax()) / 2 ** TIME_BITS[dtype] or 1.0
    # What was subtracted from different starts differs by rounding where the times are of one grid.
    rounded = torch.round(times / unit)
    are_equal = bool((rounded == rounded[:1]).all())
    grid, inverse = torch.unique(rounded[:1] if are_equal else rounded, return_inverse=True)
    before, after = grid[grid < 0].flip(0), grid[grid > 0]
    has_start = len(before) + len(after) < len(grid)
    place = inverse + (inverse >= len(before)).long() * (not has_start)
    # States come back as those before the start, backwards, the start, and those after it.
    place = torch.where(place < len(before), len(before) - 1 - place, place)
    everywhere = torch.arange(len(before) + 1 + len(after), device=times.device)
    is_shared = place.shape[1:] == everywhere.shape and bool((place == everywhere).all())
    return Union(before * unit, after * unit, None if is_shared else place.expand(len(times), -1))


def states_at(
    field: nn.Module,
    z0: Tensor,
    times: Union,
    solver: SolverConfig,
    *,
    is_compiled: bool = False,
    graphs: StepGraphs | None = None,
) -> tuple[Tensor, Statistics]:
    """The states of all series at the times asked for.

    Args:
        z0: at the start of each, shape (samples, b, latent).
        times: of the b series.
        is_compiled, graphs: see `pipeline.ode.integrate`.

    Returns:
        Shape (samples, b, n, latent), and the statistics of the solve, of both where there are times before the start.
    """
    flat = z0.flatten(0, 1)
    statistics = Statistics()
    pieces = []
    for moments, has_start in ((times.before, False), (times.after, True)):
        if not len(moments):
            pieces += [flat.unsqueeze(0)] if has_start else []
            continue
        solution = integrate(
            field, flat, [0.0, *moments.tolist()], solver, is_compiled=is_compiled, first_dt=None, graphs=graphs
        )
        states = solution.states
        assert isinstance(states, Tensor)
        pieces.append(states if has_start else states[1:])
        statistics = _added(statistics, solution.statistics)
    union_states = torch.cat(pieces).unflatten(1, z0.shape[:2])
    if times.index is None:
        return union_states.permute(1, 2, 0, 3), statistics
    series = torch.arange(z0.shape[1], device=z0.device)[:, None]
    return union_states[times.index, :, series].permute(2, 0, 1, 3), statistics


def _added(one: Statistics, other: Statistics) -> Statistics:
    """Of two solves; the second's own object where the first made no evaluation, as its backward counts grow later."""
    if not one.nfe_forward:
        return other
    one.nfe_forward += other.nfe_forward
    one.accepted += other.accepted
    one.rejected += other.rejected
    one.trials += other.trials
    return one
