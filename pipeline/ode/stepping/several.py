"""Several steps in one call, each accepted or tried again without asking the host: for fields that cost less than that.

What a step decides about the next is computed where its state is, with the functions that the host decides with
otherwise. Steps behind the end are of length 0 and leave everything as it is.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.device.compilation import compiled
from pipeline.methods.tableau import Tableau
from pipeline.ode.control import Controller, reached
from pipeline.ode.dense import factors_of_stages
from pipeline.ode.field import VectorField
from pipeline.ode.stepping.runge_kutta import advance, error_ratio, times_of_stages
from pipeline.ode.tolerance import Tolerance

LIGHT = 2**24
"""Products of numbers in an evaluation on a CPU, above which a step in vain, behind the end, costs more than the calls
that are saved (docs/performance-measured.md)."""


class Place(NamedTuple):
    """Where a solve has come to.

    Attributes:
        first: dz/dt there.
        t, dt, previous: time, length of the next step, and what the controller remembers; shape (1,), float64.
    """

    z: Tensor
    first: Tensor
    t: Tensor
    dt: Tensor
    previous: Tensor


class Steps(NamedTuple):
    """What several steps came to.

    Attributes:
        z, first: the state behind them, and dz/dt there.
        table: of each step where it began and ended, its error ratio, and the length of the next, one behind the other;
            then what the controller remembers; shape (4 steps + 1,), float64: one tensor, as it is read on the host.
        begins: the state that each began with, shape (steps, *state); None where it is not wanted.
        stages: of each, those of its continuous extension, shape (steps, stages, *state).
    """

    z: Tensor
    first: Tensor
    table: Tensor
    begins: Tensor | None
    stages: Tensor | None


class SeveralSteps:
    """Takes several steps of a method whose last stage is the next step's first, by compiled functions."""

    def __init__(self, tableau: Tableau) -> None:
        self.tableau = tableau
        self._take = compiled(several_steps)

    def take(
        self,
        field: VectorField,
        controller: Controller,
        tolerance: Tolerance,
        place: Place,
        t_end: Tensor,
        count: int,
        keeps_stages: bool,
    ) -> Steps:
        """Try `count` steps on the way to `t_end`, shape (1,), float64."""
        return self._take(field, self.tableau, controller, tolerance, place, t_end, count, keeps_stages)

    def between(self, theta: Tensor, numbers: NDArray[np.int64], dt: Tensor, begins: Tensor, stages: Tensor) -> Tensor:
        """The states at fractions of several steps, shape (n, *state).

        Args:
            theta, numbers, dt: of each the fraction, which step it is of, and that step's length; shape (n,).
            begins, stages: as of the steps.
        """
        factors = factors_of_stages(self.tableau.dense.weights, theta) * dt.unsqueeze(1)
        chosen = torch.nn.functional.one_hot(torch.from_numpy(numbers), len(begins)).double()
        of_stages = (chosen.unsqueeze(2) * factors.unsqueeze(1)).flatten(1)
        weights = torch.cat([chosen, of_stages], dim=1).to(begins.dtype).to(begins.device, non_blocking=True)
        rows = torch.cat([begins.view(len(begins), -1), stages.reshape(len(stages) * stages.shape[1], -1)])
        return (weights @ rows).view(len(theta), *begins.shape[1:])


def is_light(field: VectorField, z: Tensor) -> bool:
    """Whether evaluations cost no more than what surrounds them, by the weights that a sample meets."""
    products = field.layout.samples * sum(weight.numel() for weight in field.parameters)
    return z.device.type != "cpu" or products <= LIGHT


def several_steps(
    field: VectorField,
    tableau: Tableau,
    controller: Controller,
    tolerance: Tolerance,
    place: Place,
    t_end: Tensor,
    count: int,
    keeps_stages: bool,
) -> Steps:
    """As `SeveralSteps.take`, of tensors alone."""
    z, first, t, dt, previous = place
    tried: list[list[Tensor]] = [[], [], [], []]
    begins: list[Tensor] = []
    slopes: list[Tensor] = []
    for _ in range(count):
        with torch.no_grad():
            remaining = (t_end - t).abs()
            end = torch.where(reached(dt, remaining), t_end, t + torch.sign(t_end - t) * dt)
            time, step = t.to(z.dtype)[0], (end - t).to(z.dtype)[0]
        of_times = field.at_times(times_of_stages(tableau, time, step))
        z_end, error, stages = advance(field, tableau, time, step, z, first, keeps_stages=True, of_times=of_times)
        last = field(end.to(z.dtype)[0], z_end, of_times[-1])
        with torch.no_grad():
            ratio = error_ratio(tableau, error, step, z, z_end, last, tolerance).double()
            length = (end - t).abs()
            decision = controller.decide(torch, length, ratio, previous)
            is_on_its_way = remaining > 0
            accepted = decision.accepted
            for values, value in zip(tried, (t, end, ratio, decision.dt), strict=True):
                values.append(value)
        if keeps_stages:
            begins.append(z)
            slopes.append(torch.stack([*stages, last]))
        z, first = torch.where(accepted[0], z_end, z), torch.where(accepted[0], last, first)
        with torch.no_grad():
            t = torch.where(accepted, end, t)
            dt = torch.where(is_on_its_way, decision.dt, dt)
            previous = torch.where(is_on_its_way, decision.previous, previous)
    table = torch.cat([*(value for values in tried for value in values), previous])
    return Steps(
        z, first, table, torch.stack(begins) if keeps_stages else None, torch.stack(slopes) if keeps_stages else None
    )
