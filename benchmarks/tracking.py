"""What tracking costs: python -m benchmarks.tracking [--subset 2000] [--epochs 1] [--repeats 7]

The same training on real images (in the folder that ODENET_DATA names) with the same seed, as a run that is tracked in
an embedded store of its own, and by the same stages without Sacred and store; a process each, in turns. About seven
minutes on two cores, most of them for the test images.
"""

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.own_home import use_own_home
from benchmarks.report import Conditions, markdown, spread
from benchmarks.worker import Worker, parser, take_turns, use_threads
from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import run_tracked
from pipeline.device.precision import choose_device, numerics
from pipeline.plugins import registry
from pipeline.tasks.classification.task import Classification
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.training import Callback, fit
from pipeline.util.interruption import terminable
from pipeline.util.paths import home

MODEL = "odenet_simple"
MEASURES = {
    "epoch_seconds": "an epoch, as it is recorded: training and validation",
    "training_seconds": "all epochs, from the end of the first batch: with checkpoints, and the record of the metrics",
    "run_seconds": "the whole run: with loading, the test images, figures and artifacts",
}
Times = dict[str, float]


class Clock(Callback):
    """Does nothing but note the time."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.first_batch: float | None = None
        self.last_epoch = 0.0

    def batch_done(self, *_: object) -> None:
        self.first_batch = self.first_batch or time.perf_counter()

    def epoch_done(self, *_: object) -> None:
        self.last_epoch = time.perf_counter()

    def times(self, epoch_seconds: list[float], accuracy: float) -> Times:
        """What a run that ends now took, and its accuracy on the test images, by which its work can be recognised."""
        return {
            "epoch_seconds": median(epoch_seconds),
            "training_seconds": self.last_epoch - (self.first_batch or self.started),
            "run_seconds": time.perf_counter() - self.started,
            "accuracy": accuracy,
        }


class Tracked:
    """Runs of the experiment in the store of this process's home folder."""

    def __init__(self, data: str, updates: dict[str, Any]) -> None:
        self.data, self.updates = data, updates
        self.run()  # starts the server and imports what is used late

    def run(self) -> Times:
        clock = Clock()
        resolved = resolve([MODEL, self.data], self.updates)
        outcome = run_tracked(prepare(resolved.task, resolved.config), callbacks=[clock])
        if outcome.error:
            raise SystemExit(outcome.error)
        return clock.times(outcome.metrics["time.epoch_seconds"]["values"], outcome.document["result"])


class Untracked:
    """The stages of the task alone."""

    def __init__(self, data: str, updates: dict[str, Any]) -> None:
        self.config: Any = resolve([MODEL, data], updates).config
        self.run()

    def run(self) -> Times:
        clock, config, task = Clock(), self.config, Classification()
        device = choose_device(config.training)
        data = task.load_data(config).to(device)
        torch.manual_seed(config.seed)
        network = task.build_model(config, data).to(device)
        with tempfile.TemporaryDirectory(dir=home()) as folder:  # on the disk that the tracked run's is on
            checkpoint = Path(folder) / "checkpoint.pt"
            fitted = fit(network, task.objective(config, data), config.training, config.seed, checkpoint, [clock])
        with numerics(config.training, device):
            answers = task.predict(network, config, data, lambda _items: None)
        accuracy = task.scores(answers, data)["accuracy"]
        return clock.times([row["time.epoch_seconds"] for row in fitted.history], accuracy)


KINDS: dict[str, type] = {"untracked": Untracked, "tracked": Tracked}


def row(name: str, without: list[Times], with_it: list[Times]) -> tuple[str, ...]:
    """One measure in words; the two runs of a turn are compared with each other."""
    pairs = [(a[name], b[name]) for a, b in zip(without, with_it, strict=True)]
    plain, tracked = ([pair[side] for pair in pairs] for side in (0, 1))
    return (
        MEASURES[name],
        spread(plain, 2),
        spread(tracked, 2),
        spread([b - a for a, b in pairs], 2),
        spread([100 * (b / a - 1) for a, b in pairs], 2),
    )


def main() -> None:
    options = parser(__doc__, repeats=7)
    options.add_argument("--data", choices=registry.names("data set", "classification"), default="fashion_mnist")
    options.add_argument("--subset", type=int, default=2000, help="images, a fifth of them for validation")
    options.add_argument("--epochs", type=int, default=1)
    arguments = options.parse_args()
    conditions = Conditions(arguments.device, arguments.threads, arguments.repeats)
    use_threads(arguments.threads)
    updates = {
        "data": {"subset": arguments.subset},
        "training": {"max_epochs": arguments.epochs, "patience": None, "device": arguments.device},
    }
    with terminable(), tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        use_own_home(os.environ, folder)
        stack.callback(EmbeddedStore(Path(folder)).stop)  # last, once no run writes any more
        workers = {name: stack.enter_context(Worker(kind, arguments.data, updates)) for name, kind in KINDS.items()}
        answers = take_turns(workers, ["run"], arguments.repeats)
    without, with_it = answers["untracked"]["run"], answers["tracked"]["run"]
    accuracies = {times["accuracy"] for times in without + with_it}
    if len(accuracies) > 1:
        raise SystemExit(f"the runs did not do the same work: their test accuracies are {sorted(accuracies)}")
    print(f"{MODEL} {arguments.data}, {arguments.subset} images, epochs: {arguments.epochs}; seconds.\n")
    headings = ("what", "untracked", "tracked", "difference in a turn", "difference in a turn, %")
    print(markdown(headings, [row(name, without, with_it) for name in MEASURES]))
    print(conditions)


if __name__ == "__main__":
    main()
