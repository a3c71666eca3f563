"""Who is compared on the training step of a latent ODE, and their measurements."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.latent.problem import NOISE, LatentProblem
from benchmarks.latent.torch_subjects import Ours, Torchdiffeq
from benchmarks.small.measured import measure_in_turns
from benchmarks.worker import apart, use_threads

Candidate = Callable[[LatentProblem], Any]
NETWORK = "latent-training"
BASELINE = "torchdiffeq example"
"""What the others' times are compared with: its tolerances are 1e-7 and 1e-9."""
TRAINING_RATE = 1e-2


def _diffrax(problem: LatentProblem, is_per_series: bool) -> Any:
    from benchmarks.latent.diffrax_subject import DiffraxSubject  # JAX is in this candidate's process alone

    return DiffraxSubject(problem, 1e-5, is_per_series)


CANDIDATES: dict[str, Candidate] = {
    BASELINE: partial(Torchdiffeq, rtol=1e-7, atol=1e-9, is_adjoint=False),
    "torchdiffeq example at 1e-5": partial(Torchdiffeq, rtol=1e-5, atol=1e-5, is_adjoint=False),
    "torchdiffeq example at 1e-5, adjoint": partial(Torchdiffeq, rtol=1e-5, atol=1e-5, is_adjoint=True),
    "diffrax at 1e-5": partial(_diffrax, is_per_series=False),
    "diffrax at 1e-5, steps per series": partial(_diffrax, is_per_series=True),
    "odenet at 1e-5": partial(Ours, rtol=1e-5, atol=1e-5),
    "odenet at 1e-5, compiled": partial(Ours, rtol=1e-5, atol=1e-5, is_compiled=True),
    "odenet at 1e-7 and 1e-9, compiled": partial(Ours, rtol=1e-7, atol=1e-9, is_compiled=True),
}
"""Another library's name is its first word."""


def run(names: Sequence[str], repeats: int, reference: float, iterations: int) -> dict[str, Any]:
    """Everything that is measured; gradients are held against float64 at tolerance `reference`.

    Args:
        iterations: of training, after which the weights are those that are timed.
    """
    problem = replace(LatentProblem(), weights=apart(trained, iterations))
    exact = apart(exact_gradient, problem, reference)
    results = measure_in_turns(problem, {name: CANDIDATES[name] for name in names}, exact, repeats)
    return {"iterations": iterations, "candidates": results}


def trained(iterations: int) -> np.ndarray:
    """The weights after so many steps of Adam, in the order of the plain model; all series are in each of them."""
    use_threads(1)
    problem = LatentProblem()
    subject = Ours(problem, 1e-5, 1e-5)
    weights = nn.utils.parameters_to_vector(problem.model().parameters()).detach().requires_grad_()
    optimiser = torch.optim.Adam([weights], lr=TRAINING_RATE)
    for _ in range(iterations):
        subject.take(weights)
        subject.step()
        weights.grad = torch.from_numpy(subject.gradient()).float()
        optimiser.step()
    return weights.detach().numpy()


def exact_gradient(problem: LatentProblem, tolerance: float) -> np.ndarray:
    """Of the weights, by torchdiffeq's dopri5 in float64, with steps that end at the output times."""
    from torchdiffeq import odeint

    model, (values, times, draw) = (
        problem.model().double(),
        (tensor.double() for tensor in (problem.values, problem.times, problem.draw)),
    )
    options = {"step_t": times[1:-1]}

    def solve(field: nn.Module, z0: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
        return odeint(field, z0, moments, rtol=tolerance, atol=tolerance, method="dopri5", options=options)

    model.loss(values, times, draw, NOISE, solve).backward()
    return nn.utils.parameters_to_vector([p.grad for p in model.parameters()]).numpy()
