"""What a run records between its epochs: the loss of single steps, and how busy the machine is."""

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from pymongo.database import Database

from experiments import live_metrics
from experiments.live_metrics import LiveRecorder
from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import run_tracked
from pipeline.config.overrides import parse_with
from pipeline.device.machine_use import MachineUse
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.reproduce import deviations
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.metric_lines import Point
from pipeline.training import Callback
from tests.helpers.commands import QUICK, SLOW, database_of, last_epoch, start_command
from tests.helpers.waiting import wait_until

OF_THE_MACHINE = {"cpu_percent", "process_cpu_percent", "memory_percent", "process_memory_mb"}
Store = Database[dict[str, Any]]


def train(store: Store, *words: str, callbacks: tuple[Callback, ...] = ()) -> StoredRun:
    """A tracked run of a moment, 160 images an epoch."""
    names, updates = parse_with([*QUICK, *words])
    resolved = resolve(names, updates)
    return Runs(store).get(run_tracked(prepare(resolved.task, resolved.config), names, callbacks=callbacks).run_id)


class Slow(Callback):
    """Makes every step take so long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def batch_done(self, *_: object) -> None:
        time.sleep(self._seconds)


def test_the_loss_of_every_step_is_recorded_and_the_machine_beside_it(database: Store) -> None:
    run = train(database, "training.max_epochs=3", "training.batch_size=16", callbacks=(Slow(0.1),))
    points, steps = run.points(), json.loads(run.artifact("steps.json"))
    assert points["step.loss"]["steps"] == list(range(1, 31))
    assert points["step.loss"]["values"] == steps["loss"]
    of_machine = {name.removeprefix("machine."): one for name, one in points.items() if name.startswith("machine.")}
    assert set(of_machine) >= OF_THE_MACHINE
    assert of_machine["process_memory_mb"]["values"][-1] == pytest.approx(
        psutil.Process().memory_info().rss / 2**20, rel=0.5
    )
    assert 0 < of_machine["samples_per_second"]["values"][-1] < 160
    for one in of_machine.values():
        assert one["steps"] == sorted(set(one["steps"]))
    assert {series["name"] for series in run.info["metrics"]} == set(points)  # as Omniboard finds them


def test_of_a_long_training_every_so_many_steps_are_recorded(database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_metrics, "LOSS_POINTS", 10)
    run = train(database, "training.max_epochs=3", "training.batch_size=16")
    losses = json.loads(run.artifact("steps.json"))["loss"]
    recorded = run.points()["step.loss"]
    assert recorded["steps"] == list(range(3, 31, 3))
    assert recorded["values"] == losses[2::3]


def test_points_are_written_while_the_work_goes_on_and_averaged_over_longer_the_longer_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("SAMPLE_SECONDS", 0.01), ("WRITE_SECONDS", 0.05), ("SHORTEST_MEAN_SECONDS", 0.02)):
        monkeypatch.setattr(live_metrics, name, seconds)
    written: list[Point] = []
    recorder = LiveRecorder(written.extend, torch.device("cpu"), first_second=7, expected_seconds=lambda _: 30.0)
    recorder.start()
    recorder.add("step.loss", 1, 0.5)
    recorder.add("step.loss", 2, lambda: 0.25)
    wait_until(lambda: len(written) > 2)
    losses = [(point.step, point.value) for point in written if point.name == "step.loss"]
    assert losses == [(1, 0.5), (2, 0.25)]
    assert recorder._mean_seconds(elapsed=0.3) == 0.02
    assert recorder._mean_seconds(elapsed=1.5) == pytest.approx(0.05)
    assert recorder._mean_seconds(elapsed=20) == pytest.approx(0.1)
    recorder.add("step.loss", 3, 0.125)
    recorder.stop()
    assert any(point.step == 3 for point in written)
    assert min(point.step for point in written if point.name == "machine.cpu_percent") == 7


def test_a_failing_thread_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(live_metrics.log, "warning", lambda text, *values: said.append(text % values))
    recorder = LiveRecorder(lambda _: None, torch.device("cpu"))
    recorder.start()
    recorder.add("step.loss", 1, lambda: 1 / 0)
    recorder.stop()
    assert said == ["nothing more is recorded between the epochs (ZeroDivisionError: division by zero)"]


class Refusing(Callback):
    def training_started(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_no_thread_outlives_a_training_even_one_that_did_not_begin(database: Store) -> None:
    assert train(database, "training.max_epochs=1", callbacks=(Refusing(),)).status == "INTERRUPTED"
    assert "odenet-live" not in [thread.name for thread in threading.enumerate()]


def test_a_rerun_to_the_bit_looks_at_the_steps_and_not_at_the_machine(database: Store) -> None:
    first, again = (train(database, "training.max_epochs=2") for _ in range(2))
    assert deviations(first, again) == []
    other = train(database, "training.max_epochs=2", "training.lr=0.002")
    [parted] = [found for found in deviations(first, other) if found.metric == "step.loss"]
    assert parted.where == "step 2"  # the first loss is of the same weights
    database.metrics.delete_many({"run_id": first.run_id, "name": "step.loss"})  # as of an earlier version's run
    assert deviations(first, again) == []


def test_the_cards_use_is_read_and_what_its_driver_does_not_tell_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answers(name: str, value: float | None) -> None:
        def read(device: torch.device) -> float:
            asked.append(name)
            assert device == torch.device("cuda")
            if value is None:
                raise RuntimeError("not supported")
            return value

        monkeypatch.setattr(torch.cuda, name, read)

    for name, value in (
        ("utilization", 93),
        ("device_memory_used", 3 * 2**30),
        ("temperature", None),
        ("power_draw", 250_000),
    ):
        answers(name, value)
    use = MachineUse(torch.device("cuda"))
    for _ in range(2):
        read = use.read()
        assert set(read) == OF_THE_MACHINE | {"gpu_percent", "gpu_memory_mb", "gpu_watts"}
        assert (read["gpu_percent"], read["gpu_memory_mb"], read["gpu_watts"]) == (93, 3 * 1024, 250)
    assert asked.count("temperature") == 1


def test_a_killed_run_goes_on_with_its_steps_where_it_is_resumed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    killed = start_command(home, "run", *SLOW, "training.max_epochs=40")
    wait_until(lambda: last_epoch(home) >= 3)
    killed.send(signal.SIGKILL)
    killed.wait()
    try:
        resumed = start_command(home, "resume", "1")
        assert resumed.wait() == 0, resumed.stderr
        run = Runs(database_of(home)).get(1)
        losses, points = json.loads(run.artifact("steps.json"))["loss"], run.points()
        assert points["step.loss"]["steps"] == list(range(1, len(losses) + 1))
        assert points["step.loss"]["values"] == losses
        seconds = points["machine.cpu_percent"]["steps"]
        assert seconds == sorted(set(seconds))
        shown = start_command(home, "show", "1")
        assert shown.wait() == 0, shown.stderr
        assert "machine.process_memory_mb" in shown.stdout
    finally:
        EmbeddedStore(home).stop()


def test_a_comparison_has_the_means_of_the_machine_and_counts_epochs_alone(database: Store) -> None:
    from pipeline.comparison.compare import compare

    runs = [train(database, "training.max_epochs=2", f"seed={seed}") for seed in (1, 2)]
    compared = compare(runs).runs[0]
    points = runs[0].points()["machine.process_cpu_percent"]["values"]
    assert compared.values["process_cpu_percent"] == pytest.approx(sum(points) / len(points))
    assert compared.values["epochs"] == 2
