"""What is wrong with a file, a home or a word is said of that very thing, and nothing waits for what has no end."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from odenet.main import main
from pipeline.tracking.embedded import EmbeddedStore

Store = Database[dict[str, Any]]


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
def test_what_is_no_ordinary_file_is_not_attached(
    database: Store, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    run = {"_id": 1, "uid": "1" * 32, "format": "odenet-1", "status": "COMPLETED", "start_time": now, "stop_time": now}
    run |= {"experiment": {"name": "classification"}, "config": {}, "info": {}, "artifacts": [], "heartbeat": now}
    database.runs.insert_one(run)
    assert main(["attach", "1", name]) == 2
    assert capsys.readouterr().err == f"odenet: {name} is no ordinary file: name a file to attach\n"


def test_empty_words_and_folders_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for words, beginning in (
        (["run", "with", "odenet_simple", ""], "odenet: '' is not a named configuration"),
        (["run", "with", "odenet_simple", "photos"], "odenet: photos is a folder: write photos/"),
        (["run", "with", "odenet_simple", "training.lr"], "odenet: training.lr has no value: write one"),
        (["runs", "--sort", ""], "odenet: --sort names no field: write one"),
        (["runs", "--columns", " "], "odenet: --columns names no field: write one"),
        (["paper", ""], "odenet: '' is neither a file nor a study"),
        ([""], "odenet: unknown command ''"),
    ):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith(beginning)


def test_a_shells_question_without_its_words_is_refused_in_a_sentence() -> None:
    environment = {**os.environ, "_ODENET_COMPLETE": "bash_complete"}
    environment.pop("COMP_WORDS", None)
    asked = subprocess.run(
        [sys.executable, "-m", "odenet.main"], env=environment, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 2
    assert asked.stderr == "odenet: _ODENET_COMPLETE is a shell's own question, which comes with COMP_WORDS: unset it\n"


def test_a_server_that_dies_while_it_is_asked_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EmbeddedStore(tmp_path / "home")
    before = store.start()
    found = store._find()
    assert found is not None
    looks = [found, None]
    monkeypatch.setattr(store, "_find", lambda: looks.pop(0))
    os.kill(found.pid, 9)
    monkeypatch.setattr("pipeline.tracking.embedded.PING_SECONDS", 0.5)
    assert store._running() is None
    monkeypatch.undo()
    try:
        assert store.start().embedded == before.embedded is True
    finally:
        store.stop()
