"""One learning rate throughout."""

from torch import optim
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline import plugins


@plugins.schedule("constant")
def constant(optimiser: optim.Optimizer, max_epochs: int) -> LRScheduler:  # noqa: ARG001
    """The same rate in every epoch."""
    return LambdaLR(optimiser, lambda _: 1.0)
