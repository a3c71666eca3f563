"""Who is compared on the small fields: each makes of a problem a subject."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from benchmarks.small import peers
from benchmarks.small.ours import Ours
from benchmarks.small.problems import Problem
from benchmarks.small.subject import Subject

Candidate = Callable[[Problem], Subject]


def _diffrax(problem: Problem, adjoint: Literal["checkpointed", "direct"]) -> Subject:
    from benchmarks.small.diffrax_subject import DiffraxSubject  # JAX is in this candidate's process alone

    return DiffraxSubject(problem, adjoint)


def _ours(is_compiled: bool = False, **solver: Any) -> Candidate:
    return partial(Ours, is_compiled=is_compiled, **solver)


BASELINE = "torchdiffeq direct"
"""What the others' times are compared with."""
CANDIDATES: dict[str, Candidate] = {
    BASELINE: partial(peers.Torchdiffeq, is_adjoint=False),
    "torchdiffeq adjoint": partial(peers.Torchdiffeq, is_adjoint=True),
    "torchdyn odeint": peers.Torchdyn,
    "torchode autodiff": partial(peers.Torchode, is_scripted=False),
    "torchode autodiff, scripted": partial(peers.Torchode, is_scripted=True),
    "diffrax": partial(_diffrax, adjoint="checkpointed"),
    "diffrax direct": partial(_diffrax, adjoint="direct"),
    "odenet direct": _ours(gradient="direct"),
    "odenet auto": _ours(gradient="auto"),
    "odenet direct, compiled": _ours(is_compiled=True, gradient="direct"),
}
"""Another library's name is its first word."""
