"""Densities of whole numbers: noise that fills the gaps between them, and bits per dimension.

Source: Theis, van den Oord & Bethge 2016, *A note on the evaluation of generative models*, section 3.1; the logit
after Dinh, Sohl-Dickstein & Bengio 2017, section 4.1.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from pipeline.util.errors import InvalidInput


@dataclass(frozen=True)
class Dequantisation:
    """Whole numbers from 0 to levels - 1 as numbers in [0, 1), or by their logit on the whole line.

    Attributes:
        levels: how many values a number has.
        alpha: with the logit of alpha + (1 - 2 alpha) x; None without one.
    """

    levels: int
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise InvalidInput(f"whole numbers have two levels at least, not {self.levels}")
        if self.alpha is not None and not 0 < self.alpha < 0.5:
            raise InvalidInput(f"alpha of a logit is between 0 and 0.5, not {self.alpha:g}")

    def __call__(self, counts: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Points y from whole numbers, shape (n, D), and uniform noise.

        Returns:
            y, and log |dy/dx| of each, shape (n,), for x = (counts + noise) / levels: log p(x) = log p(y) + that.

        Raises:
            InvalidInput: a number outside of the levels, or none that is whole.
        """
        low, high = (float(counts.min()), float(counts.max())) if counts.numel() else (0.0, 0.0)
        if low < 0 or high >= self.levels:
            raise InvalidInput(
                f"there are numbers from {low:g} to {high:g}, and {self.levels} levels are 0 to {self.levels - 1}"
            )
        if not torch.equal(counts, counts.round()):
            raise InvalidInput(
                f"there are fractions among numbers of {self.levels} levels: give whole numbers from 0 to "
                f"{self.levels - 1}, unscaled"
            )
        device = counts.device if generator is None else generator.device
        noise = torch.rand(counts.shape, generator=generator, device=device).to(counts.device)
        x = self._within(counts, (counts + noise) / self.levels)
        if self.alpha is None:
            return x, x.new_zeros(len(x))
        inside = self.alpha + (1 - 2 * self.alpha) * x
        slope = log(1 - 2 * self.alpha) - torch.log(inside) - torch.log1p(-inside)
        return torch.logit(inside), slope.sum(1)

    def _within(self, counts: Tensor, x: Tensor) -> Tensor:
        """`x`, moved by a rounding where it was rounded into the interval beside its own."""
        for _ in range(2):
            found = (x * self.levels).floor()
            x = torch.where(found > counts, torch.nextafter(x, torch.zeros_like(x)), x)
            x = torch.where(found < counts, torch.nextafter(x, torch.ones_like(x)), x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """The whole numbers whose interval points are in, shape (n, D); the nearest ones for points beside all."""
        x = y if self.alpha is None else (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)
        return (x * self.levels).floor().clamp(0, self.levels - 1)

    def bits_per_dimension(self, log_prob: Tensor, dimension: int) -> Tensor:
        """Of each point, from log p(x) in nats: what an upper bound of its code's length is in expectation."""
        return -(log_prob / dimension - log(self.levels)) / log(2)
