"""Memory of a training step against tolerance: python -m benchmarks.memory [--batch 32] [--channels 64]

The papers' point in favour of the adjoint is that its memory does not grow with the number of steps. Beside it stand
the gradients through the solver's own steps, kept whole or checkpointed, and the ResNet of the same block. Every number
is of a process of its own. About three minutes on two cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.candidates import CANDIDATES, RESNET_CANDIDATES, Candidate
from benchmarks.measured import Measured
from benchmarks.networks import GREY, Workload
from benchmarks.report import Conditions, evaluations, markdown
from benchmarks.worker import Worker, parser, use_threads
from pipeline.config import NetworkConfig
from pipeline.reporting.figure_style import PALETTE, add_grid, new_figure, save_figure, write_caption

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
GRADIENTS = {name: CANDIDATES[f"odenet {name}, fp32"] for name in ("direct", "checkpointed", "adjoint")}
HEADINGS = (
    *("tolerance", *(f"{name}, MB" for name in GRADIENTS), "ResNet, MB"),
    *("checkpointed/direct", "evaluations", "gradients apart"),
)


def measure(workload: Workload, candidate: Candidate) -> tuple[dict[str, Any], np.ndarray]:
    """Facts and gradient of a candidate, `memory_mb` among them."""
    with Worker(Measured, workload, candidate) as worker:
        described: tuple[dict[str, Any], np.ndarray] = worker.ask("describe")
        return described


def row(tolerance: float, facts: dict[str, dict[str, Any]], apart: float, resnet_mb: float) -> tuple[str, ...]:
    """One tolerance in words; the evaluations are those of each gradient, in its order."""
    memory = {name: known["memory_mb"] for name, known in facts.items()}
    return (
        f"{tolerance:.0e}",
        *(f"{memory[name]:.1f}" for name in GRADIENTS),
        f"{resnet_mb:.1f}",
        f"{memory['checkpointed'] / memory['direct']:.2f}",
        ", ".join(evaluations(known) for known in facts.values()),
        f"{apart:.1e}",
    )


def draw(memory: dict[str, list[float]], caption: str, path: Path) -> None:
    """A line for each way, over tolerance."""
    figure, (ax,) = new_figure(8, 5, "Memory of a training step")
    for (name, values), colour in zip(memory.items(), PALETTE, strict=False):
        ax.plot(TOLERANCES, values, marker="o", color=colour, label=name)
    ax.set(xscale="log", yscale="log", xlabel="Tolerance (rtol = atol)", ylabel="Memory that a step takes, MB")
    ax.invert_xaxis()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(framealpha=0.9, edgecolor="none")
    add_grid(ax)
    write_caption(figure, [caption])
    save_figure(figure, path)


def main() -> None:
    options = parser(__doc__, repeats=None)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--channels", type=int, default=64)
    options.add_argument("--figure", type=Path, help="file for a picture of it, as PNG")
    arguments = options.parse_args()
    conditions = Conditions(arguments.device, arguments.threads)
    use_threads(arguments.threads)
    odenet = Workload(NetworkConfig(channels=arguments.channels), GREY, arguments.batch, device=arguments.device)
    resnet = replace(odenet, model=replace(odenet.model, body="resnet"))
    resnet_mb = measure(resnet, RESNET_CANDIDATES["fp32"])[0]["memory_mb"]
    memory: dict[str, list[float]] = {name: [] for name in GRADIENTS}
    rows = []
    for tolerance in TOLERANCES:
        workload = replace(odenet, tolerance=tolerance)
        found = {name: measure(workload, candidate) for name, candidate in GRADIENTS.items()}
        direct, checkpointed = found["direct"][1], found["checkpointed"][1]
        apart = float(np.abs(checkpointed - direct).max() / np.abs(direct).max())
        facts = {name: known for name, (known, _) in found.items()}
        rows.append(row(tolerance, facts, apart, resnet_mb))
        for name, known in facts.items():
            memory[name].append(known["memory_mb"])
    network = f"Simple ODE-Net, {arguments.channels} channels, {arguments.batch} images of 28 × 28, dopri5, fp32"
    print(f"{network}; evaluations of {', '.join(GRADIENTS)}; n = 1.\n")
    print(markdown(HEADINGS, rows))
    print(f"checkpointed/direct at {TOLERANCES[-1]:.0e}: {memory['checkpointed'][-1] / memory['direct'][-1]:.3f}\n")
    print(conditions)
    if arguments.figure:
        draw(memory | {"ResNet": [resnet_mb] * len(TOLERANCES)}, f"{network}.", arguments.figure)


if __name__ == "__main__":
    main()
