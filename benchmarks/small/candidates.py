"""Who is compared on the small fields: each makes of a problem a subject."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from benchmarks.small import peers
from benchmarks.small.fields import EstimatedBackwards, PlanarByBatches
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
OF_PROBLEMS: dict[str, dict[str, Candidate]] = {
    "cnf": CANDIDATES
    | {
        "torchdiffeq example": partial(peers.Torchdiffeq, is_adjoint=False, written=PlanarByBatches),
        "torchdiffeq example, adjoint": partial(peers.Torchdiffeq, is_adjoint=True, written=PlanarByBatches),
    },
    "hutchinson": {
        BASELINE: partial(peers.Torchdiffeq, is_adjoint=False, written=EstimatedBackwards),
        "torchdiffeq adjoint": partial(peers.Torchdiffeq, is_adjoint=True, written=EstimatedBackwards),
        "odenet direct, backwards": _ours(gradient="direct", written=EstimatedBackwards),
        "odenet direct": _ours(gradient="direct"),
        "odenet direct, compiled": _ours(is_compiled=True, gradient="direct"),
    },
}
"""Where a problem has others than those of all."""


def candidates(network: str) -> dict[str, Candidate]:
    """Those of a small field, by name."""
    return OF_PROBLEMS.get(network, CANDIDATES)


def all_names() -> list[str]:
    """Of the candidates of any small field."""
    return list(dict.fromkeys(name for known in (CANDIDATES, *OF_PROBLEMS.values()) for name in known))
