"""A normal distribution with all its covariances: what any other density has to be better than."""

from math import log, pi

import torch
from torch import Tensor, nn

from pipeline.flows.log_prob import LogProb
from pipeline.util.errors import InvalidInput


class Gaussian(nn.Module):
    """x = mean + L z with a lower triangular L, whose weights are learnt or fitted in closed form."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.mean = nn.Parameter(torch.zeros(dimension))
        self.log_scales = nn.Parameter(torch.zeros(dimension))
        self.below = nn.Parameter(torch.zeros(dimension, dimension))

    @torch.no_grad()
    def fit(self, x: Tensor) -> "Gaussian":
        """Of maximum likelihood: the mean and the covariance of the points, shape (n, D).

        Raises:
            InvalidInput: the covariance is singular, so that the likelihood has no bound; a number is not finite.
        """
        exact = x.double()
        if not bool(exact.isfinite().all()):
            raise InvalidInput("there are numbers among the points that are not finite: leave their rows out")
        centred = exact - exact.mean(0)
        covariance = centred.mT @ centred / len(x)
        factor, failure = torch.linalg.cholesky_ex(covariance)
        # Beside rounding the rest of a column that others determine is zero.
        alone = factor.diagonal() / covariance.diagonal().sqrt()
        if failure or not bool((alone > 1e-7).all()):
            column = int(failure) - 1 if failure else int((alone <= 1e-7).nonzero()[0])
            raise InvalidInput(
                f"column {column} is constant or determined by the columns before it, so that a Gaussian's density has "
                "no bound: leave it out"
            )
        self.mean.copy_(exact.mean(0))
        self.log_scales.copy_(factor.diagonal().log())
        self.below.copy_(factor.tril(-1))
        return self

    @property
    def factor(self) -> Tensor:
        """L, shape (D, D)."""
        return self.below.tril(-1) + torch.diag(self.log_scales.exp())

    def log_prob(self, x: Tensor, *, generator: torch.Generator | None = None) -> LogProb:  # noqa: ARG002 - as of a flow
        """The log-density of points, shape (n, D), in nats."""
        z = torch.linalg.solve_triangular(self.factor, (x - self.mean).mT, upper=False).mT
        return LogProb(self._of_base(z))

    def sample(self, n: int, seed: int) -> Tensor:
        """Shape (n, D), without gradients."""
        with torch.no_grad():
            return self.rsample_and_log_prob(n, torch.Generator().manual_seed(seed))[0]

    def rsample_and_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, LogProb]:
        """Points with gradients, and their log-density."""
        device = self.mean.device if generator is None else generator.device
        z = torch.randn(n, self.dimension, generator=generator, dtype=self.mean.dtype, device=device).to(
            self.mean.device
        )
        return self.mean + z @ self.factor.mT, LogProb(self._of_base(z))

    def _of_base(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1) - 0.5 * self.dimension * log(2 * pi) - self.log_scales.sum()
