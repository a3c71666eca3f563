"""Measurements of the small fields, and their table."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from benchmarks.report import evaluations, markdown, spread
from benchmarks.small.candidates import BASELINE, CANDIDATES, candidates
from benchmarks.small.measured import measure_in_turns
from benchmarks.small.problems import PROBLEMS, Problem
from benchmarks.small.reference import exact_gradient
from benchmarks.small.training import trained
from benchmarks.worker import apart

HEADINGS = (
    *("candidate", "forward and backward, CPU ms", "µs an evaluation", "times torchdiffeq", "evaluations"),
    *("gradient error", "first step, s"),
)


def run(network: str, names: Sequence[str], repeats: int, reference: float, iterations: int) -> dict[str, Any]:
    """Everything that is measured of one field; gradients are held against float64 at tolerance `reference`.

    Args:
        iterations: for which a field that learns is trained first.
    """
    problem = PROBLEMS[network]
    if problem.learns:
        problem = _trained(problem, iterations)
    known = candidates(network)
    exact = apart(exact_gradient, problem, reference)
    results = measure_in_turns(problem, {name: known[name] for name in names}, exact, repeats)
    return {"iterations": iterations if problem.learns else None, "candidates": results}


def _trained(problem: Problem, iterations: int) -> Problem:
    """With weights for all candidates, from the one that is likely to be the quickest."""
    quickest = "diffrax" if importlib.util.find_spec("diffrax") else BASELINE
    return replace(problem, weights=apart(trained, problem, CANDIDATES[quickest], iterations))


def table(network: str, result: dict[str, Any], baseline_name: str = BASELINE) -> str:
    """The measurements of one field in Markdown; an evaluation is one on the way forward.

    Args:
        baseline_name: of the candidate of torchdiffeq that the others are compared with.
    """
    results = result["candidates"]
    baseline = median(results[baseline_name]["cpu_ms"]) if baseline_name in results else None
    rows = []
    for name, facts in results.items():
        step = median(facts["cpu_ms"])
        row = (
            name,
            spread(facts["cpu_ms"], 2),
            f"{1000 * step / facts['nfe_forward']:.0f}",
            f"{baseline / step:.2f}" if baseline else "–",
            evaluations(facts),
            f"{facts['gradient_error']:.1e}",
            f"{facts['first_step_s']:.1f}",
        )
        rows.append(row)
    training = f", after {result['iterations']} iterations of training" if result["iterations"] else ""
    return f"### {network}{training}; CPU time of one thread\n\n" + markdown(HEADINGS, rows)
