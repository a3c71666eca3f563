"""What flows begin with: a distribution whose density and samples are known."""

from math import log, pi
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution


class Base(Protocol):
    """A distribution of D numbers."""

    def log_prob(self, z: Tensor) -> Tensor:
        """In nats, shape (n,), for z of shape (n, D)."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Shape (n, D)."""


class Normal(nn.Module):
    """Independent normal numbers of mean 0 and one standard deviation."""

    place: Tensor
    """Empty, on the device and in the number format that samples are to have."""

    def __init__(self, dimension: int, deviation: float = 1.0) -> None:
        super().__init__()
        self.dimension, self.deviation = dimension, float(deviation)
        self.register_buffer("place", torch.empty(0), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """In nats, shape (n,)."""
        squares = (z / self.deviation).square().sum(-1)
        return -0.5 * squares - self.dimension * (log(self.deviation) + 0.5 * log(2 * pi))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Shape (n, D); a generator of the CPU gives the same on every device, but for rounding."""
        device = self.place.device if generator is None else generator.device
        drawn = torch.randn(n, self.dimension, generator=generator, dtype=self.place.dtype, device=device)
        return drawn.to(self.place.device) * self.deviation


class OfTorch:
    """A distribution of `torch.distributions`, whose events are of shape (D,)."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    def log_prob(self, z: Tensor) -> Tensor:
        """In nats, shape (n,)."""
        found: Tensor = self.distribution.log_prob(z)
        return found

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Shape (n, D). These draw from torch's own generator alone, which is left as it was where another is given."""
        if generator is None:
            return self.distribution.sample((n,))
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
            torch.manual_seed(seed)
            return self.distribution.sample((n,))
