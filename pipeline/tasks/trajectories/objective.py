"""The distance between where points come to and where they are to go."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import RegularisationConfig
from pipeline.ode.regularisation import take_penalties, weighted_penalty
from pipeline.tasks.trajectories.data import Points
from pipeline.training import BatchLoss, Objective

Batch = tuple[Tensor, Tensor]


class SmoothL1(Objective):
    """Smooth L1 over batches of points, as Dupont et al. 2019 minimise it."""

    def __init__(self, points: Points, regularisation: RegularisationConfig) -> None:
        self._points, self._regularisation = points, regularisation

    @property
    def device(self) -> torch.device:
        return self._points.device

    @property
    def training_items(self) -> int:
        return len(self._points.x_train)

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        order = torch.randperm(self.training_items, generator=generator).to(self.device)
        for chosen in order.split(batch_size):
            yield self._points.x_train[chosen], self._points.y_train[chosen]

    def validation_batches(self, batch_size: int) -> Iterator[Batch]:
        points = self._points
        yield from zip(points.x_validation.split(batch_size), points.y_validation.split(batch_size), strict=True)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator | None) -> BatchLoss:
        points, wanted = batch
        answers = model(points)
        loss = functional.smooth_l1_loss(answers.float(), wanted)
        penalties = take_penalties(model)
        sums = {name: values.sum() for name, values in penalties.items()}
        outputs = (answers.detach(), wanted) if generator is None else None
        return BatchLoss(loss, len(points), sums, outputs, weighted_penalty(penalties, self._regularisation))

    def split_metrics(self, outputs: Sequence[tuple[Tensor, Tensor]]) -> Mapping[str, float]:
        answers, wanted = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return scores(answers, wanted)


def scores(answers: Tensor, wanted: Tensor) -> dict[str, float]:
    """`rmse`, and `accuracy` where points have labels, -1 or 1, of answers and targets shaped alike."""
    found = {"rmse": float((answers.float() - wanted).square().mean().sqrt())}
    if wanted.dim() == 1 and bool((wanted.abs() == 1).all()):
        found["accuracy"] = float(((answers > 0) == (wanted > 0)).float().mean())
    return found
