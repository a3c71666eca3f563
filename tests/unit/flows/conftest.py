"""Fields that the tests of flows share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.flows import MLPField, PlanarField
from tests.helpers.flow_fields import OfAUser, strengthened

FIELDS: dict[str, Callable[[], nn.Module]] = {
    "planar": lambda: PlanarField(3, units=8),
    "concatsquash": lambda: MLPField(3, width=8),
    "concat": lambda: MLPField(3, width=8, hidden=1, layer="concat", activation="softplus"),
    "silu": lambda: MLPField(3, width=8, activation="silu"),
    "of a user": lambda: OfAUser(3),
}


@pytest.fixture(params=FIELDS)
def field(request: pytest.FixtureRequest) -> nn.Module:
    """In three dimensions, in float64, of every kind."""
    torch.manual_seed(0)
    return strengthened(FIELDS[request.param]().double())


@pytest.fixture
def points() -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
