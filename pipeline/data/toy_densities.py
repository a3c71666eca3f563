"""Densities in the plane that points are drawn from without end.

The shapes are those of the first codes of flows: two circles as in torchdiffeq's example of Chen et al. 2018, the
others after the toy data of Grathwohl et al. 2019. The densities are exact where they are there at all.
"""

from collections.abc import Sequence
from math import log, pi
from typing import TYPE_CHECKING

import numpy as np

from pipeline.util.array_types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

MOON_NOISE, CIRCLE_NOISE, RING_NOISE = 0.05, 0.06, 0.08
MOON_CENTRE = (0.5, 0.25)
CIRCLES, RINGS = (1.0, 0.5), (3.0, 2.25, 1.5, 0.75)
EIGHT_RADIUS, EIGHT_DEVIATION = 4 / 2**0.5, 0.5 / 2**0.5
ARMS, ARM_RATE, ARM_LENGTH, ARM_WIDTH = 5, 0.25, 0.3, 0.1
ANGLES = 400
"""Of a moon's arc, in the sum that its density is; their distance is a sixth of the noise."""


def sample_two_moons(n: int, random: np.random.Generator) -> FloatArray:
    """Two half circles of radius 1, one upside down between the other's ends, with normal noise of 0.05."""
    angles, is_lower = random.uniform(0, pi, n), random.random(n) < 0.5
    x = np.where(is_lower, 1 - np.cos(angles), np.cos(angles)) - MOON_CENTRE[0]
    y = np.where(is_lower, 0.5 - np.sin(angles), np.sin(angles)) - MOON_CENTRE[1]
    return np.stack([x, y], 1) + random.normal(scale=MOON_NOISE, size=(n, 2))


def log_two_moons(x: "Tensor") -> "Tensor":
    """Its log-density, the mean of normal densities along the arcs."""
    import torch  # takes a second to import, and data sets are listed without it

    angles = (torch.arange(ANGLES, dtype=x.dtype, device=x.device) + 0.5) * pi / ANGLES
    upper = torch.stack([angles.cos(), angles.sin()], 1)
    lower = torch.stack([1 - angles.cos(), 0.5 - angles.sin()], 1)
    centres = torch.cat([upper, lower]) - torch.tensor(MOON_CENTRE, dtype=x.dtype, device=x.device)
    return _log_mixture(x, centres, MOON_NOISE)


def sample_two_circles(n: int, random: np.random.Generator) -> FloatArray:
    """Circles of radius 1 and 0.5 with normal noise of 0.06."""
    return _sample_circles(n, random, CIRCLES, CIRCLE_NOISE)


def log_two_circles(x: "Tensor") -> "Tensor":
    """Its log-density."""
    return _log_circles(x, CIRCLES, CIRCLE_NOISE)


def sample_rings(n: int, random: np.random.Generator) -> FloatArray:
    """Four circles up to radius 3 with normal noise of 0.08."""
    return _sample_circles(n, random, RINGS, RING_NOISE)


def log_rings(x: "Tensor") -> "Tensor":
    """Its log-density."""
    return _log_circles(x, RINGS, RING_NOISE)


def sample_eight_gaussians(n: int, random: np.random.Generator) -> FloatArray:
    """Normal distributions at the corners of an octagon."""
    angles = random.integers(0, 8, n) * pi / 4
    centres = EIGHT_RADIUS * np.stack([np.cos(angles), np.sin(angles)], 1)
    return centres + random.normal(scale=EIGHT_DEVIATION, size=(n, 2))


def log_eight_gaussians(x: "Tensor") -> "Tensor":
    """Its log-density."""
    import torch

    angles = torch.arange(8, dtype=x.dtype, device=x.device) * pi / 4
    return _log_mixture(x, EIGHT_RADIUS * torch.stack([angles.cos(), angles.sin()], 1), EIGHT_DEVIATION)


def sample_pinwheel(n: int, random: np.random.Generator) -> FloatArray:
    """Five bent arms."""
    along = 1 + random.normal(scale=ARM_LENGTH, size=n)
    across = random.normal(scale=ARM_WIDTH, size=n)
    angles = 2 * pi * random.integers(0, ARMS, n) / ARMS + ARM_RATE * np.exp(along)
    x = along * np.cos(angles) - across * np.sin(angles)
    y = along * np.sin(angles) + across * np.cos(angles)
    return 2 * np.stack([x, y], 1)


def sample_spirals(n: int, random: np.random.Generator) -> FloatArray:
    """Two spirals around each other, of one turn and a half."""
    turns = 3 * pi * np.sqrt(random.random(n))
    sign = np.where(random.random(n) < 0.5, 1.0, -1.0)
    x = -np.cos(turns) * turns + 0.5 * random.random(n)
    y = np.sin(turns) * turns + 0.5 * random.random(n)
    return sign[:, None] * np.stack([x, y], 1) / 3 + random.normal(scale=0.1, size=(n, 2))


def sample_checkerboard(n: int, random: np.random.Generator) -> FloatArray:
    """Every other one of sixteen squares, over [-4, 4]²."""
    x = random.uniform(-2, 2, n)
    y = random.random(n) - 2 * random.integers(0, 2, n) + np.floor(x) % 2
    points: FloatArray = 2 * np.stack([x, y], 1)
    return points


def _sample_circles(n: int, random: np.random.Generator, radii: Sequence[float], noise: float) -> FloatArray:
    angles, radius = random.uniform(0, 2 * pi, n), random.choice(radii, n)
    on_circle = radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    points: FloatArray = on_circle + random.normal(scale=noise, size=(n, 2))
    return points


def _log_circles(x: "Tensor", radii: Sequence[float], noise: float) -> "Tensor":
    """A circle of radius r with noise σ has the density exp(-(ρ² + r²) / 2σ²) I₀(ρr/σ²) / 2πσ² at distance ρ."""
    import torch

    distance = x.square().sum(1).clamp(min=1e-30).sqrt()  # its root has a slope at the centre, too
    of_circles = [
        -(distance - radius).square() / (2 * noise**2) + torch.special.i0e(distance * radius / noise**2).log()
        for radius in radii
    ]
    return torch.stack(of_circles).logsumexp(0) - log(2 * pi * noise**2 * len(radii))


def _log_mixture(x: "Tensor", centres: "Tensor", deviation: float) -> "Tensor":
    """Of normal distributions of one weight."""
    squares = (x.unsqueeze(1) - centres).square().sum(2)
    return (-squares / (2 * deviation**2)).logsumexp(1) - log(2 * pi * deviation**2 * len(centres))
