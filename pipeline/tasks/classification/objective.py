"""Cross entropy over the batches of a set of images."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import RegularisationConfig
from pipeline.data import Preprocessing, Splits, batches
from pipeline.ode.regularisation import take_penalties, weighted_penalty
from pipeline.plugins import registry
from pipeline.tasks.classification.metric_specs import metric_parts
from pipeline.tasks.plugin_metrics import number_of, own
from pipeline.training import BatchLoss, Objective
from pipeline.util.errors import InvalidInput

Batch = tuple[Tensor, Tensor]
"""Images as the network takes them, and their classes."""


class CrossEntropy(Objective):
    """The `pipeline.training.Objective` of image classification, with the metrics that are registered."""

    def __init__(
        self,
        splits: Splits,
        preprocessing: Preprocessing,
        regularisation: RegularisationConfig = RegularisationConfig(),  # noqa: B008 - frozen
        label_smoothing: float = 0.0,
    ) -> None:
        self._splits, self._preprocessing, self._regularisation = splits, preprocessing, regularisation
        self._label_smoothing = label_smoothing
        metrics = metric_parts()
        self._per_item = {part.name: part for part in metrics if part.facts["per"] == "item"}
        self._per_split = {part.name: part for part in metrics if part.facts["per"] == "split"}

    @property
    def device(self) -> torch.device:
        return self._splits.train.pixels.device

    @property
    def training_items(self) -> int:
        return len(self._splits.train)

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        # Images are changed at random before a batch is taken apart, so that they do not depend on its parts.
        for pixels, labels in batches(self._splits.train, batch_size, generator):
            yield self._preprocessing.for_training(pixels, generator), labels

    def validation_batches(self, batch_size: int) -> Iterator[Batch]:
        for pixels, labels in batches(self._splits.validation, batch_size):
            yield self._preprocessing.for_evaluation(pixels), labels

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator | None) -> BatchLoss:
        images, labels = batch
        scores = self._scores(model, images).float()  # what metrics see, too, as in the test
        loss = functional.cross_entropy(scores, labels)
        answered = scores.detach()
        sums = {name: item_values(part, answered, labels).sum() for name, part in self._per_item.items()}
        penalties = take_penalties(model)
        sums |= {name: values.sum() for name, values in penalties.items()}
        keeps = generator is None and self._per_split
        outputs = (answered, labels) if keeps else None
        penalty = weighted_penalty(penalties, self._regularisation)
        if generator is not None and self._label_smoothing:
            smoothing = smoothing_penalty(scores, loss, self._label_smoothing)
            penalty = smoothing if penalty is None else penalty + smoothing
        return BatchLoss(loss, len(labels), sums, outputs, penalty)

    def _scores(self, model: nn.Module, images: Tensor) -> Tensor:
        """Raises InvalidInput: a plug-in's model gives something else than for the one image that it was tried with."""
        scores, wanted = model(images), (len(images), len(self._splits.classes))
        if isinstance(scores, Tensor) and scores.shape == wanted:
            return scores
        given = tuple(scores.shape) if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        mode = "while it is trained" if model.training else "in evaluation"
        raise InvalidInput(
            f"the model gives {given} for {len(images)} images {mode}: return {wanted}, a score for each class"
        )

    def split_metrics(self, outputs: Sequence[tuple[Tensor, Tensor]]) -> Mapping[str, float]:
        if not self._per_split:
            return {}
        return whole_split_metrics(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))

    def example(self, batch_size: int) -> Tensor:
        return self._preprocessing.for_evaluation(self._splits.train.pixels[:batch_size])


def smoothing_penalty(scores: Tensor, loss: Tensor, smoothing: float) -> Tensor:
    """What label smoothing adds to the cross entropy `loss` of scores (n, classes), with which it is the smoothed one.

    Source: Szegedy et al. 2016, section 7.
    """
    over_all_classes = -functional.log_softmax(scores, dim=1).mean()
    return smoothing * (over_all_classes - loss)


def whole_split_metrics(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """The metrics that are of a split as a whole, of scores (n, classes) and labels (n,).

    Raises:
        PluginError: one of them fails, or gives no number.
    """
    return {part.name: number_of(part, scores, labels) for part in metric_parts() if part.facts["per"] == "split"}


def item_metrics(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """The means of the metrics that have a value for every image.

    Raises:
        PluginError: as for `whole_split_metrics`.
    """
    parts = [part for part in metric_parts() if part.facts["per"] == "item"]
    return {part.name: float(item_values(part, scores, labels).double().mean()) for part in parts}


def item_values(part: registry.Part, scores: Tensor, labels: Tensor) -> Tensor:
    """What a metric gives for every item, shape (n,).

    Raises:
        PluginError: it gives something else.
    """
    values = part.build(own(scores), own(labels))
    if not isinstance(values, Tensor) or values.shape != labels.shape:
        given = tuple(values.shape) if isinstance(values, Tensor) else f"a {type(values).__name__}"
        raise registry.PluginError(
            f"{part.where}: the metric {part.name} must give a value for each of {len(labels)} items, of shape "
            f'({len(labels)},), and not {given}: correct it, or leave out per="item"'
        )
    return values
