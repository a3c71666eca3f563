"""What it costs to watch a training: python -m benchmarks.live_metrics [--subset 2000] [--epochs 3] [--repeats 7]

The same tracked training with the same seed, with and without the thread that records the loss of single steps and how
busy the machine is; a process each, in turns. Where other programs run, differences between epochs are larger than this
cost; so the processor time of the thread is measured, too, and what the callback takes of the training's own thread.
"""

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.own_home import use_own_home
from benchmarks.report import Conditions, markdown, spread
from benchmarks.worker import Worker, parser, take_turns, use_threads
from experiments.live_metrics import LiveCallback, LiveRecorder
from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import run_tracked
from pipeline.plugins import registry
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.record import Record
from pipeline.util.interruption import terminable
from pipeline.util.paths import home

MODEL = "odenet_simple"
MEASURES = {
    "epoch_seconds": "an epoch, as it is recorded: training and validation",
    "thread_percent": "processor time of the thread, % of the time of the epochs",
    "callback_percent": "time in the training's own thread, % of the time of the epochs",
    "delivery_percent": "processor time of the record's delivery, % of the time of the epochs",
    "store_percent": "processor time of the store's server, % of the time of the epochs",
}
Times = dict[str, float]


class Watched:
    """Tracked runs in the store of this process's home folder."""

    def __init__(self, data: str, updates: dict[str, Any], is_watched: bool) -> None:
        self.data, self.updates = data, updates
        self.of_thread = self.of_callback = self.of_delivery = 0.0
        self._measure() if is_watched else self._switch_off()
        self._measure_delivery()
        self.run()  # starts the server and imports what is used late

    def run(self) -> Times:
        self.of_thread = self.of_callback = self.of_delivery = 0.0
        before = store_seconds()
        resolved = resolve([MODEL, self.data], self.updates)
        outcome = run_tracked(prepare(resolved.task, resolved.config))
        if outcome.error:
            raise SystemExit(outcome.error)
        seconds = outcome.metrics["time.epoch_seconds"]["values"]
        return {
            "epoch_seconds": median(seconds),
            "thread_percent": 100 * self.of_thread / sum(seconds),
            "callback_percent": 100 * self.of_callback / sum(seconds),
            "delivery_percent": 100 * self.of_delivery / sum(seconds),
            "store_percent": 100 * (store_seconds() - before) / sum(seconds),
            "accuracy": outcome.document["result"],
        }

    def _measure(self) -> None:
        record, batch_done = LiveRecorder._record, LiveCallback.batch_done

        def timed_record(recorder: LiveRecorder) -> None:
            record(recorder)
            self.of_thread = time.thread_time()

        def timed_batch_done(callback: LiveCallback, *arguments: Any) -> None:
            started = time.perf_counter()
            batch_done(callback, *arguments)
            self.of_callback += time.perf_counter() - started

        LiveRecorder._record, LiveCallback.batch_done = timed_record, timed_batch_done  # type: ignore[method-assign]

    def _measure_delivery(self) -> None:
        deliver = Record.deliver

        def timed_deliver(record: Record, *arguments: Any, **named: Any) -> None:
            started = time.thread_time()
            deliver(record, *arguments, **named)
            self.of_delivery += time.thread_time() - started

        Record.deliver = timed_deliver  # type: ignore[method-assign]

    def _switch_off(self) -> None:
        for event in ("training_started", "batch_done", "training_ended"):
            setattr(LiveCallback, event, lambda *_: None)


def store_seconds() -> float:
    """Processor time that the server of this home's store has taken so far."""
    servers = [one for one in psutil.process_iter(["cmdline"]) if str(home()) in " ".join(one.info["cmdline"] or [])]
    return sum(sum(one.cpu_times()[:2]) for one in servers)


def main() -> None:
    options = parser(__doc__, repeats=7)
    options.add_argument("--data", choices=registry.names("data set", "classification"), default="fashion_mnist")
    options.add_argument("--subset", type=int, default=2000, help="images, a fifth of them for validation")
    options.add_argument("--epochs", type=int, default=3)
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
        workers = {
            name: stack.enter_context(Worker(Watched, arguments.data, updates, name == "watched"))
            for name in ("not watched", "watched")
        }
        answers = take_turns(workers, ["run"], arguments.repeats)
    without, watched = (answers[name]["run"] for name in ("not watched", "watched"))
    accuracies = {times["accuracy"] for times in without + watched}
    if len(accuracies) > 1:
        raise SystemExit(f"the runs did not do the same work: their test accuracies are {sorted(accuracies)}")
    print(f"{MODEL} {arguments.data}, {arguments.subset} images, epochs: {arguments.epochs}.\n")
    rows = [
        (says, spread([times[name] for times in without], 3), spread([times[name] for times in watched], 3))
        for name, says in MEASURES.items()
    ]
    print(markdown(("what", "not watched", "watched"), rows))
    print(conditions)


if __name__ == "__main__":
    main()
