"""What a model says about values at times: a mixture of Gaussians at each of them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.series.likelihood import mixture_quantile
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Prediction:
    """The values of each series at some times.

    Attributes:
        times: shape (b, m), as they were asked for.
        mean: shape (b, m, D).
        samples: the values without the noise of an observation, in each of the futures that were drawn, shape
            (samples, b, m, D).
        noise: sd of an observation around them, shape (D,).
    """

    times: Tensor
    mean: Tensor
    samples: Tensor
    noise: Tensor

    @cached_property
    def sd(self) -> Tensor:
        """Of an observation around the mean, shape (b, m, D)."""
        spread = self.samples.var(0, correction=0) if len(self.samples) > 1 else torch.zeros_like(self.mean)
        return (spread + self.noise.square()).sqrt()

    def quantile(self, probability: float, of: str = "observation") -> Tensor:
        """The value below which an observation, or the `truth` without its noise, is with this probability.

        Returns:
            Shape (b, m, D).

        Raises:
            InvalidInput: a probability that is not between 0 and 1, or something else to be of.
        """
        if not 0 < probability < 1:
            raise InvalidInput(f"the probability of a quantile is {probability}: give one between 0 and 1")
        if of == "truth":
            return torch.quantile(self.samples, probability, dim=0)
        if of != "observation":
            raise InvalidInput(f"a quantile is of an observation or of the truth, not of {of!r}")
        return mixture_quantile(self.samples, self.noise, probability)

    def band(self, level: float, of: str = "observation") -> tuple[Tensor, Tensor]:
        """Lower and upper end of the middle band with this probability, as 0.5 or 0.9, each of shape (b, m, D)."""
        return self.quantile((1 - level) / 2, of), self.quantile((1 + level) / 2, of)
