"""How likely values are, and how well predictions and their bands meet them; only values under a mask count."""

from math import log, pi

import torch
from torch import Tensor

BISECTIONS = 26
"""Of a quantile, which is then known to a 10⁻⁸ of where it was looked for or better."""


def gaussian_log_likelihood(values: Tensor, means: Tensor, sd: Tensor, mask: Tensor) -> Tensor:
    """log N(values; means, sd²), summed over times and dimensions.

    Args:
        values: shape (b, n, D), finite everywhere.
        means: shape (…, b, n, D).
        sd: shape (D,).
        mask: which values count, shape (b, n, D), in the number format of the values.

    Returns:
        Nats, shape (…, b).
    """
    errors = ((values - means) / sd).square() * mask
    constants = mask.sum(-2) @ (sd.log() + log(2 * pi) / 2)
    return -errors.sum((-2, -1)) / 2 - constants


def gaussian_kl(mean: Tensor, sd: Tensor) -> Tensor:
    """KL(N(mean, sd²) || N(0, 1)) in nats, summed over the last dimension."""
    return ((mean.square() + sd.square() - 1) / 2 - sd.log()).sum(-1)


def mixture_quantile(means: Tensor, sd: Tensor, probability: float) -> Tensor:
    """The value below which a mixture of Gaussians, with equal weights, has this probability.

    Args:
        means: of its components, shape (components, …, D).
        sd: of each of them, shape (D,).

    Returns:
        Shape (…, D), found by bisection.
    """
    reach = 10 * sd
    low, high = means.amin(0) - reach, means.amax(0) + reach
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_below = torch.special.ndtr((middle - means) / sd).mean(0) < probability
        low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
    return (low + high) / 2


def rmse(predicted: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Root of the mean squared error of the values under the mask, a scalar; not a number where there are none."""
    return squared_error(predicted, values, mask).sum().div(mask.sum()).sqrt()


def squared_error(predicted: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Squared errors, 0 where the mask is False, whatever is there; shape of the values."""
    return (predicted - values).square().masked_fill(~mask.bool(), 0.0)


def coverage(lower: Tensor, upper: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Share of the values under the mask that lie within the band, a scalar; not a number where there are none."""
    is_within = (lower <= values) & (values <= upper) & mask.bool()
    return is_within.sum() / mask.sum()
