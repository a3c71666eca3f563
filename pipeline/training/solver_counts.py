"""What the solves of an epoch's training batches cost."""

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from pipeline.device.workers import Workers
from pipeline.ode.counts import nfe_backward, nfe_forward, nfe_per_sample, ode_blocks, rejected_steps
from pipeline.training.fitted import Fitted


class BatchCounts(NamedTuple):
    """Of one batch, or of some of its items.

    Attributes:
        nfe_backward: not a number where the backward pass makes no evaluations of its own.
        samples: that have steps of their own.
        nfe_of_samples: the evaluations that each of them took part in, added up.
        error_ratio: the largest of an accepted step.
    """

    nfe_forward: float
    nfe_backward: float
    rejected: float
    samples: float
    nfe_of_samples: float
    error_ratio: float


class SolverCounts:
    """Of the batches of an epoch: added up part by part, nothing for a network that is not solved.

    An evaluation of the field counts once for a batch, whichever parts it is computed in: of their evaluations those
    of the part with the most count. Rejected steps are added up where each item has steps of its own.
    """

    def __init__(self, model: nn.Module) -> None:
        self._blocks = ode_blocks(model)
        self._parts: list[BatchCounts] = []
        self._batches: list[BatchCounts] = []
        self._solves: list[list[dict[str, Any]]] = []
        """Of the batch's part with the most steps, of those that this process has."""
        self._first_solves: list[list[dict[str, Any]]] = []

    def add_part(self) -> None:
        """Take the last forward and backward pass into account."""
        forward, rejected = nfe_forward(self._blocks), rejected_steps(self._blocks)
        if forward is None or rejected is None:
            return
        backward, of_samples = nfe_backward(self._blocks), nfe_per_sample(self._blocks) or []
        statistics = [block.statistics for block in self._blocks]
        self._parts.append(
            BatchCounts(
                forward,
                math.nan if backward is None else backward,
                rejected,
                len(of_samples),
                sum(of_samples),
                max(solve.largest_error_ratio() for solve in statistics),
            )
        )
        solves = [[attempt.to_dict() for attempt in solve.attempts] for solve in statistics]
        if len(self._parts) == 1 or sum(map(len, solves)) > sum(map(len, self._solves)):
            self._solves = solves

    def end_batch(self) -> None:
        """All of its parts were added."""
        if self._parts:
            self._batches.append(merged(self._parts))
            self._first_solves = self._first_solves or self._solves
            self._parts = []

    def add_to(self, fitted: Fitted, workers: Workers | None) -> None:
        """Add the epoch's batches, all of which have ended, to those of the epochs before; of all workers together."""
        for batch in self._batches if workers is None or not self._batches else _of_all(self._batches, workers):
            fitted.batch_nfe_forward.append(int(batch.nfe_forward))
            if not math.isnan(batch.nfe_backward) or fitted.batch_nfe_backward:
                fitted.batch_nfe_backward.append(0 if math.isnan(batch.nfe_backward) else int(batch.nfe_backward))
            fitted.batch_rejected.append(int(batch.rejected))
            if batch.samples:
                fitted.batch_nfe_per_image.append(batch.nfe_of_samples / batch.samples)
            fitted.batch_error_ratio.append(batch.error_ratio)
        if self._batches:
            fitted.first_solves = fitted.first_solves or self._first_solves
            fitted.last_solves = self._solves


def merged(parts: list[BatchCounts]) -> BatchCounts:
    """Those of all parts of a batch together."""
    if len(parts) == 1:
        return parts[0]
    forward, backward, rejected, samples, of_samples, ratio = zip(*parts, strict=True)
    return BatchCounts(
        max(forward),
        max(backward, key=lambda count: -1 if math.isnan(count) else count),
        sum(rejected) if sum(samples) else max(rejected),
        sum(samples),
        sum(of_samples),
        max(ratio),
    )


def _of_all(batches: list[BatchCounts], workers: Workers) -> list[BatchCounts]:
    """The counts of whole batches, of each of which this process has some items."""
    of_all = workers.gather(torch.tensor(batches, dtype=torch.float64)).transpose(0, 1).tolist()
    return [merged([BatchCounts(*counts) for counts in of_batch]) for of_batch in of_all]
