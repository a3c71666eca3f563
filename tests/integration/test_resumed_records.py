"""What a record says behind a resume: of the present weights, the present failure, and all that was warned of."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from experiments.recording import RecordCallback, StopWhenAsked
from odenet.main import main
from pipeline.comparison.compare import compare
from pipeline.plugins.loading import PluginSource, recording_source
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.removal import claimed_files
from pipeline.runs.reproduce import differences
from pipeline.training.early_stopping import EarlyStopping
from pipeline.util.errors import OdenetError
from pipeline.util.user_warnings import OdenetWarning
from tests.helpers.training import train

pytestmark = pytest.mark.usefixtures("store_home")
SMALL: dict[str, Any] = {
    "data": {"subset": 100},
    "model": {"channels": 4},
    "training": {"max_epochs": 2, "patience": None},
}


def at_epoch(patch: pytest.MonkeyPatch, number: int, event: BaseException | str) -> None:
    """Have the training warn of something behind this epoch, or end by an error."""
    record = RecordCallback.epoch_done

    def epoch_done(callback: RecordCallback, epoch: int, history: Any) -> None:
        record(callback, epoch, history)
        if epoch == number and isinstance(event, str):
            warnings.warn(OdenetWarning(event), stacklevel=2)
        elif epoch == number:
            raise event

    patch.setattr(RecordCallback, "epoch_done", epoch_done)


def resumed(run_id: int, epochs: int) -> StoredRun:
    main(["resume", str(run_id), "with", f"training.max_epochs={epochs}"])
    return Runs().get(run_id)


def trained() -> int:
    return train(["odenet_simple", "digits"], SMALL).run_id


def test_the_test_of_a_run_whose_weights_others_replace_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, whole = trained(), trained()
    with monkeypatch.context() as patch:
        at_epoch(patch, 4, KeyboardInterrupt())
        run = resumed(run_id, 6)
    assert run.status == "INTERRUPTED"
    assert run.info["training"]["epochs"] == 4
    assert run.info["test"] is None
    assert "the weights of epoch 2, which those of epoch 4 replace" in run.info["test_withdrawn"]
    assert compare([Runs().get(run_id), Runs().get(whole)]).tests == ()
    run = resumed(run_id, 6)
    assert run.status == "COMPLETED"
    assert run.info["test"]["accuracy"] == run.result
    assert run.info["test_withdrawn"] is None


def test_the_test_stays_where_no_epoch_came_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = trained()
    before = Runs().get(run_id).info["test"]
    with monkeypatch.context() as patch:
        patch.setattr(StopWhenAsked, "batch_done", _interrupted)
        run = resumed(run_id, 6)
    assert run.status == "INTERRUPTED"
    assert run.info["test"] == before


def test_the_test_stays_where_the_best_weights_are_those_that_were_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = trained()
    before = Runs().get(run_id).info
    with monkeypatch.context() as patch:
        patch.setattr(EarlyStopping, "is_best", lambda _stopping, *_: False)  # no epoch is better than the second
        at_epoch(patch, 4, KeyboardInterrupt())
        run = resumed(run_id, 6)
    assert (run.info["training"]["epochs"], run.info["training"]["best_epoch"]) == (4, 2)
    assert run.info["weights"]["sha256"] == before["weights"]["sha256"]
    assert run.info["test"] == before["test"]


def test_a_run_is_not_given_fewer_epochs_than_it_has_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        at_epoch(patch, 2, KeyboardInterrupt())
        run_id = trained()
    assert resumed(run_id, 1).status == "INTERRUPTED"
    assert "has had 2 epochs already, more than training.max_epochs=1" in capsys.readouterr().err


def test_a_run_that_goes_on_with_another_plugin_says_so_and_keeps_both(caplog: pytest.LogCaptureFixture) -> None:
    def session(content: bytes, work: Callable[[], int]) -> StoredRun:
        with recording_source(PluginSource("mine.py", "mine.py", content)):
            return Runs().get(work())

    before = session(b"x = 1", trained)
    run = session(b"x = 2", lambda: resumed(before.run_id, 3).run_id)
    assert f"not those with which run {run.run_id} came so far" in caplog.text
    # Plug-ins that other tests have loaded may stand beside it.
    plugins = [
        next(one["file_id"] for one in of_run.document["experiment"]["plugins"] if one["name"] == "mine.py")
        for of_run in (before, run)
    ]
    assert set(plugins) <= claimed_files(run.database)
    told = next(str(one) for one in differences(run, None) if str(one).startswith("plug-in before it was resumed: "))
    for plugin, said in zip(plugins, told.split(" → "), strict=True):
        assert f"mine.py {str(plugin)[:7]}" in said


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_failure_that_a_resume_has_overcome_is_told_by_the_session_that_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        at_epoch(patch, 1, OdenetError("boom"))
        run_id = trained()
    assert Runs().get(run_id).info["failure"]["message"] == "boom"
    run = resumed(run_id, 2)
    assert run.status == "COMPLETED"
    assert run.info["failure"] is None
    assert run.document["resumed"][0]["failure_before"]["message"] == "boom"


def test_warnings_of_all_sessions_are_kept_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        at_epoch(patch, 1, "the first is odd")
        run_id = trained()
    for epoch, sentence in ((3, "the third is odd"), (4, "the first is odd")):
        with monkeypatch.context() as patch:
            at_epoch(patch, epoch, sentence)
            run = resumed(run_id, epoch)
    assert run.info["warnings"] == ["the first is odd", "the third is odd"]
