"""The learning rate along half a cosine."""

from torch import optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from pipeline import plugins


@plugins.schedule("cosine")
def cosine(optimiser: optim.Optimizer, max_epochs: int) -> LRScheduler:
    """From the full rate to zero over `max_epochs`."""
    return CosineAnnealingLR(optimiser, T_max=max_epochs)
