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


@dataclass(frozen=True, eq=False)
class Forecast:
    """Of one series: times shape (m,); means and the ends of the bands, shape (m, channels)."""

    name: str
    times: FloatArray
    mean: FloatArray
    bands: dict[float, tuple[FloatArray, FloatArray]]


def forecast(trained: TrainedModel, found: SeriesSet, times: FloatArray, device: torch.device) -> list[Forecast]:
    """Means and bands of observations at `times` of all series of `found`, of which everything is given.

    Each is a batch of its own, with the same draws, so that what is said of one does not depend on the others.

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
        for one in found.series:
            series = Series(
                one.times,
                np.nan_to_num(trained.scaling.scaled(one.values)),
                np.isfinite(one.values),
                start=float(one.times[0]),
                name=one.name,
            )
            batch = collate([series]).to(device)
            said = trained.network.predict(batch, asked, SAMPLES, torch.Generator().manual_seed(0))
            ends = {level: said.band(level) for level in LEVELS}
            bands = {level: (_unscaled(trained, low), _unscaled(trained, high)) for level, (low, high) in ends.items()}
            answers.append(Forecast(one.name, times, _unscaled(trained, said.mean), bands))
    return answers


def _unscaled(trained: TrainedModel, values: torch.Tensor) -> FloatArray:
    """Of the one series of a batch."""
    found: FloatArray = trained.scaling.unscaled(values[0].detach().double().cpu().numpy())
    return found
