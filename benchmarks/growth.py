"""How the time of a training step grows: python -m benchmarks.growth [--repeats 3]

One of batch, channels and tolerance varies at a time; the others stay at the main table's 128 images of 28 × 28, 64
channels and 1e-3. The candidates of a point take turns, a process each. About eight minutes on two cores.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from benchmarks.candidates import BASELINE, CANDIDATES, RESNET_CANDIDATES
from benchmarks.device import Device
from benchmarks.measured import Measured
from benchmarks.networks import GREY, Workload
from benchmarks.report import Conditions, evaluations, markdown, spread
from benchmarks.worker import Worker, parser, take_turns, use_threads
from pipeline.config import NetworkConfig


@dataclass(frozen=True)
class Point:
    """What varies."""

    batch: int = 128
    channels: int = 64
    tolerance: float = 1e-3


VALUES: dict[str, Sequence[float]] = {
    "batch": (32, 64, 128, 256),
    "channels": (16, 32, 64, 128),
    "tolerance": (1e-1, 1e-2, 1e-3, 1e-4),
}
ODENETS = {name: CANDIDATES[name] for name in (BASELINE, "odenet direct, fp32", "odenet direct, bf16")}
RESNET = "ResNet, fp32"
NAMES = (*ODENETS, RESNET)
HEADINGS = (*VALUES, *(f"{name}, ms" for name in NAMES), *(f"{BASELINE} / {name}" for name in NAMES[1:]), "evaluations")


def measure(point: Point, device: Device, repeats: int) -> tuple[str, ...]:
    """The row of one point; the evaluations are those of each ODE-Net, in their order."""
    model = NetworkConfig(channels=point.channels)
    odenet = Workload(model, GREY, point.batch, point.tolerance, device)
    resnet = replace(odenet, model=replace(model, body="resnet"))
    trained = {name: (odenet, candidate) for name, candidate in ODENETS.items()}
    trained[RESNET] = (resnet, RESNET_CANDIDATES["fp32"])
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(Measured, *what)) for name, what in trained.items()}
        facts = {name: worker.ask("describe")[0] for name, worker in workers.items()}
        answers = take_turns(workers, ["train_ms"], repeats)
    return row(point, facts, {name: answer["train_ms"] for name, answer in answers.items()})


def row(point: Point, facts: Mapping[str, Any], samples: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """One point in words."""
    baseline = median(samples[BASELINE])
    return (
        *(f"{value:g}" for value in asdict(point).values()),
        *(spread(samples[name]) for name in NAMES),
        *(f"{baseline / median(samples[name]):.2f}" for name in NAMES[1:]),
        ", ".join(evaluations(facts[name]) for name in ODENETS),
    )


def main() -> None:
    options = parser(__doc__, repeats=3)
    for name, values in VALUES.items():
        options.add_argument(
            f"--{name}", type=type(values[0]), nargs="*", default=values, help="none of them: left out"
        )
    arguments = options.parse_args()
    conditions = Conditions(arguments.device, arguments.threads, arguments.repeats)
    use_threads(arguments.threads)
    rows: dict[Point, tuple[str, ...]] = {}
    for name in VALUES:
        points = [replace(Point(), **{name: value}) for value in getattr(arguments, name)]
        for point in points:  # the centre is on every axis
            rows[point] = rows.get(point) or measure(point, arguments.device, arguments.repeats)
        if not points:
            continue
        print(f"Growth with {name}:\n\n{markdown(HEADINGS, [rows[point] for point in points])}", flush=True)
    print(conditions)


if __name__ == "__main__":
    main()
