"""The learning rate in steps."""

from torch import optim
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline import plugins


@plugins.schedule("step")
def step(optimiser: optim.Optimizer, max_epochs: int) -> LRScheduler:
    """The rate divided by 10 after every 0.3 × max_epochs.

    Source: Gładzik 2019, section 4.3.1.
    """
    # In tenths, so that 0.3 × 10 epochs is exactly 3.
    return LambdaLR(optimiser, lambda epoch: 10.0 ** -(10 * epoch // (3 * max_epochs)))
