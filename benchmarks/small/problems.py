"""What is solved: a field, a state to begin with, output times, and a loss of the states at those times."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import log, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.device import Device
from benchmarks.small.fields import Chain, Estimated, Planar

State = Tensor | tuple[Tensor, ...]
"""One tensor or several parts; of a solution, with a first dimension for the output times."""


@dataclass(frozen=True)
class Problem:
    """A problem of which every process makes the same.

    Attributes:
        build: makes the field, with weights by chance.
        draw: makes a state of chance, in float32.
        times: where states are asked for; the first is the start.
        loss: of the states, in torch or in JAX.
        learns: whether the field is trained before it is timed, since its first weights are no example of what it does.
        weights: of the trained field.
        device: that it is solved on; the numbers of chance are the CPU's.
    """

    build: Callable[[], nn.Module]
    draw: Callable[[torch.Generator], State]
    times: tuple[float, ...]
    loss: Callable[[Any], Any]
    tolerance: float = 1e-5
    learns: bool = False
    weights: np.ndarray | None = None
    device: Device = "cpu"

    def field(self) -> nn.Module:
        torch.manual_seed(0)
        field = self.build()
        if self.weights is not None:
            nn.utils.vector_to_parameters(torch.from_numpy(self.weights), field.parameters())
        return field.to(self.device)

    def start(self, seed: int = 0) -> State:
        drawn = self.draw(torch.Generator().manual_seed(seed))
        return drawn.to(self.device) if isinstance(drawn, Tensor) else tuple(part.to(self.device) for part in drawn)


def _normal(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _two_circles(points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points around two circles, one half as large as the other, and the logarithm of a density that is to be added."""
    angles = torch.linspace(0, 2 * pi, points // 2 + 1)[:-1]
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    noise = 0.06 * torch.randn(points, 2, generator=generator)
    return torch.cat([circle, circle / 2]) + noise, torch.zeros(points, 1)


def _points(count: int, dimensions: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Normal points, and the logarithm of a density that is to be added."""
    return torch.randn(count, dimensions, generator=generator), torch.zeros(count, 1)


def _last_square(states: Any) -> Any:
    return (states[-1] ** 2).mean()


def _square(states: Any) -> Any:
    return (states**2).mean()


def _negative_log_likelihood(states: Any, variance: float = 0.1) -> Any:
    """Of what flowed into a normal distribution."""
    z, change = states[0][-1], states[1][-1]
    log_base = -(z**2).sum(-1) / (2 * variance) - 0.5 * z.shape[-1] * log(2 * pi * variance)
    return (change[:, 0] - log_base).mean()


def _chain(size: int, width: int) -> Problem:
    """An MLP on a state of `size` elements."""
    build = partial(Chain, (size, width, size), nn.Tanh)
    return Problem(build, partial(_normal, (128, size)), (0.0, 1.0), _last_square)


SPIRAL_TIMES = tuple(float(t) for t in np.linspace(0, 6 * pi, 500)[:100])
"""Those of torchdiffeq's example, which observes the first hundred of its five hundred points."""
PROBLEMS: Mapping[str, Problem] = {
    "mlp-2": _chain(2, 64),
    "mlp-64": _chain(64, 64),
    "cnf": Problem(Planar, partial(_two_circles, 512), (10.0, 0.0), _negative_log_likelihood, learns=True),
    "hutchinson": Problem(
        partial(Estimated, 43, 860, 128),
        partial(_points, 128, 43),
        (1.0, 0.0),
        partial(_negative_log_likelihood, variance=1.0),
    ),
    "latent-ode": Problem(
        partial(Chain, (4, 20, 20, 4), nn.ELU, 2.0), partial(_normal, (1000, 4)), SPIRAL_TIMES, _square
    ),
}
"""`cnf` and `latent-ode` are what torchdiffeq's examples of those names solve, the latter without its encoder.
`hutchinson` is a flow of the sizes that FFJORD takes for MINIBOONE, of 43 dimensions."""
