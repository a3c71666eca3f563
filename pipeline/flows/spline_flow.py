"""Neural spline flows, of the library zuko: a strong discrete flow beside the continuous ones."""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.flows.log_prob import LogProb
from pipeline.util.errors import OdenetError


class SplineFlow(nn.Module):
    """Layers of monotone rational-quadratic splines, whose knots a network makes of the other dimensions.

    The splines cover [-5, 5], as of standardised data; outside the layers are the identity.

    Source: Durkan et al. 2019, *Neural spline flows*; `zuko.flows.NSF`.
    """

    def __init__(
        self, dimension: int, layers: int = 5, width: int = 64, hidden: int = 2, *, coupling: bool = True
    ) -> None:
        """
        Args:
            layers: transformations one behind the other.
            width: of the networks' hidden layers, and hidden: their number.
            coupling: each layer transforms one half of the dimensions by the other, so that samples take two passes.
                Without it a dimension depends on all before it, and samples take a pass for each.

        Raises:
            OdenetError: zuko is not installed.
        """
        super().__init__()
        self.dimension = dimension
        passes = 2 if coupling and dimension > 1 else None
        self.flow = _zuko().flows.NSF(dimension, transforms=layers, hidden_features=(width,) * hidden, passes=passes)

    def log_prob(self, x: Tensor, *, generator: torch.Generator | None = None) -> LogProb:  # noqa: ARG002 - as of a flow
        """The log-density of points, shape (n, D), in nats."""
        return LogProb(self.flow().log_prob(x))

    def sample(self, n: int, seed: int) -> Tensor:
        """Shape (n, D), without gradients."""
        with torch.no_grad():
            return self.rsample_and_log_prob(n, torch.Generator().manual_seed(seed))[0]

    def rsample_and_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, LogProb]:
        """Points with gradients, and their log-density."""
        weights = next(self.parameters())
        device = weights.device
        drawn_on = device if generator is None else generator.device
        density = self.flow()
        z = torch.randn(n, self.dimension, generator=generator, device=drawn_on, dtype=weights.dtype).to(device)
        x, change = density.transform.inv.call_and_ladj(z)
        return x, LogProb(density.base.log_prob(z) - change)


def _zuko() -> Any:
    try:
        import zuko
    except ImportError:
        raise OdenetError(
            "the spline flow is of the library zuko, which is not installed: pip install 'odenet-pipeline[flows]'"
        ) from None
    return zuko
