"""A problem in one library's hands, ready to be timed."""

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.small.problems import Problem, State


class Subject(Protocol):
    """Somebody's solve of a problem, and its gradient."""

    def step(self) -> float:
        """Forward and backward once; the loss."""

    def gradient(self) -> np.ndarray:
        """Of the field's parameters after a step, in float64 and torch's order."""

    def evaluations(self) -> tuple[int, int]:
        """Of the field, forward and backward, by a step that is not timed."""

    def take(self, weights: Tensor, start: State) -> None:
        """Go on with these weights of the field and from this state."""


class TorchSubject(ABC):
    """With a field of torch.

    Attributes:
        called: the module that the library calls, which a hook counts.
    """

    def __init__(self, problem: Problem) -> None:
        self.field, self.start, self.tolerance = problem.field(), problem.start(), problem.tolerance
        self.times = torch.tensor(problem.times, device=problem.device)
        self.called: nn.Module = self.field
        self._loss = problem.loss

    @abstractmethod
    def solve(self) -> State:
        """The states at the output times."""

    def step(self) -> float:
        self.field.zero_grad()
        loss = self._loss(self.solve())
        loss.backward()
        return float(loss.detach())

    def gradient(self) -> np.ndarray:
        found = [p.grad.flatten().double() for p in self.field.parameters() if p.grad is not None]
        return torch.cat(found).cpu().numpy()

    def evaluations(self) -> tuple[int, int]:
        calls: list[None] = []
        counter = self.called.register_forward_hook(lambda *_: calls.append(None))
        loss = self._loss(self.solve())
        forward = len(calls)
        loss.backward()
        counter.remove()
        return forward, len(calls) - forward

    def take(self, weights: Tensor, start: State) -> None:
        nn.utils.vector_to_parameters(weights.detach().clone(), self.field.parameters())
        self.start = start
