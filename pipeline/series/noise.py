"""The noise with which values are observed."""

from math import isfinite

import torch
from torch import Tensor, nn

from pipeline.util.errors import InvalidInput


class ObservationNoise(nn.Module):
    """Standard deviations of the values around the truth, one for each dimension, given or learned.

    Args:
        sd: as given, or where learning begins, in the unit of the values.
        is_learned: whether it is a parameter.

    Raises:
        InvalidInput: an sd that is not above 0.
    """

    log_sd: Tensor

    def __init__(self, dimensions: int, sd: float = 0.5, is_learned: bool = True) -> None:
        super().__init__()
        if not (sd > 0 and isfinite(sd)):
            raise InvalidInput(f"the noise of an observation is {sd}: give a standard deviation above 0")
        log_sd = torch.full((dimensions,), sd).log()
        if is_learned:
            self.log_sd = nn.Parameter(log_sd)
        else:
            self.register_buffer("log_sd", log_sd)

    @property
    def sd(self) -> Tensor:
        """Shape (D,)."""
        return self.log_sd.exp()
