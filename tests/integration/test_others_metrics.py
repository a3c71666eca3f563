"""Metrics of anybody's own Sacred experiments and scripts: all of them arrive, or what does not is said."""

import logging
import threading
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sacred import Experiment

import odenet
from experiments.live_metrics import LiveRecorder
from odenet.main import main
from pipeline.runs.export import metric_rows, to_frame
from pipeline.runs.query import Runs
from pipeline.tracking.observer import StoreObserver
from pipeline.util.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("store_home")


def observed(main: Any) -> int:
    """The run of a Sacred experiment with this function, which is given its run."""
    experiment = Experiment("somebodys", save_git_info=False)
    experiment.observers.append(StoreObserver())

    @experiment.main
    def run(_run: Any) -> None:
        main(_run)

    return int(experiment.run()._id)


def series(run_id: int, name: str) -> "pd.Series[float]":
    return Runs().get(run_id).metrics()[name]


def test_thousands_of_points_of_a_short_experiment_arrive_before_it_is_complete() -> None:
    def log(run: Any) -> None:
        for step in range(3000):
            run.log_scalar("loss", 1 / (step + 1), step)
            run.log_scalar("accuracy", step / 3000, step)

    run_id = observed(log)
    assert Runs().get(run_id).status == "COMPLETED"
    assert len(series(run_id, "loss")) == len(series(run_id, "accuracy")) == 3000


def test_the_end_waits_for_metrics_that_are_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sacred waits two seconds for them, and then ends the run all the same."""
    log_metrics, began = StoreObserver.log_metrics, threading.Event()

    def slowly(observer: StoreObserver, *arguments: Any, **options: Any) -> None:
        with observer._talking:
            began.set()
            time.sleep(3)
            log_metrics(observer, *arguments, **options)

    monkeypatch.setattr(StoreObserver, "log_metrics", slowly)
    run_id = observed(lambda run: run.log_scalar("loss", 0.5, 1))
    assert began.is_set()
    assert series(run_id, "loss").to_dict() == {1: 0.5}


def test_a_second_value_at_a_step_is_said_once_a_metric(caplog: pytest.LogCaptureFixture) -> None:
    def log(run: Any) -> None:
        for epoch in range(2):
            for batch in range(5):
                run.log_scalar("loss", 10.0 * epoch + batch, epoch)
            run.log_scalar("same", 1.0, epoch)
            run.log_scalar("undefined", float("nan"), 0)

    with caplog.at_level(logging.WARNING, "odenet"):
        run_id = observed(log)
    assert series(run_id, "loss").to_dict() == {0: 0.0, 1: 10.0}
    told = [record.getMessage() for record in caplog.records if "already" in record.getMessage()]
    assert told == ["loss has a value at step 0 already, which stays: give each value a step of its own"]


def test_a_name_that_is_no_text_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def log(run: Any) -> None:
        run.log_scalar("loss", 0.5, 1)
        run.log_scalar(3, 0.5, 1)
        run.info["seen"] = 7

    with caplog.at_level(logging.WARNING, "odenet"):
        run_id = observed(log)
    assert series(run_id, "loss").to_dict() == {1: 0.5}
    assert Runs().get(run_id).info["seen"] == 7
    assert any("its name is a int and no text" in record.getMessage() for record in caplog.records)
    with odenet.track("script") as script:
        with pytest.raises(InvalidInput, match="3 is no name of a metric: name each by text, as in class_3"):
            script.log({3: 0.5})
        script.log(step=1, loss=0.5)
    assert series(script.run_id, "loss").to_dict() == {1: 0.5}
    with pytest.raises(InvalidInput, match="is over"):
        script.result = 0.7


def test_what_could_not_be_written_is_written_at_the_end() -> None:
    written: list[str] = []

    def write(points: Any) -> None:
        if not written:
            written.append("refused")
            raise OSError("away")
        written.extend(point.name for point in points)

    recorder = LiveRecorder(write, torch.device("cpu"))
    recorder.add("loss", 1, 0.5)
    with pytest.raises(OSError, match="away"):
        recorder.write_waiting()
    recorder.stop()
    assert written == ["refused", "loss"]


def test_a_truth_value_among_the_metrics_leaves_their_column_one_of_numbers() -> None:
    def log(run: Any) -> None:
        run.log_scalar("is_done", np.bool_(True), 1)
        run.log_scalar("loss", float("inf"), 1)

    run_id = observed(log)
    rows = metric_rows(Runs(), [run_id])
    frame = to_frame([row for row in rows if row["metric"] in ("is_done", "loss")], ())
    assert str(frame["value"].dtype) == "float64"
    assert sorted(frame["value"]) == [1.0, float("inf")]


def stopped_by_itself() -> None:
    with odenet.track("stopped") as script:
        script.update_info({"study": "drug trial"})
        assert main(["stop", str(script.run_id), "--no-wait"]) == 0
        for step in range(10_000):
            script.log(step=step, loss=0.5)
            time.sleep(0.05)


def test_a_script_that_calls_something_a_study_can_be_stopped() -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped_by_itself()
    assert Runs().find(limit=1)[0].status == "INTERRUPTED"
