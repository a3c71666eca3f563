"""A process with one candidate: waits to be told, measures once, answers in a line of JSON."""

import json
import sys
from pathlib import Path

import torch

from benchmarks.candidates import CANDIDATES, RESNET_CANDIDATES, Training, ceiling, exact_gradient
from benchmarks.networks import WORKLOADS


def main(workload_name: str, candidate_name: str, folder: str) -> None:
    """Serve `train`, `infer`, `memory` and `end` from standard input."""
    workload, reference = WORKLOADS[workload_name], Path(folder) / "gradient.pt"
    if candidate_name.startswith("reference"):
        torch.save(exact_gradient(workload, float(candidate_name.split()[1])), reference)
        answer({})
        return
    if candidate_name.startswith("ceiling"):
        answer(ceiling(workload, "bf16" if candidate_name.endswith("bf16") else "fp32"))
        return
    training = Training(workload, (CANDIDATES | RESNET_CANDIDATES)[candidate_name])
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high water mark begins anew
    warm_up = training.step()
    facts = warm_up | {"memory_mb": memory_mb("VmHWM") - before}
    if training.fields and reference.exists():
        exact = torch.load(reference, weights_only=True)
        facts["gradient_error"] = float((training.gradient() - exact).norm() / exact.norm())
    training.inference()
    answer(facts)
    for line in sys.stdin:
        answer(training.step() if line.strip() == "train" else training.inference())


def memory_mb(key: str) -> float:
    """VmRSS, the memory in use, or VmHWM, its high water mark."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def answer(facts: dict[str, float]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
