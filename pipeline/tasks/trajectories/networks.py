"""What the models of points are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.layers import ACTIVATIONS
from pipeline.ode import ODEBlock, integrate
from pipeline.tasks.trajectories.config import MapConfig

ROUNDING = 2 * torch.finfo(torch.float32).eps
TIMES = 65
"""At which a continuous trajectory is shown."""


class Perceptron(nn.Module):
    """f(t, z) with two hidden layers; sees t as one more input, if it is told to.

    Source: Dupont et al. 2019, appendix B.
    """

    def __init__(self, width: int, config: MapConfig, sees_time: bool) -> None:
        super().__init__()
        hidden = config.hidden or (16 if width - config.augment == 1 else 32)
        activation = ACTIVATIONS[config.activation]
        self.sees_time = sees_time
        self.layers = nn.Sequential(
            nn.Linear(width + sees_time, hidden),
            activation(),
            nn.Linear(hidden, hidden),
            activation(),
            nn.Linear(hidden, width),
        )

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        if self.sees_time:
            z = torch.cat([z, t.to(z.dtype).expand(len(z), 1)], dim=1)
        slope: Tensor = self.layers(z)
        return slope


class EulerSteps(nn.Module):
    """z + dt f_k(t_k, z), step after step; the functions take turns."""

    def __init__(self, functions: Sequence[nn.Module], steps: int, dt: float) -> None:
        super().__init__()
        self.functions = nn.ModuleList(functions)
        self.steps = steps
        self.dt = dt

    def states(self, z: Tensor) -> list[Tensor]:
        """Before the first step and after each."""
        found = [z]
        for step in range(self.steps):
            # A rounding beyond, as the solver has it: weights that jump at this time are those after it.
            t = z.new_tensor(step * self.dt * (1 + ROUNDING))
            function = self.functions[step % len(self.functions)]
            found.append(found[-1] + self.dt * function(t, found[-1]))
        return found

    def forward(self, z: Tensor) -> Tensor:
        return self.states(z)[-1]


class PointNetwork(nn.Module):
    """Points, with zeros behind their coordinates, through the body to where they go, or to a number for each.

    Args of `forward`: points (n, dimension). Returns (n, dimension) where `is_map`, else (n,).
    """

    def __init__(self, dimension: int, augment: int, body: nn.Module, is_map: bool) -> None:
        super().__init__()
        self.dimension = dimension
        self.augment = augment
        self.body = body
        self.head = None if is_map else nn.Linear(dimension + augment, 1)

    def forward(self, points: Tensor) -> Tensor:
        return self.read(self.body(self.augmented(points)))

    def augmented(self, points: Tensor) -> Tensor:
        """The state that the body begins with."""
        return functional.pad(points, (0, self.augment))

    def read(self, state: Tensor) -> Tensor:
        """What a state says."""
        if self.head is None:
            return state[:, : self.dimension]
        values: Tensor = self.head(state).squeeze(1)
        return values

    @torch.no_grad()
    def trajectories(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Times and the states then, shapes (n,) and (n, points, dimension + augment); discrete ones step by step.

        Of another body than those here, the first state and the last.
        """
        start = self.augmented(points)
        if isinstance(self.body, ODEBlock):
            times = torch.linspace(0, self.body.final_time, TIMES)
            states = integrate(self.body.field, start, times.tolist(), self.body.solver, knots=self.body.knots).states
            assert isinstance(states, Tensor)
            return times, states
        if isinstance(self.body, EulerSteps):
            return torch.arange(self.body.steps + 1) * self.body.dt, torch.stack(self.body.states(start))
        return torch.tensor([0.0, 1.0]), torch.stack([start, self.body(start)])

    @torch.no_grad()
    def slopes(self, times: Tensor, states: Tensor) -> Tensor | None:
        """dz/dt at each time and state, shape (times, *states); None where there is no one field."""
        field = self.body.field if isinstance(self.body, ODEBlock) else None
        if isinstance(self.body, EulerSteps) and len(self.body.functions) == 1:
            field = self.body.functions[0]
        if field is None:
            return None
        return torch.stack([field(t, states) for t in times])
