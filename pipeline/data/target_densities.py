"""Densities known up to a constant, for density matching.

The four potentials in the plane are those of Rezende & Mohamed 2015, table 1, which Chen et al. 2018 match in figure 4.
The last three of them do not end along z₁; here they do, by a wall that is ours: beyond |z₁| = 4 the density falls as a
normal one of standard deviation 0.4.
"""

from math import pi
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

WALL, WALL_WIDTH = 4.0, 0.4
BOX = ((-5.5, 5.5), (-6.0, 6.0))
"""Around all that the potentials leave of their densities."""
MODES, MODE_DEVIATION, LINE = (-2.0, 1.5), (0.5, 0.8), ((-8.0, 8.0),)


def log_two_modes(x: "Tensor") -> "Tensor":
    """On a line: two normal distributions side by side, shape (n, 1) to (n,)."""
    import torch  # takes a second to import, and data sets are listed without it

    of_modes = [
        -0.5 * ((x[:, 0] - centre) / width).square() - torch.log(torch.tensor(width))
        for centre, width in zip(MODES, MODE_DEVIATION, strict=True)
    ]
    return torch.stack(of_modes).logsumexp(0)


def log_potential_1(x: "Tensor") -> "Tensor":
    """A ring in two halves."""
    ring = -0.5 * ((x.square().sum(1).clamp(min=1e-30).sqrt() - 2) / 0.4).square()
    return ring + _either((x[:, 0] - 2) / 0.6, (x[:, 0] + 2) / 0.6)


def log_potential_2(x: "Tensor") -> "Tensor":
    """A sine wave."""
    return -0.5 * ((x[:, 1] - _wave(x)) / 0.4).square() + _wall(x)


def log_potential_3(x: "Tensor") -> "Tensor":
    """A sine wave that parts in two for a while."""
    apart = 3 * (-0.5 * ((x[:, 0] - 1) / 0.6).square()).exp()
    above = x[:, 1] - _wave(x)
    return _either(above / 0.35, (above + apart) / 0.35) + _wall(x)


def log_potential_4(x: "Tensor") -> "Tensor":
    """A sine wave that parts in two for good."""
    apart = 3 * ((x[:, 0] - 1) / 0.3).sigmoid()
    above = x[:, 1] - _wave(x)
    return _either(above / 0.4, (above + apart) / 0.35) + _wall(x)


def _wave(x: "Tensor") -> "Tensor":
    return (pi * x[:, 0] / 2).sin()


def _either(first: "Tensor", second: "Tensor") -> "Tensor":
    return (-0.5 * first.square()).logaddexp(-0.5 * second.square())


def _wall(x: "Tensor") -> "Tensor":
    return -0.5 * ((x[:, 0].abs() - WALL).clamp(min=0) / WALL_WIDTH).square()
