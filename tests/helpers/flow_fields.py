"""Fields of flows for tests."""

import torch
from torch import Tensor, nn


class OfAUser(nn.Module):
    """A module that knows nothing of divergences."""

    def __init__(self, dimension: int, width: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dimension + 1, width), nn.Tanh(), nn.Linear(width, dimension))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        slope: Tensor = self.net(torch.cat([z, t.reshape(-1, 1).expand(len(z), 1)], dim=1))
        return slope


class Linear(nn.Module):
    """dz/dt = A z."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return z @ self.matrix.mT


def strengthened(field: nn.Module, factor: float = 2.0) -> nn.Module:
    """With weights of a size that bends paths."""
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(factor)
    return field
