"""What a model of series minimises: the negative bound, or the negative log likelihood."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.series import Forecaster, LatentODE, SeriesBatch, rmse
from pipeline.tasks.plugin_metrics import number_of
from pipeline.tasks.series.config import SeriesConfig
from pipeline.tasks.series.metric_specs import metric_parts
from pipeline.tasks.series.splits import SeriesData, Split
from pipeline.training import BatchLoss, Objective

VALIDATION_SAMPLES = 8
"""Of the posterior or of futures, for the predictions of the validation split."""
VALIDATION_SEED = 0
Answer = tuple[Tensor, Tensor, Tensor]
"""Predictions, values and the mask of those that count, shape (b, n, D) each."""


class NegativeBound(Objective):
    """The objective of models of series; the loss is a mean over the series, in nats."""

    def __init__(self, data: SeriesData, config: SeriesConfig) -> None:
        self._data, self._config = data, config
        self._epoch = 0

    @property
    def device(self) -> torch.device:
        return self._data.device

    @property
    def training_items(self) -> int:
        return len(self._data.train)

    @property
    def kl_weight(self) -> float:
        """Of this epoch's training: it rises evenly from 0 in the first over `kl_epochs`."""
        rise = self._config.kl_epochs
        return self._config.kl_weight * (min(1.0, (self._epoch - 1) / rise) if rise else 1.0)

    def begin_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[SeriesBatch]:
        order = torch.randperm(self.training_items, generator=generator).to(self.device)
        return (self._data.train.batch.chosen(rows) for rows in order.split(batch_size))

    def validation_batches(self, batch_size: int) -> Iterator[SeriesBatch]:
        return (batch.batch for batch in batches(self._data.validation, batch_size))

    def loss(self, model: nn.Module, batch: SeriesBatch, generator: torch.Generator | None) -> BatchLoss:
        """In validation the noise is the same every time, and the weight of the KL is 1."""
        chance = generator or torch.Generator().manual_seed(VALIDATION_SEED)
        label_weight, sums = self._config.label_weight, {}
        if isinstance(model, LatentODE):
            weight = 1.0 if generator is None else self.kl_weight
            bound = model.elbo(batch, self._config.samples, weight, chance, label_weight=label_weight)
            objective, sums = bound.objective, {"kl": bound.kl.sum()}
        else:
            assert isinstance(model, Forecaster)
            objective = model.log_likelihood(batch, of_wanted=True, label_weight=label_weight).objective
        outputs = self._answer(model, batch, chance) if generator is None else None
        return BatchLoss(-objective.mean(), len(batch), sums, outputs)

    def split_metrics(self, outputs: Sequence[Answer]) -> Mapping[str, float]:
        predicted, values, mask = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        found = {"rmse": float(rmse(predicted, values, mask))}
        return found | {part.name: number_of(part, predicted[mask], values[mask]) for part in metric_parts()}

    def _answer(self, model: nn.Module, batch: SeriesBatch, chance: torch.Generator) -> Answer:
        assert isinstance(model, LatentODE | Forecaster)
        return model.predict(batch, batch.times, VALIDATION_SAMPLES, chance).mean, batch.values, batch.mask


def batches(split: Split, batch_size: int) -> Iterator[Split]:
    """The split in its order."""
    rows = torch.arange(len(split), device=split.batch.values.device)
    return (split.chosen(some) for some in rows.split(batch_size))
