"""Tables in Markdown, and the conditions below them."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import torch

from benchmarks.device import Device
from pipeline.device import processor

PACKAGES = ("torch", "torchdiffeq", "torchode", "torchdyn", "diffrax", "jax")


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all but its first column are numbers."""
    sides = ["---"] + ["--:"] * (len(headings) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, sides, *rows)) + "\n"


def spread(samples: Sequence[float], digits: int = 0) -> str:
    """Median, and the range around it."""
    middle, low, high = (f"{value:.{digits}f}" for value in (median(samples), min(samples), max(samples)))
    return f"{middle} ({low} to {high})"


def evaluations(facts: Mapping[str, int]) -> str:
    """Forward, and behind a stroke backward where there are any."""
    return f"{facts['nfe_forward']}/{facts['nfe_backward']}" if facts["nfe_backward"] else str(facts["nfe_forward"])


class Conditions:
    """What numbers depend on; made before anything is measured, as it notes the load."""

    def __init__(self, device: Device, threads: int, repeats: int = 1) -> None:
        self.device, self.threads, self.repeats = device, threads, repeats
        self.load_at_start = os.getloadavg()[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": f"{processor.name()} ({', '.join(processor.instructions())})",
            "gpu": gpu() if self.device == "cuda" else None,
            "threads": self.threads,
            "repeats": self.repeats,
            "python": platform.python_version(),
            "versions": {name: found for name in PACKAGES if (found := _version(name))},
            "load_at_start": self.load_at_start,
            "load_at_end": os.getloadavg()[0],
        }

    def __str__(self) -> str:
        known = self.to_dict()
        packages = "".join(f", {name} {found}" for name, found in known["versions"].items())
        measured_on = f"{known['gpu']}; " if known["gpu"] else ""
        return (
            f"n = {self.repeats}; {measured_on}threads: {self.threads}; {known['processor']}; "
            f"Python {known['python']}{packages}; {known['date']}; "
            f"load average {self.load_at_start:.1f} before, {known['load_at_end']:.1f} after it."
        )


def gpu() -> str:
    """Its name, and the versions that decide about its speed."""
    from pipeline.tracking.provenance import machine  # with Sacred, which no process that is measured needs

    known = machine()
    return f"{torch.cuda.get_device_name()} (driver {known['driver']}, CUDA {known['cuda']}, cuDNN {known['cudnn']})"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
