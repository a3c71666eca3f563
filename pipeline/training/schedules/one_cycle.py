"""One rise of the learning rate, and one fall."""

import math

from torch import optim
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline import plugins

FIRST, LAST = 1 / 25, 1 / 250_000
"""Of the highest rate."""
RISING = 0.3
"""Share of the steps."""


@plugins.schedule("one_cycle")
def one_cycle(optimiser: optim.Optimizer, max_epochs: int, *, steps_per_epoch: int) -> LRScheduler:
    """From a 25th up to the full rate over three tenths of the steps, then down to next to nothing, by half cosines.

    Source: Smith & Topin 2018, *Super-convergence*; the numbers are those of torch's `OneCycleLR`. The momentum stays.
    """
    steps = max_epochs * steps_per_epoch
    highest, last = max(RISING * steps - 1, 0.0), max(steps - 1, 1)

    def share(step: int) -> float:
        if step < highest:
            return _between(FIRST, 1.0, step / highest)
        return _between(1.0, LAST, min((step - highest) / (last - highest), 1.0))

    return LambdaLR(optimiser, share)


def _between(start: float, end: float, progress: float) -> float:
    """Along half a cosine, from 0 to 1 of the way."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
