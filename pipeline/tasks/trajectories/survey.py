"""What a trained network does with points, as its figures show it."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.ode import ODEBlock, SolverFailure
from pipeline.tasks.trajectories.data import Points
from pipeline.tasks.trajectories.networks import PointNetwork
from pipeline.util.user_warnings import OdenetWarning

SHOWN_POINTS = 60
BESIDE = 13
"""Starts on a line beside the data, whose trajectories show how the field flows."""
GRID = 81
ARROWS = 15
REACH = 1.6
"""How far beside the points, and where they are to go, is shown."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Survey:
    """Trajectories of some test points, and of starts beside them.

    Attributes:
        is_continuous: whether they are solutions of an ODE, and not layers of a network.
        times: (n,).
        states: at them, (n, points, width); `targets` of the points as the data have them.
        beside: the same of starts on a line, where points have one dimension.
        field: of an autonomous or not autonomous scalar ODE: times (k,), positions (m,) and dz/dt (k, m).
        plane: of points of two dimensions: positions (m,) of both axes, and what the network says, (m, m), where it
            says a number.
    """

    is_continuous: bool
    dimension: int
    times: Array
    states: Array
    targets: Array
    answers: Array
    points: Array
    beside: Array | None = None
    field: tuple[Array, Array, Array] | None = None
    plane: tuple[Array, Array] | None = None

    def to_npz(self) -> bytes:
        """All arrays, by their names."""
        named: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        for name, arrays in (("field", self.field), ("plane", self.plane)):
            named |= {f"{name}_{number}": array for number, array in enumerate(arrays or ())}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **named)
        return buffer.getvalue()


@torch.no_grad()
def survey(network: PointNetwork, data: Points) -> Survey:
    """What is to be seen of the network, on the CPU."""
    shown = torch.linspace(0, data.test_items - 1, min(SHOWN_POINTS, data.test_items)).long()
    points = data.x_test[shown]
    times, states = network.trajectories(points)
    largest = float(data.x_test.abs().max())
    line = torch.linspace(-1.5 * largest, 1.5 * largest, GRID if data.dimension == 2 else BESIDE, device=data.device)
    beside = field = plane = None
    if data.dimension == 1:
        beside = _beside(network, line[:, None])
        if network.augment == 0:
            reach = max(float(states.abs().max()), float(data.y_test[shown].abs().max()) if data.is_map else 0.0)
            field = _field(network, times.to(data.device), REACH * reach)
    if data.dimension == 2 and not data.is_map:
        plane = _plane(network, line)
    return Survey(
        isinstance(network.body, ODEBlock),
        data.dimension,
        _array(times),
        _array(states),
        _array(data.y_test[shown]),
        _array(network.read(states[-1])),
        _array(points),
        beside,
        field,
        plane,
    )


def _beside(network: PointNetwork, starts: Tensor) -> Array | None:
    """None where the ODE cannot be solved away from the data."""
    try:
        return _array(network.trajectories(starts)[1])
    except SolverFailure:
        return None


def _plane(network: PointNetwork, line: Tensor) -> tuple[Array, Array] | None:
    """None where the ODE cannot be solved away from the data."""
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(-1, 2)
    try:
        return _array(line), _array(network(grid)).reshape(len(line), len(line))
    except SolverFailure as error:
        warnings.warn(OdenetWarning(f"what the network says of the plane is not drawn: {error}"), stacklevel=2)
        return None


def _field(network: PointNetwork, times: Tensor, reach: float) -> tuple[Array, Array, Array] | None:
    moments = torch.linspace(0, float(times[-1]), ARROWS, device=times.device)
    positions = torch.linspace(-reach, reach, ARROWS, device=times.device)
    slopes = network.slopes(moments, positions[:, None])
    return None if slopes is None else (_array(moments), _array(positions), _array(slopes)[:, :, 0])


def _array(tensor: Tensor) -> Array:
    return tensor.detach().float().cpu().numpy()
