"""The gradient that others are held against: the steps of torchdiffeq's dopri5, differentiated in float64."""

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.small.problems import Problem


def exact_gradient(problem: Problem, tolerance: float) -> np.ndarray:
    """Of the field's parameters, in torch's order; steps end at the output times, so that nothing is interpolated."""
    from torchdiffeq import odeint

    field, start = problem.field().double(), problem.start()
    times = torch.tensor(problem.times, dtype=torch.float64)
    doubled = start.double() if isinstance(start, Tensor) else tuple(part.double() for part in start)
    options = {"step_t": times[1:-1]}
    states = odeint(field, doubled, times, rtol=tolerance, atol=tolerance, method="dopri5", options=options)
    problem.loss(states).backward()
    return nn.utils.parameters_to_vector([p.grad for p in field.parameters()]).numpy()
