"""One picture of what was measured: python -m benchmarks.overview measured.json … --output FIGURE.png

Draws, for every network in files of `python -m benchmarks --out`, how many times as quick as torchdiffeq's direct
gradient each candidate is, forward and backward.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes

from pipeline.reporting.figure_style import PALETTE, add_grid, new_figure, save_figure, write_caption

COLUMNS = 2
BASELINE = "torchdiffeq direct"
OURS, PEERS = PALETTE[0], PALETTE[1]


def ratios(candidates: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Candidate -> how many times as quick as the baseline it is, by its median."""
    times = {name: median(facts.get("cpu_ms") or facts["train_ms"]) for name, facts in candidates.items()}
    return {name: times[BASELINE] / time for name, time in times.items()}


def draw(axes: Axes, network: str, candidates: Mapping[str, Mapping[str, Any]]) -> None:
    """Bars of one network, the slowest at the bottom."""
    found = sorted(ratios(candidates).items(), key=lambda pair: pair[1])
    names, values = [name for name, _ in found], [value for _, value in found]
    colours = [OURS if name.startswith("odenet") else PEERS for name in names]
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_title(network, loc="left", fontsize=11)
    axes.set_xlim(0, 1.15 * max(values))
    add_grid(axes)
    axes.set_axisbelow(True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    files: Sequence[Mapping[str, Any]] = [json.loads(path.read_text()) for path in arguments.measured]
    results = [result for file in files for result in file["results"] if BASELINE in result["candidates"]]
    rows = -(-len(results) // COLUMNS)
    height = 1.0 + rows * (0.6 + 0.24 * max(len(result["candidates"]) for result in results))
    title = "Forward and backward, in multiples of torchdiffeq's direct gradient"
    figure, panels = new_figure(11, height, title, COLUMNS, rows)
    for panel in panels[len(results) :]:
        panel.remove()
    for panel, result in zip(panels, results, strict=False):
        draw(panel, result["network"], result["candidates"])
    write_caption(figure, ["Longer is quicker. Medians of candidates in turns; conditions beside the tables."])
    save_figure(figure, arguments.output)


if __name__ == "__main__":
    main()
