"""What figures show of a trained model: a few series, and what becomes of its answers with fewer observations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.series import Forecaster, LatentODE
from pipeline.tasks.series.evaluation import thinned
from pipeline.tasks.series.splits import Split
from pipeline.util.array_types import FloatArray

Model = LatentODE | Forecaster
EXAMPLES = 6
POINTS = 200
"""Times of a drawn trajectory of a latent ODE; a forecaster is asked for the times of the series themselves."""
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
MOST_SERIES = 100
"""Of the test split, that shares are tried on."""
SAMPLES = 100
VARIED = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Values, in sd of the prior, of the dimension of z0 that is varied."""
MOST_VARIED = 4


@dataclass(frozen=True, eq=False)
class Example:
    """One series and what is said of it: times shape (m,), the others (m, channels)."""

    name: str
    times: FloatArray
    mean: FloatArray
    bands: dict[float, tuple[FloatArray, FloatArray]]
    known_times: FloatArray
    values: FloatArray
    is_observed: Any
    is_known: Any
    truth: FloatArray | None
    window_end: float


@dataclass(frozen=True)
class Thinned:
    """Answers from a share of what was observed, over the same series."""

    share: float
    observed: float
    """Mean number of times with something observed."""
    rmse: float
    entropy: float | None
    """Of the posterior, mean in nats; None where there is none."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What figures show, in the scaled unit.

    Attributes:
        varied: of each dimension of z0, the decoded trajectories, shape (dimensions, len(VARIED), m, channels); None
            without a latent state.
        varied_times: shape (m,), from the start of the series.
    """

    examples: Sequence[Example]
    thinned: Sequence[Thinned]
    varied: FloatArray | None
    varied_times: FloatArray | None


@torch.no_grad()
def show(model: Model, split: Split) -> Shown:
    """Of the first series of the split; the chance in it is the same every time."""
    model.eval()
    few = split.chosen(torch.arange(min(EXAMPLES, len(split)), device=split.batch.values.device))
    some = split.chosen(torch.arange(min(MOST_SERIES, len(split)), device=split.batch.values.device))
    varied, times = _varied(model, few) if isinstance(model, LatentODE) else (None, None)
    return Shown(_examples(model, few), [_thinned(model, some, share) for share in SHARES], varied, times)


def _examples(model: Model, split: Split) -> list[Example]:
    batch = split.batch
    times = batch.times
    if isinstance(model, LatentODE):
        whole = (batch.times.amax(1) - batch.starts)[:, None]
        times = batch.starts[:, None] + whole * torch.linspace(0, 1, POINTS, device=whole.device).to(whole)
    prediction = model.predict(batch, times, SAMPLES, torch.Generator().manual_seed(0))
    bands = {level: prediction.band(level) for level in (0.5, 0.9)}
    found = []
    for k, name in enumerate(split.names):
        rows = slice(0, int(batch.lengths[k]))
        own = slice(None) if isinstance(model, LatentODE) else rows
        inside = split.is_inside[k, rows]
        found.append(
            Example(
                name,
                _array(times[k, own]),
                _array(prediction.mean[k, own]),
                {level: (_array(low[k, own]), _array(high[k, own])) for level, (low, high) in bands.items()},
                _array(batch.times[k, rows]),
                _array(batch.values[k, rows]),
                _array(batch.observed[k, rows]),
                _array(batch.mask[k, rows]),
                None if batch.truth is None else _array(batch.truth[k, rows]),
                float(batch.times[k, rows][inside][-1]),
            )
        )
    return found


def _thinned(model: Model, split: Split, share: float) -> Thinned:
    fewer = thinned(split, share).batch
    prediction = model.predict(fewer, fewer.times, 10, torch.Generator().manual_seed(0))
    inside = fewer.mask & split.is_inside[:, :, None]
    error = (prediction.mean - fewer.values)[inside].square().mean().sqrt()
    entropy = float(model.posterior(fewer).entropy().mean()) if isinstance(model, LatentODE) else None
    return Thinned(share, float(fewer.observed.any(-1).sum(1).double().mean()), float(error), entropy)


def _varied(model: LatentODE, split: Split) -> tuple[FloatArray, FloatArray]:
    mean = model.posterior(split.batch).mean[:1]
    dimensions = min(mean.shape[1], MOST_VARIED)
    z0 = mean.repeat(dimensions * len(VARIED), 1).view(dimensions, len(VARIED), -1)
    for k in range(dimensions):
        z0[k, :, k] = mean.new_tensor(VARIED)
    longest = float(split.batch.times[0].amax() - split.batch.starts[0])
    times = torch.linspace(0, longest, POINTS, dtype=torch.float64, device=mean.device)
    flat = z0.flatten(0, 1)[None]
    states = model.trajectory(flat, times.expand(flat.shape[1], -1))
    return _array(model.decoder(states)[0].unflatten(0, (dimensions, len(VARIED)))), _array(times)


def _array(tensor: torch.Tensor) -> Any:
    return tensor.detach().cpu().numpy()
