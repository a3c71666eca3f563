"""Small fields on the clock of a GPU: python -m benchmarks.gpu.small_fields --out small_fields.json

Forward and backward of a perceptron, a flow and a latent ODE, whose kernels are shorter than their launches. Every
candidate has a process of its own; their repeats take turns.
"""

import json
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.device import Device, Stopwatch
from benchmarks.options import above_zero
from benchmarks.report import Conditions, evaluations, markdown, spread
from benchmarks.small import peers
from benchmarks.small.candidates import BASELINE, Candidate
from benchmarks.small.ours import Ours
from benchmarks.small.problems import PROBLEMS, Problem
from benchmarks.small.reference import exact_gradient
from benchmarks.worker import Worker, apart, parser, take_turns, use_threads
from pipeline.ode.stepping.graphs import GraphWarning

TURN_S = 0.5
"""How long a turn lasts, of which a sample is the mean."""
NETWORKS = ("mlp-2", "mlp-64", "latent-ode", "hutchinson")
HEADINGS = (
    *("candidate", "forward and backward, ms", "µs an evaluation", "times torchdiffeq", "evaluations"),
    *("gradient error", "first step, s"),
)
CANDIDATES: dict[str, Candidate] = {
    BASELINE: partial(peers.Torchdiffeq, is_adjoint=False),
    "torchdiffeq adjoint": partial(peers.Torchdiffeq, is_adjoint=True),
    "odenet direct": partial(Ours, gradient="direct"),
    "odenet direct, compiled": partial(Ours, is_compiled=True, gradient="direct"),
    "odenet direct, CUDA graphs": partial(Ours, has_graphs=True, gradient="direct"),
    "odenet direct, compiled, CUDA graphs": partial(Ours, is_compiled=True, has_graphs=True, gradient="direct"),
}


class Measured:
    """A candidate whose code is warm, and whose times can be taken."""

    def __init__(self, problem: Problem, candidate: Candidate) -> None:
        warnings.simplefilter("error", GraphWarning)  # what is measured is to be what it is called
        self._device, self._subject = problem.device, candidate(problem)
        started = time.perf_counter()
        self._subject.step()
        self.facts: dict[str, Any] = {"first_step_s": time.perf_counter() - started}
        self._subject.step()
        self._gradient = self._subject.gradient()
        self.facts["nfe_forward"], self.facts["nfe_backward"] = self._subject.evaluations()
        self._steps = max(1, ceil(1000 * TURN_S / self._of(3)))

    def describe(self) -> tuple[dict[str, Any], np.ndarray]:
        """The facts and the gradient."""
        return self.facts, self._gradient

    def ms(self) -> float:
        """Of a step, forward and backward, by the clock."""
        self._subject.step()
        return self._of(self._steps)

    def _of(self, steps: int) -> float:
        stopwatch = Stopwatch(self._device)
        for _ in range(steps):
            self._subject.step()
        return stopwatch.milliseconds() / steps


def measure(network: str, device: Device, repeats: int, reference: float) -> dict[str, dict[str, Any]]:
    """Candidate -> its facts; gradients are held against float64 at tolerance `reference`, on the CPU."""
    problem = PROBLEMS[network]
    exact = apart(exact_gradient, problem, reference)
    known = {name: one for name, one in CANDIDATES.items() if device == "cuda" or "CUDA graphs" not in name}
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        there = replace(problem, device=device)
        workers = {name: stack.enter_context(Worker(Measured, there, one)) for name, one in known.items()}
        for name, worker in workers.items():
            facts, gradient = worker.ask("describe")
            found[name] = facts | {"gradient_error": float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))}
        for name, samples in take_turns(workers, ["ms"], repeats).items():
            found[name] |= samples
    return found


def table(network: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a candidate, in Markdown; an evaluation is one on the way forward."""
    baseline = median(found[BASELINE]["ms"])
    rows = [
        (
            name,
            spread(facts["ms"], 2),
            f"{1000 * median(facts['ms']) / facts['nfe_forward']:.0f}",
            f"{baseline / median(facts['ms']):.2f}",
            evaluations(facts),
            f"{facts['gradient_error']:.1e}",
            f"{facts['first_step_s']:.1f}",
        )
        for name, facts in found.items()
    ]
    return f"### {network}\n\n" + markdown(HEADINGS, rows)


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--network", action="append", choices=NETWORKS, help="default: all")
    options.add_argument("--reference", type=above_zero, default=1e-7, help="tolerance of the float64 reference")
    options.add_argument("--out", type=Path, required=True)
    arguments = options.parse_args()
    conditions = Conditions(arguments.device, arguments.threads, arguments.repeats)
    use_threads(arguments.threads)
    facts, texts = {}, []
    for network in arguments.network or NETWORKS:
        facts[network] = measure(network, arguments.device, arguments.repeats, arguments.reference)
        texts.append(table(network, facts[network]))
        print(texts[-1], flush=True)
        text = "\n".join([*texts, str(conditions)]) + "\n"
        found = {"conditions": conditions.to_dict(), "facts": facts, "markdown": text}
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(conditions)


if __name__ == "__main__":
    main()
