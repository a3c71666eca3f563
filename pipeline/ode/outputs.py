"""The states that a solve is asked for on its way."""

import torch
from torch import Tensor

from pipeline.ode.problem import Problem
from pipeline.ode.vector import Due, Indices, to_device_of


class Outputs:
    """Takes the states as the solve comes by them: of the whole batch in turn, of samples as each gets there."""

    def __init__(self, problem: Problem, z: Tensor) -> None:
        """
        Args:
            z: the state at the start, shape (batch, …).
        """
        times = sum(len(leg.outputs) + (leg.output is not None) for leg in problem.legs)
        self._of_samples = z.new_empty((times, *z.shape)) if problem.per_sample else None
        self._in_turn: list[Tensor] = []

    def add(self, states: Tensor) -> None:
        """States of the whole batch, shape (times, *state)."""
        if len(states):
            self._in_turn.append(states)

    def add_pairs(self, states: Tensor, due: Due, samples: Indices) -> None:
        """A state of a sample for each of the times, shape (pairs, …)."""
        assert self._of_samples is not None
        self._of_samples[to_device_of(states, due.outputs), to_device_of(states, samples)] = states

    def add_end(self, output: int, z: Tensor) -> None:
        """The state of all at the end of a leg."""
        if self._of_samples is None:
            self._in_turn.append(z.unsqueeze(0))
        else:
            self._of_samples[output] = z

    def all(self) -> Tensor | None:
        """Shape (times, *state); None without any."""
        if self._in_turn:
            return torch.cat(self._in_turn)
        return self._of_samples if self._of_samples is not None and len(self._of_samples) else None
