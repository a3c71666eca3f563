"""What a training minimises, as `fit` sees it: batches, and the loss of a batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one batch and what else is summed over an epoch.

    Attributes:
        loss: mean over the batch's items, a scalar that wants gradients.
        items: how many they are.
        sums: name -> sum over the items of a metric whose mean is wanted, scalars on the device.
        outputs: what metrics of a whole split are computed from, kept in validation alone.
        penalty: what is minimised with the loss in training and is no part of it, a scalar; recorded only by `sums`.
    """

    loss: Tensor
    items: int
    sums: Mapping[str, Tensor] = field(default_factory=dict)
    outputs: Any = None
    penalty: Tensor | None = None

    @property
    def minimised(self) -> Tensor:
        """What a training goes down, a scalar."""
        return self.loss if self.penalty is None else self.loss + self.penalty


class Objective(Protocol):
    """The training and validation splits of an experiment, on one device, and the loss over their batches."""

    @property
    def device(self) -> torch.device:
        """Where the data lie, and the model."""

    @property
    def training_items(self) -> int:
        """How many items are trained on."""

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Any]:
        """The training split in the order that `generator`, of the CPU, draws; the last batch has what remains."""

    def validation_batches(self, batch_size: int) -> Iterator[Any]:
        """The validation split in its order."""

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002 - for those whose loss depends on it
        """Before the batches of each epoch, which counts from 1."""
        return

    def part(self, batch: Any, rows: slice) -> Any:
        """Some items of a training batch, to compute it in parts; as it is here, of one that is a tuple of tensors."""
        return tuple(values[rows] for values in batch)

    def loss(self, model: nn.Module, batch: Any, generator: torch.Generator | None) -> BatchLoss:
        """The loss of one batch.

        Args:
            generator: of the chance that training has, as random crops; None in validation.
        """

    def split_metrics(self, outputs: Sequence[Any]) -> Mapping[str, float]:  # noqa: ARG002 - for those that have some
        """Metrics of the whole validation split, by name, from the `outputs` of its batches; without it none."""
        return {}

    def example(self, batch_size: int) -> Tensor | None:  # noqa: ARG002
        """One whole batch as the model takes it, to compile for; without it the model is not compiled."""
        return None


def together(parts: Sequence[BatchLoss], items: int) -> BatchLoss:
    """What the parts of a batch of so many items add to its loss, without its graph, and to its sums."""
    if len(parts) == 1 and parts[0].items == items:
        return parts[0]
    loss = torch.stack([part.loss.detach() * (part.items / items) for part in parts]).sum()
    sums = {name: torch.stack([part.sums[name].detach() for part in parts]).sum() for name in parts[0].sums}
    return BatchLoss(loss, items, sums)
