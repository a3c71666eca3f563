"""Fields to solve, and what is asked of them, for the tests of the solver."""

import copy
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import Statistics, integrate

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "heun", "tsit5")
ENGINES = ("odenet", "torchdiffeq")
GRADIENTS = ("direct", "checkpointed", "adjoint")
EVALUATIONS_PER_STEP = {"euler": 1, "midpoint": 2, "rk4": 4}
EXACT = SolverConfig(method="dopri5", rtol=1e-10, atol=1e-10, max_steps=10_000)


class Field(nn.Module):
    """A field without parameters, from a function of t and z."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.function(t, z)


class Growth(nn.Module):
    """dz/dt = rate z: z(T) = z(0) exp(rate T)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return self.rate * z


class Layer(nn.Module):
    """A smooth field with parameters, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3, dtype=torch.float64)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(self.linear(z)) * torch.cos(t)


class Convolved(nn.Module):
    """A small convolutional field, smooth, with time in it."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.normalisation = nn.GroupNorm(2, channels)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(self.normalisation(self.convolution(z))) * torch.cos(t)


# dz/dt = z cos t: z(t) = z(0) exp(sin t).
OSCILLATION = Field(lambda t, z: z * torch.cos(t))


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(0.5, 2, 4, dtype=dtype)


def gradients(
    field: nn.Module, z0: Tensor, solver: SolverConfig, final_time: float = 1.0
) -> tuple[Tensor, list[Tensor], Statistics]:
    """Of sum(z(T)²): with respect to z(0), the parameters; and the statistics."""
    z0 = z0.clone().requires_grad_()
    field.zero_grad()
    solution = integrate(field, z0, (0.0, final_time), solver)
    solution.state.square().sum().backward()
    assert z0.grad is not None
    return z0.grad, [p.grad.clone() for p in field.parameters() if p.grad is not None], solution.statistics


def relative_error(value: Tensor, reference: Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


Reference = tuple[Convolved, Tensor, Tensor, list[Tensor]]


@cache
def reference() -> Reference:
    """A float32 field and state, and the gradients that float64 at a tight tolerance gives them."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        field = Convolved()
    z0 = torch.randn(4, 6, 7, 7, generator=generator)
    by_state, by_parameters, _ = gradients(copy.deepcopy(field).double(), z0.double(), EXACT)
    return field, z0, by_state, by_parameters
