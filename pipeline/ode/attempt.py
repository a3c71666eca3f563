"""A step that was tried, before it is known whether it counts."""

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.ode.path import Segment, Snapshot, StepGraph
from pipeline.ode.stepping import Step
from pipeline.ode.vector import Due, Indices, to_device_of


class Beginning(NamedTuple):
    """Where the steps of every element begin.

    Attributes:
        z: their states.
        first: dz/dt there, where it is a beginning of the steps' graph as the state is; None elsewhere.
        before_first: a snapshot of before it was evaluated.
    """

    z: Tensor
    first: Tensor | None
    before_first: Snapshot


class StepAttempt(NamedTuple):
    """A step of every element.

    Attributes:
        t, dt: time and step size as the method takes them.
        leaf: the state at its end as the next step would start from it.
        last: dz/dt there, if the method has evaluated it for its error.
        keeps: whether the solution within is wanted.
        before_stages, before_last: snapshots of then.
    """

    t: Tensor
    dt: Tensor
    step: Step
    leaf: Tensor
    last: Tensor | None
    keeps: bool
    before_stages: Snapshot
    before_last: Snapshot

    def segment(
        self,
        beginning: Beginning,
        end: Tensor,
        last: Tensor,
        due: Due,
        outputs: Tensor | None,
        moved: Indices,
        rows: Tensor | None,
    ) -> Segment:
        """What the backward pass needs of the elements whose step counts.

        Args:
            end, last: time of the ends, and dz/dt there.
            due, outputs: times within that were asked for, and the states there.
            moved: positions of those elements.
            rows: of their samples in the batch; None where the step is the whole batch's.
        """
        t, dt, z = self.t, self.dt, beginning.z
        if rows is not None and len(moved) < len(z):
            here = to_device_of(z, moved)
            t, dt, end, z = t[here], dt[here], end[here], z[here]
        has_times = len(due.outputs) > 0
        graph = None
        if self.step.end.requires_grad:
            graph = StepGraph(self.step.end, last if self.keeps else None, outputs)
        return Segment(
            t=t,
            dt=dt,
            end=end,
            z=z,
            first=beginning.first,
            rows=rows,
            thetas=torch.from_numpy(due.thetas) if has_times else None,
            pairs=None if rows is None else to_device_of(z, due.positions),
            outputs=to_device_of(z, due.outputs) if has_times else None,
            keeps=self.keeps,
            graph=graph,
            before_first=beginning.before_first,
            before_stages=self.before_stages,
            before_last=self.before_last,
        )
