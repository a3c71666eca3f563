"""What the batches of an epoch come to together."""

import torch
from torch import Tensor

from pipeline.training.callback import Metrics
from pipeline.training.objective import BatchLoss


class Totals:
    """Sums over the batches of one pass through a split, on the device: no synchronisation a batch."""

    def __init__(self, device: torch.device) -> None:
        self.items = 0
        self._loss = torch.zeros((), device=device)
        self._sums: dict[str, Tensor] = {}

    def add(self, batch: BatchLoss) -> None:
        """What a batch came to."""
        self.items += batch.items
        self._loss += batch.loss.detach() * batch.items
        for name, value in batch.sums.items():
            self._sums.setdefault(name, torch.zeros_like(self._loss)).add_(value.detach())

    def means(self, split: str) -> Metrics:
        """`split.loss` and the others; waits for the device."""
        sums = {"loss": self._loss, **self._sums}
        return {f"{split}.{name}": float(value) / self.items for name, value in sums.items()}
