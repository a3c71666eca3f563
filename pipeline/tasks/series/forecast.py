"""What a trained model says of a user's own series, in the unit of the data."""

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.data.series_set import SeriesSet
from pipeline.device.precision import numerics
from pipeline.series import Series, collate
from pipeline.tasks.series.task import TrainedModel
from pipeline.util.array_types import FloatArray
from pipeline.util.errors import InvalidInput

SAMPLES = 100
LEVELS = (0.5, 0.9)
MOST_SERIES = 64
"""In a batch."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """Of one series: times shape (m,); means and the ends of the bands, shape (m, channels)."""

    name: str
    times: FloatArray
    mean: FloatArray
    bands: dict[float, tuple[FloatArray, FloatArray]]


def forecast(trained: TrainedModel, found: SeriesSet, times: FloatArray, device: torch.device) -> list[Forecast]:
    """Means and bands of observations at `times` of all series of `found`, of which everything is given.

    Raises:
        InvalidInput: the series have other channels than those of the training.
        SolverFailure: a solve could not reach a time.
    """
    if len(found.channels) != len(trained.channels):
        raise InvalidInput(
            f"the series have {len(found.channels)} channels, but the model knows {len(trained.channels)} "
            f"({', '.join(trained.channels)}): give as many"
        )
    found = found.with_channels("the file of the series", trained.channels)
    answers: list[Forecast] = []
    asked = torch.from_numpy(np.asarray(times, np.float64)).to(device)
    with numerics(trained.config.training, device):
        for first in range(0, len(found), MOST_SERIES):
            some = found.series[first : first + MOST_SERIES]
            series = [
                Series(
                    one.times,
                    np.nan_to_num(trained.scaling.scaled(one.values)),
                    np.isfinite(one.values),
                    start=float(one.times[0]),
                    name=one.name,
                )
                for one in some
            ]
            batch = collate(series).to(device)
            said = trained.network.predict(batch, asked, SAMPLES, torch.Generator().manual_seed(first))
            bands = {level: said.band(level) for level in LEVELS}
            for k, one in enumerate(some):
                low_high = {level: (low[k], high[k]) for level, (low, high) in bands.items()}
                answers.append(
                    Forecast(
                        one.name,
                        times,
                        _unscaled(trained, said.mean[k]),
                        {level: (_unscaled(trained, a), _unscaled(trained, b)) for level, (a, b) in low_high.items()},
                    )
                )
    return answers


def _unscaled(trained: TrainedModel, values: torch.Tensor) -> FloatArray:
    found: FloatArray = trained.scaling.unscaled(values.detach().double().cpu().numpy())
    return found
