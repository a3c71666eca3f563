"""The weights of a field that is trained before it is timed."""

import numpy as np
import torch
from torch import nn

from benchmarks.small.candidates import Candidate
from benchmarks.small.problems import Problem
from benchmarks.worker import use_threads


def trained(problem: Problem, candidate: Candidate, iterations: int, learning_rate: float = 1e-3) -> np.ndarray:
    """After so many iterations of Adam, each with points of its own; in torch's order."""
    use_threads(1)
    subject = candidate(problem)
    weights = nn.utils.parameters_to_vector(problem.field().parameters()).detach().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=learning_rate)
    for iteration in range(iterations):
        subject.take(weights, problem.start(seed=1 + iteration))
        subject.step()
        weights.grad = torch.from_numpy(subject.gradient()).float()
        optimizer.step()
    return weights.detach().numpy()
