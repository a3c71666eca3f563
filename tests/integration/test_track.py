"""`odenet.track`: scripts of one's own that are recorded like runs, as real processes in one store."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.stored_parts import stored_sources
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import Command, database_of, records, start_command, start_script
from tests.helpers.waiting import run as run_process
from tests.helpers.waiting import wait_until

WHOLE = """
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import helper
import odenet

lr = float(sys.argv[1])
with odenet.track("lorenz", {"solver.method": "rk4", "lr": np.float64(lr)}, tags=["paper"], note="a try") as run:
    print("this is run", run.run_id)
    for step in range(5):
        run.log(step=step, loss=torch.tensor(helper.loss(step)), rate=np.float32(2))
    run.log({"validation/error": 0.25})
    figure = Figure()
    figure.subplots().plot([1, 2])
    run.add_figure("curve", figure)
    run.add_figure("curve.svg", figure)
    Path("answer.txt").write_text("42")
    run.add_artifact("answer.txt")
    run.update_info({"parameters": {"total": 3}})
    run.result = lr / 2
"""
HELPER = """
def loss(step):
    return 1 / (step + 1)
"""
BODY = """
import sys, time
from pathlib import Path
import odenet

with odenet.track("body") as run:
    run.log(step=1, loss=0.5)
    Path("begun").touch()
    {body}
print("after", run.run_id)
"""
FIRST, SECOND = 1, 2


@dataclass(frozen=True)
class Scripts:
    """A folder with scripts, and the store of their runs."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder.parent / "home"

    def start(self, name: str, text: str, *words: str) -> Command:
        (self.folder / name).write_text(text)
        return start_script(self.home, self.folder / name, *words, PYTHONPATH=str(self.folder))

    def odenet(self, *words: str) -> Command:
        command = start_command(self.home, *words)
        assert command.wait() == 0, command.stderr
        return command

    def stored(self, run_id: int) -> StoredRun:
        return Runs(database_of(self.home)).get(run_id)

    def last(self) -> StoredRun:
        return Runs(database_of(self.home)).find(limit=1)[0]

    def failing(self, body: str, name: str = "body.py") -> Command:
        """The script with that body, to its end."""
        command = self.start(name, BODY.format(body=body))
        command.wait()
        return command


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripts]:
    made = Scripts(tmp_path_factory.mktemp("track") / "scripts")
    made.folder.mkdir()
    (made.folder / "helper.py").write_text(HELPER)
    (made.folder / "lorenz.py").write_text(WHOLE)
    for words in (["init", "-q"], ["add", "lorenz.py"], ["commit", "-qm", "first"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *words], cwd=made.folder, check=True)
    before = Path.cwd()
    os.chdir(made.folder)
    try:
        for lr in ("0.5", "0.25"):
            command = made.start("lorenz.py", WHOLE, lr)
            assert command.wait() == 0, command.stderr
        yield made
    finally:
        os.chdir(before)
        EmbeddedStore(made.home).stop()


def test_a_script_is_recorded_whole(scripts: Scripts) -> None:
    run = scripts.stored(FIRST)
    assert (run.status, run.result) == ("COMPLETED", 0.25)
    assert run.config == {"solver": {"method": "rk4"}, "lr": 0.5}
    points = run.points()
    assert points["loss"] == {"steps": [0, 1, 2, 3, 4], "values": pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])}
    assert points["validation/error"] == {"steps": [5], "values": [0.25]}
    assert points["machine.process_memory_mb"]["values"][0] > 50
    assert run.artifact("answer.txt") == b"42"
    assert run.artifact("curve.png").startswith(b"\x89PNG")
    assert b"<svg" in run.artifact("curve.svg")
    assert run.info["parameters"] == {"total": 3}
    assert run.document["captured_out"] == f"this is run {FIRST}\n"
    assert records(scripts.home) == []


def test_the_script_the_modules_beside_it_and_their_commit_are_stored(scripts: Scripts) -> None:
    run = scripts.stored(FIRST)
    sources = stored_sources(run)
    assert sources["lorenz.py"].decode() == WHOLE
    assert sources["helper.py"].decode() == HELPER
    asked = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(asked, cwd=scripts.folder, capture_output=True, text=True, check=True).stdout
    first = run.document["experiment"]["repositories"][0]
    assert (first["commit"], first["dirty"]) == (commit.strip(), False)


def test_it_is_listed_by_name_and_kind_with_its_result_and_shown(scripts: Scripts) -> None:
    listed = scripts.odenet("runs", "--json", "kind=tracked", "name=lorenz").json
    assert [row["run_id"] for row in listed] == [SECOND, FIRST]
    assert {(row["kind"], row["name"], row["model"], row["data"]) for row in listed} == {
        ("tracked", "lorenz", "lorenz.py", "–")
    }
    assert [row["result"] for row in listed] == [0.125, 0.25]
    shown = scripts.odenet("show", str(FIRST)).stdout
    for words in ("lorenz", "tracked", "paper", "a try", "rk4", "validation/error", "machine.cpu_percent", "curve.png"):
        assert words in shown


def test_two_are_compared_by_what_was_set_and_what_was_logged(scripts: Scripts) -> None:
    compared = scripts.odenet("compare", str(FIRST), str(SECOND), "--json").json
    assert compared["config_differences"] == {"lr": [0.5, 0.25]}
    printed = scripts.odenet("compare", str(FIRST), str(SECOND)).stdout
    for words in ("A: lorenz, lr=0.5", "result", "loss, last", "validation/error, last"):
        assert words in printed
    assert "epochs" not in printed.partition("Cost")[0]


def test_it_is_exported_tagged_and_removed(scripts: Scripts) -> None:
    assert scripts.start("more.py", BODY.format(body="pass")).wait() == 0
    run_id = str(scripts.last().run_id)
    scripts.odenet("tag", run_id, "mine")
    out = scripts.folder / "tables"
    scripts.odenet("export", "tag=mine", "--format", "csv", "--out", str(out))
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [(row["epoch"], row["value"]) for row in rows if row["metric"] == "loss"] == [("1", "0.5")]
    scripts.odenet("rm", run_id, "--yes")
    assert not database_of(scripts.home).runs.count_documents({"_id": int(run_id)})


@pytest.mark.parametrize("words", ["rerun", "rerun --use-stored-source", "resume", "evaluate"])
def test_what_would_have_to_run_the_script_is_refused_with_the_reason(scripts: Scripts, words: str) -> None:
    name, *flags = words.split()
    command = start_command(scripts.home, name, str(FIRST), *flags)
    assert command.wait() == 2
    assert f"odenet: run {FIRST} is what lorenz.py did within odenet.track" in command.stderr
    assert "start lorenz.py again" in command.stderr


def test_an_exception_makes_it_failed_and_is_raised_on(scripts: Scripts) -> None:
    command = scripts.failing("raise ValueError('no such luck')")
    assert command.process.exitcode == 1
    assert "ValueError: no such luck" in command.stderr
    assert "after" not in command.stdout
    run = scripts.last()
    assert run.status == "FAILED"
    assert run.info["failure"] == {"reason": "failed", "message": "no such luck"}
    assert "ValueError: no such luck" in run.document["fail_trace"][-1]
    assert run.points()["loss"]["values"] == [0.5]


@pytest.mark.parametrize(("code", "status"), [("0", "COMPLETED"), ("3", "FAILED")])
def test_a_script_that_exits_within_the_block_ended_as_its_exit_says(scripts: Scripts, code: str, status: str) -> None:
    command = scripts.failing(f"sys.exit({code})")
    assert command.process.exitcode == int(code)
    assert scripts.last().status == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_recorded_as_one(scripts: Scripts, number: signal.Signals) -> None:
    (scripts.folder / "begun").unlink(missing_ok=True)
    command = scripts.start("body.py", BODY.format(body="time.sleep(600)"))
    wait_until((scripts.folder / "begun").exists)
    command.send(number)
    assert command.wait() != 0
    assert scripts.last().status == "INTERRUPTED"


def test_a_killed_script_has_died_and_what_it_logged_is_delivered_by_sync(scripts: Scripts) -> None:
    (scripts.folder / "begun").unlink(missing_ok=True)
    command = scripts.start("body.py", BODY.format(body="time.sleep(600)"))
    wait_until((scripts.folder / "begun").exists)
    command.send(signal.SIGKILL)
    command.wait()
    [listed] = scripts.odenet("runs", "--json", "--limit", "1").json
    assert listed["status"] == "DIED"
    scripts.odenet("sync")
    run = scripts.last()
    assert run.status == "DIED"
    assert run.points()["loss"]["values"] == [0.5]


def test_what_no_store_takes_is_recorded_in_another_form_and_the_run_ends_as_it_did(scripts: Scripts) -> None:
    name = "b'caf\\xe9.png'.decode(errors='surrogateescape')"
    body = f"""
    run.update_info({{"entropy": 2**100, "file": {name}, "by file": {{{name}: [1, -2**70]}}}})
    Path({name}).write_text("here")
    run.add_artifact({name})
    run.log({{{name}: 1.0}})
    run.result = 0.5
    raise ValueError({name})
    """
    command = scripts.failing(body)
    assert "waits" not in command.stderr, command.stderr
    run = scripts.last()
    assert (run.status, run.result) == ("FAILED", 0.5)
    assert "caf?.png" in "".join(run.document["fail_trace"])
    assert run.info["entropy"] == str(2**100)
    assert run.info["file"] == "caf?.png"
    assert run.info["by file"] == {"caf?.png": [1, str(-(2**70))]}
    assert run.artifact("caf?.png") == b"here"
    assert run.points()["caf?.png"]["values"] == [1.0]


@pytest.mark.parametrize(
    "value", ["np.array([0.25, 0.75]).mean()", "np.float32(0.5)", "torch.tensor(0.5, requires_grad=True)"]
)
def test_a_result_of_an_array_or_tensor_is_a_number_of_the_list(scripts: Scripts, value: str) -> None:
    command = scripts.failing(f"import numpy as np, torch; run.result = {value}")
    assert command.process.exitcode == 0, command.stderr
    assert "Warning" not in command.stderr
    assert scripts.last().document["result"] == 0.5


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("run.log(step=2, loss='low')", "the metric loss is 'low', which is no number"),
        ("run.log(step=2.5, loss=1)", "step is 2.5, which is no whole number"),
        ("run.log(step=2**70, loss=1)", f"step is {2**70}, which no store takes"),
        ("run.result = 'low'", "result is 'low', which is no number: give one number"),
        ("run.add_artifact('nowhere.txt')", "nowhere.txt cannot be read (No such file or directory)"),
        ("run.update_info({'model': Path})", "info.model is a type, which cannot be recorded"),
    ],
)
def test_what_cannot_be_logged_is_told_in_a_sentence(scripts: Scripts, line: str, sentence: str) -> None:
    command = scripts.failing(line)
    assert command.process.exitcode == 1
    assert sentence in command.stderr.splitlines()[-1]


def test_a_second_value_at_a_step_is_warned_of_and_recorded_with_the_run(scripts: Scripts) -> None:
    command = scripts.failing("run.log(step=1, loss=0.25)")
    assert command.process.exitcode == 0
    assert "loss has a value at step 1 already, which stays" in command.stderr
    assert scripts.last().points()["loss"]["values"] == [0.5]
    assert "loss has a value at step 1" in scripts.last().info["warnings"][0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("'classification'", "classification is what odenet calls an experiment of its own"),
        ("' '", "must have a letter"),
        ("'x', 3", "config is 3: give a dictionary"),
        ("'x', {'net': object()}", "config.net is a object, which cannot be recorded"),
        ("'x', tags='paper'", "tags is the text 'paper': give a list of them, as in ['paper']"),
        ("'x', note=5", "note is 5, which is no text"),
    ],
)
def test_what_cannot_begin_leaves_no_trace(scripts: Scripts, call: str, sentence: str) -> None:
    known = database_of(scripts.home).runs.count_documents({})
    command = scripts.start("refused.py", f"import odenet\nwith odenet.track({call}):\n    pass\n")
    assert command.wait() == 1
    assert sentence in command.stderr.splitlines()[-1]
    assert database_of(scripts.home).runs.count_documents({}) == known


def test_without_a_script_it_is_of_a_notebook_and_nothing_is_logged_after_the_block(scripts: Scripts) -> None:
    lines = "import odenet\nwith odenet.track('cell') as run: run.log(loss=1)\nrun.log(loss=2)\n"
    kept = {name: value for name, value in os.environ.items() if name != "ODENET_MONGO_URL"}
    done = run_process([sys.executable, "-c", lines], env={**kept, "ODENET_HOME": str(scripts.home)})
    assert done.returncode == 1
    run = scripts.last()
    assert f"run {run.run_id} is over: log within its `with` block" in done.stderr
    assert (run.status, run.points()["loss"]["values"]) == ("COMPLETED", [1])
    [row] = scripts.odenet("runs", "--json", "name=cell").json
    assert row["model"] == "notebook"


OVERLAPPING = """
import threading
import odenet

begun, ended = threading.Event(), threading.Event()

def first():
    with odenet.track("first") as run:
        begun.set()
        ended.wait()
        print("from the first")
        run.log(step=0, loss=1.0)

thread = threading.Thread(target=first)
with odenet.track("second") as run:
    thread.start()
    begun.wait()
    print("from the second")
ended.set()
thread.join()
print("after both")
"""


def test_scripts_of_several_threads_that_overlap_leave_the_streams_as_they_were(scripts: Scripts) -> None:
    command = scripts.start("overlapping.py", OVERLAPPING)
    assert command.wait() == 0, command.stderr
    assert command.stdout.splitlines() == ["from the second", "from the first", "after both"]
    number = scripts.last().run_id
    assert scripts.stored(number).document["captured_out"] == "from the second\nfrom the first\n"
    assert scripts.stored(number - 1).document["captured_out"] == "from the second\n"
