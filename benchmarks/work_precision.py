"""What accuracy costs: python -m benchmarks.work_precision --output FIGURE.png

Solves DETEST's problems (`benchmarks.problems`) at tolerances from 1e-3 to 1e-9 with the explicit adaptive methods of
`pipeline.ode`, of torchdiffeq and of SciPy. Prints a table in Markdown of the medians over the problems, and draws
them: the error at the end time over the evaluations of the field. A few minutes on one core.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import inf, isfinite
from statistics import median

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from torch import Tensor
from torchdiffeq import odeint
from torchdiffeq._impl.odeint import SOLVERS as IN_TORCHDIFFEQ

from benchmarks.options import above_zero, file_to_write
from benchmarks.problems import DETEST, Problem, by_scipy, error, reference
from benchmarks.report import markdown
from pipeline.config import SolverConfig
from pipeline.ode import SolverFailure, integrate
from pipeline.reporting.figure_style import PALETTE, add_grid, new_figure, save_figure, write_caption

TOLERANCES = tuple(10.0**-exponent for exponent in range(3, 10))
ENOUGH = 1200
"""Evaluations in the median after which a method is asked for no more accuracy: a low order would take hours."""
TARGET = 1e-6
"""Error for which the table says what each method needs."""

Run = Callable[[Problem, float], tuple[Tensor, int]]
"""Solves a problem at a tolerance: the state at its end time, and the evaluations of its function."""


def by_odenet(method: str) -> Run:
    """With a method of our own."""

    def run(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        solver = SolverConfig(method=method, rtol=tolerance, atol=tolerance, max_steps=1_000_000)
        solution = integrate(problem.function, problem.z0, (problem.t0, problem.t1), solver)
        return solution.state, solution.statistics.nfe_forward

    return run


def by_torchdiffeq(method: str) -> Run:
    """With torchdiffeq, which counts nothing itself."""

    def run(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        evaluations = 0

        def counted(t: Tensor, z: Tensor) -> Tensor:
            nonlocal evaluations
            evaluations += 1
            return problem.function(t, z)

        times = torch.tensor([problem.t0, problem.t1], dtype=torch.float64)
        states = odeint(counted, problem.z0, times, rtol=tolerance, atol=tolerance, method=method)
        return states[-1], evaluations

    return run


def with_scipy(method: str) -> Run:
    """With SciPy."""

    def run(problem: Problem, tolerance: float) -> tuple[Tensor, int]:
        solved = by_scipy(problem, method, tolerance)
        return solved.states[-1], solved.evaluations

    return run


LIBRARIES = {"odenet": by_odenet, "torchdiffeq": by_torchdiffeq, "SciPy": with_scipy}
PANELS: dict[str, tuple[tuple[str, str], ...]] = {
    "Orders 2 and 3": (
        *(("odenet", "heun"), ("odenet", "bosh3")),
        *(("torchdiffeq", "adaptive_heun"), ("torchdiffeq", "bosh3"), ("SciPy", "RK23")),
    ),
    "Order 5": (
        *(("odenet", "dopri5"), ("odenet", "tsit5")),
        *(("torchdiffeq", "dopri5"), ("torchdiffeq", "tsit5"), ("SciPy", "RK45")),
    ),
    "Order 8": (("odenet", "dopri8"), ("torchdiffeq", "dopri8"), ("SciPy", "DOP853")),
}
"""Library and method; those that the torchdiffeq which is installed lacks are left out."""


@dataclass(frozen=True)
class Point:
    """Medians over the problems."""

    evaluations: float
    error: float


Curve = Mapping[float, Point]
"""Tolerance -> what it led to."""


def curve(run: Run, problems: Sequence[Problem], tolerances: Sequence[float], name: str) -> Curve:
    """A method's points from the loosest tolerance on, until it has taken evaluations enough."""
    points: dict[float, Point] = {}
    for tolerance in sorted(tolerances, reverse=True):
        solved = [attempt(run, problem, tolerance, name) for problem in problems]
        points[tolerance] = Point(median(work for work, _ in solved), median(off for _, off in solved))
        if points[tolerance].evaluations > ENOUGH:
            break
    return points


def attempt(run: Run, problem: Problem, tolerance: float, name: str) -> tuple[float, float]:
    """Evaluations and error; of a solve that fails, more than of any other."""
    try:
        with torch.no_grad():
            state, evaluations = run(problem, tolerance)
    except (SolverFailure, AssertionError, ArithmeticError) as failure:  # torchdiffeq asserts that its steps are some
        print(f"{name} on {problem} at {tolerance:g}: {failure}", file=sys.stderr)
        return inf, inf
    off = error(state[None], reference(problem, (problem.t0, problem.t1))[-1:])
    return evaluations, off if isfinite(off) else inf


def evaluations_for(points: Curve, target: float) -> float | None:
    """For an error of `target`, between two points of the curve; None outside of it."""
    known = sorted((p.error, p.evaluations) for p in points.values() if isfinite(p.error) and p.error > 0)
    if not known or not known[0][0] <= target <= known[-1][0]:
        return None
    errors, evaluations = np.log(known).T
    return float(np.exp(np.interp(np.log(target), errors, evaluations)))


def table(curves: Mapping[tuple[str, str], Curve], tolerances: Sequence[float]) -> str:
    """Evaluations and error of each method at each tolerance."""
    ordered = sorted(tolerances, reverse=True)
    rows = []
    for (library, method), points in curves.items():
        found = [points.get(tolerance) for tolerance in ordered]
        cells = [f"{point.evaluations:.0f}: {point.error:.1e}" if point else "–" for point in found]
        needed = evaluations_for(points, TARGET)
        rows.append((f"{library} {method}", *cells, f"{needed:.0f}" if needed else "–"))
    return markdown(("evaluations: error", *(f"{t:.0e}" for t in ordered), f"for an error of {TARGET:.0e}"), rows)


def figure(curves: Mapping[tuple[str, str], Curve], problems: Sequence[Problem]) -> Figure:
    """A panel for methods of like order; a colour for each library, a mark for each of its methods."""
    drawn, axes = new_figure(13, 4.8, "What accuracy costs", columns=len(PANELS))
    colours = dict(zip(LIBRARIES, PALETTE, strict=False))
    for ax, (title, members) in zip(axes, PANELS.items(), strict=True):
        used: dict[str, int] = {}
        for library, method in members:
            if (library, method) not in curves:
                continue
            style = used[library] = used.get(library, -1) + 1
            points = [p for p in curves[library, method].values() if isfinite(p.error)]
            ax.loglog(
                [p.evaluations for p in points],
                [p.error for p in points],
                color=colours[library],
                marker="os"[style],
                linestyle=("-", "--")[style],
                markersize=5,
                label=f"{library} {method}",
            )
        ax.set_title(title, loc="left", fontsize=11)
        ax.set_xlabel("evaluations of the field")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.legend(frameon=False, fontsize=9)
        add_grid(ax)
    axes[0].set_ylabel("error at the end time")
    for ax in axes[1:]:
        ax.sharey(axes[0])
    names = f"DETEST's {len(problems)} problems" if len(problems) == len(DETEST) else ", ".join(map(str, problems))
    captions = (
        f"Medians over {names}: a mark for each tolerance, until a method has taken {ENOUGH} evaluations.",
        "Error: the largest of any component, beside the largest component of the solution where that is above 1.",
    )
    write_caption(drawn, captions)
    return drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve, print and draw."""
    names = {problem.name: problem for problem in DETEST}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=file_to_write, required=True, help="file for the figure")
    parser.add_argument("--problem", action="append", choices=names, help="default: all of DETEST")
    parser.add_argument("--tolerances", type=above_zero, nargs="+", default=TOLERANCES, help="default: 1e-3 to 1e-9")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    problems = [names[name] for name in options.problem or names]
    curves = {}
    for library, method in (member for members in PANELS.values() for member in members):
        if library == "torchdiffeq" and method not in IN_TORCHDIFFEQ:
            continue
        name = f"{library} {method}"
        curves[library, method] = curve(LIBRARIES[library](method), problems, options.tolerances, name)
        print(f"{name}: done", file=sys.stderr, flush=True)
    print(table(curves, options.tolerances))
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "torchdiffeq", "scipy")))
    save_figure(figure(curves, problems), options.output)


if __name__ == "__main__":
    main()
