"""When to stop, and which weights to keep."""

from dataclasses import dataclass
from math import inf


@dataclass
class EarlyStopping:
    """Watches the validation loss; `patience` epochs without a lower one are enough, None means never."""

    patience: int | None
    best_loss: float = inf
    best_epoch: int = 0
    epochs_since: int = 0

    def is_best(self, epoch: int, loss: float) -> bool:
        """Take note of an epoch's loss; whether it is the lowest so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self.epochs_since = loss, epoch, 0
            return True
        self.epochs_since += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.epochs_since >= self.patience
