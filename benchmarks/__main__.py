"""Side by side: python -m benchmarks [--network simple] [--repeats 7] [--threads 2]

Every candidate has a process of its own; their repeats take turns, so that what disturbs the machine disturbs all.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.candidates import CANDIDATES, RESNET_CANDIDATES
from benchmarks.networks import WORKLOADS

BASELINE = "torchdiffeq adjoint"
PEERS = ("torchode", "torchdyn")
PACKAGES = ("torch", "torchdiffeq", *PEERS)


class Worker:
    """A candidate's process."""

    def __init__(self, workload: str, candidate: str, folder: str, threads: int) -> None:
        self.candidate = candidate
        self.facts: dict[str, Any] = {}
        self.samples: dict[str, list[float]] = {"train_ms": [], "inference_ms": []}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.worker", workload, candidate, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self.facts = self._answer()

    def measure(self, what: str) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the worker has no standard input")
        stdin.write(what + "\n")
        stdin.flush()
        for name, value in self._answer().items():
            if name in self.samples:
                self.samples[name].append(value)

    def end(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        stdout = self._process.stdout
        line = stdout.readline() if stdout else ""
        if not line:
            raise SystemExit(f"the process of {self.candidate} ended: see its message above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run(workload: str, names: list[str], repeats: int, threads: int, tolerance: float) -> dict[str, Any]:
    """Everything that was measured of one network; gradients are held against float64 at `tolerance`."""
    is_odenet = WORKLOADS[workload].model.body == "odenet"
    with tempfile.TemporaryDirectory() as folder:
        ceilings = {}
        if is_odenet:
            Worker(workload, f"reference {tolerance}", folder, threads).end()
            for precision in ("fp32", "bf16"):
                worker = Worker(workload, f"ceiling {precision}", folder, threads)
                ceilings[precision] = worker.facts["ceiling_ms"]
                worker.end()
        workers = [Worker(workload, name, folder, threads) for name in names]
        for _ in range(repeats):
            for what in ("train", "infer"):
                for worker in workers:
                    worker.measure(what)
        for worker in workers:
            worker.end()
    return {
        "network": workload,
        "ceiling_ms_per_evaluation": ceilings,
        "candidates": {worker.candidate: worker.facts | {"samples": worker.samples} for worker in workers},
    }


def table(result: dict[str, Any]) -> str:
    """The measurements of one network in Markdown."""
    candidates, ceilings = result["candidates"], result["ceiling_ms_per_evaluation"]
    lines = [
        f"### {result['network']}",
        "",
        "| candidate | training step, ms | times the baseline | of the ceiling | inference, ms "
        "| evaluations | memory, MB | gradient error | loss |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    baseline = median(candidates[BASELINE]["samples"]["train_ms"]) if BASELINE in candidates else None
    for name, facts in candidates.items():
        train, infer = facts["samples"]["train_ms"], facts["samples"]["inference_ms"]
        precision = "bf16" if name.endswith("bf16") else "fp32"
        reached = ceilings[precision] * facts["nfe_forward"] / median(train) if ceilings else None
        error = facts.get("gradient_error")
        cells = (
            name,
            spread(train),
            f"{baseline / median(train):.2f}" if baseline else "–",
            f"{reached:.0%}" if reached else "–",
            spread(infer),
            f"{facts['nfe_forward']}/{facts['nfe_backward']}" if ceilings else "–",
            f"{facts['memory_mb']:.0f}",
            f"{error:.2%}" if error is not None else "–",
            f"{facts['loss']:.4f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def spread(samples: list[float]) -> str:
    """Median, and the range around it."""
    return f"{median(samples):.0f} ({min(samples):.0f} to {max(samples):.0f})"


def conditions(repeats: int, threads: int) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "threads": threads,
        "repeats": repeats,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "load_average_at_start": os.getloadavg()[0],
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return f"{name}, {', '.join(f for f in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16') if f in flags)}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--network", action="append", choices=WORKLOADS, help="default: simple and its ResNets")
    parser.add_argument("--candidate", action="append", choices=[*CANDIDATES, *RESNET_CANDIDATES], help="default: all")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--reference", type=float, default=1e-9, help="tolerance of the float64 reference gradient")
    parser.add_argument("--out", type=Path, help="file for the measurements as JSON")
    arguments = parser.parse_args()
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if missing:
        print(f"Left out, as not installed: {', '.join(missing)} (pip install -e '.[bench]').\n")
    known = conditions(arguments.repeats, arguments.threads)
    results = []
    for network in arguments.network or ["simple", "simple-resnet", "simple-resnet-3"]:
        fitting = CANDIDATES if WORKLOADS[network].model.body == "odenet" else RESNET_CANDIDATES
        names = [name for name in fitting if name.split()[0] not in missing]
        names = [name for name in names if name in (arguments.candidate or names)]
        results.append(run(network, names, arguments.repeats, arguments.threads, arguments.reference))
        print(table(results[-1]), flush=True)
    print(json.dumps(known))
    if arguments.out:
        arguments.out.write_text(json.dumps({"conditions": known, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
