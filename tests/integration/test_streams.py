"""Consoles that cannot be written, that lack signs, that go away; signals: real processes with real streams."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import QUICK, SLOW, database_of, last_epoch, start_command, start_script, without_figures
from tests.helpers.waiting import wait_until

COMMAND = f"{sys.executable} -m odenet.main"
RUN = f"{COMMAND} run {' '.join(QUICK)} training.max_epochs=2"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("streams") / "home"
    first = start_command(folder, "run", *QUICK, "training.max_epochs=1")
    assert first.wait() == 0, first.stderr
    yield folder
    EmbeddedStore(folder).stop()


def shell(home: Path, line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What a person types, in bash."""
    kept = {name: value for name, value in os.environ.items() if name not in ("ODENET_MONGO_URL", "PYTHONIOENCODING")}
    return subprocess.run(
        ["bash", "-c", line],
        env={
            **kept,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "80",
            "ODENET_HOME": str(home),
            "PYTHONPATH": without_figures(),
            **environment,
        },
        capture_output=True,
        encoding="latin-1",
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize("where", ["2>/dev/full", ">&- 2>&- <&-", "2>&1 | head -n 1"])
def test_a_run_goes_on_whatever_becomes_of_its_output(home: Path, where: str) -> None:
    runs = Runs(database_of(home))
    before = runs.find(limit=1)[0].run_id
    done = shell(home, f"{RUN} {where}")
    newest = runs.find(limit=1)[0]
    assert newest.run_id == before + 1
    assert newest.status == "COMPLETED"
    assert len(newest.metrics()["validation.loss"]) == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr + done.stdout


@pytest.mark.slow
def test_a_sweep_goes_on_whatever_becomes_of_its_output(home: Path) -> None:
    space = home.parent / "space.yaml"
    words = "odenet_simple, digits, data.subset=200, model.channels=16, training.max_epochs=1, training.device=cpu"
    space.write_text(f"with: [{words}]\nminimise: validation.loss\nspace:\n  training.lr: {{uniform: [0.001, 0.01]}}\n")
    for where in ("2>/dev/full", "2>&1 | head -n 1", ">&- 2>&-"):
        shell(home, f"{COMMAND} sweep {space} --trials 2 --parallel 1 --fresh-seeds 1 {where}")
        swept = Runs(database_of(home)).find({"experiment.name": "sweep"}, 1)[0]
        assert swept.status == "COMPLETED"
        assert len(swept.info["sweep"]["trials"]) == 2
    assert len(Runs(database_of(home)).find({"experiment.name": "sweep"})) == 3


def test_what_standard_output_did_not_take_is_said_and_is_no_success(home: Path) -> None:
    full = shell(home, f"{COMMAND} runs >/dev/full")
    assert full.returncode == 1
    assert full.stderr == "odenet: standard output could not be written to the end (No space left on device)\n"
    closed = shell(home, f"{COMMAND} runs --json >&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    left = shell(home, f"{COMMAND} runs | true; exit ${{PIPESTATUS[0]}}")
    assert (left.returncode in (0, 141), left.stderr) == (True, "")


@pytest.mark.parametrize("words", ["runs", "runs --json", "show 1", "doctor", "--help"])
def test_a_reader_who_has_enough_ends_a_command_quietly_as_it_does_in_other_tools(home: Path, words: str) -> None:
    waits = f"mkfifo {home}/pipe; (exec < {home}/pipe; exec 0<&-) & exec 3> {home}/pipe; wait $!; {COMMAND} {words} >&3"
    done = shell(home, f"{waits}; status=$?; rm {home}/pipe; exit $status")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_console_that_lacks_signs_gets_others_and_no_traceback(home: Path, encoding: str) -> None:
    for words in ("runs", "show 1", "data list", "describe with odenet_simple digits", "nope–nope"):
        done = shell(home, f"{COMMAND} {words}", PYTHONIOENCODING=encoding)
        assert done.returncode == (2 if "nope" in words else 0), (words, done.stderr)
        assert "Traceback" not in done.stderr
    if encoding == "ascii":
        assert done.stderr.startswith("odenet: unknown command nope-nope")


def test_a_run_completes_on_such_a_console(home: Path) -> None:
    done = shell(home, RUN, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert "COMPLETED" in done.stdout


def test_a_hangup_ends_a_run_as_interrupted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = start_command(home, "run", *SLOW, "training.max_epochs=1000")
    wait_until(lambda: last_epoch(home) >= 1)
    run.send(signal.SIGHUP)
    assert run.wait() == 130
    assert Runs(database_of(home)).get(1).status == "INTERRUPTED"
    assert run.stderr.splitlines()[-1].startswith("odenet: run 1 INTERRUPTED")
    EmbeddedStore(home).stop()


def test_a_hangup_that_is_ignored_leaves_a_run_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    script = tmp_path / "nohup.py"
    words = ["run", *SLOW, "training.max_epochs=12"]
    script.write_text(
        "import signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom odenet.main import main\n"
        f"sys.exit(main({words!r}))\n"
    )
    run = start_script(home, script)
    wait_until(lambda: last_epoch(home) >= 1)
    run.send(signal.SIGHUP)
    assert run.wait() == 0, run.stderr
    assert Runs(database_of(home)).get(1).status == "COMPLETED"
    EmbeddedStore(home).stop()


SWALLOWING = """
import sys, weakref
from pipeline.training import Callback
import experiments.tracked as tracked
from odenet.main import main

class Thing:
    pass

class Swallows(Callback):
    def __init__(self):
        self.done = False
    def batch_done(self, epoch, batch, loss):
        if epoch == 2 and not self.done:
            self.done = True
            thing = Thing()
            finaliser = weakref.ref(thing, self.interrupted)
            del thing
    def interrupted(self, _):
        import os, signal
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

run = tracked.run_tracked
tracked.run_tracked = lambda *words, **others: run(*words, **others, callbacks=[Swallows()])
sys.exit(main(sys.argv[1:]))
"""


def test_an_interruption_that_falls_into_a_finaliser_is_not_lost(tmp_path: Path) -> None:
    home, script = tmp_path / "home", tmp_path / "swallows.py"
    script.write_text(SWALLOWING)
    run = start_script(home, script, "run", *SLOW, "training.max_epochs=30")
    assert run.wait() == 130, run.stderr
    assert "Exception ignored" not in run.stderr
    assert Runs(database_of(home)).get(1).status == "INTERRUPTED"
    EmbeddedStore(home).stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_short_command_ends_in_one_line_whenever_a_signal_comes_or_does_its_work(
    home: Path, number: signal.Signals
) -> None:
    for seconds in (0.06, 0.15, 0.3, 0.45, 0.6, 0.8):
        _interrupt(home, ("odenet.main", "runs"), number, seconds)


def test_sacreds_own_command_line_does_so_too(home: Path) -> None:
    for seconds in (0.2, 0.6, 2.0, 5.0):
        _interrupt(home, ("experiments.classification", "print_config"), signal.SIGINT, seconds)


def test_an_interruption_of_it_before_any_run_tells_of_no_epochs(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(
        "import os, signal, sys\nimport experiments.command_line as command_line\n"
        "command_line.observer_for = lambda _: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(command_line.main('classification'))\n"
    )
    told = start_script(home, script, "print_config")
    assert told.wait() == 130
    assert told.stderr == "odenet: interrupted\n"


def _interrupt(home: Path, words: tuple[str, ...], number: signal.Signals, seconds: float) -> None:
    """Two signals, so long after the command has started."""
    environment = {**os.environ, "ODENET_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        restore_signals=True,
    ) as process:
        time.sleep(seconds)
        process.send_signal(number)
        process.send_signal(number)
        printed, said = process.communicate(timeout=60)
    told = [line for line in said.splitlines() if line.startswith("odenet: ")]
    if not told and (process.returncode == -number or "Fatal Python error: init" in said):
        return  # Python had not come to a line of ours, nor to any, or was importing its own site module
    # CPython ends by SIGINT itself, which a shell tells as 130, where an interruption passed a text that is executed,
    # as `dataclass` does in an import, though it was caught outside of it.
    interrupted = process.returncode in (130, -signal.SIGINT)
    assert process.returncode == 0 or interrupted, (seconds, process.returncode, said)
    assert "Traceback" not in said, (seconds, said)
    assert told == (["odenet: interrupted"] if interrupted else []), (seconds, said)
    assert printed or interrupted


def test_an_unforeseen_error_is_one_sentence_that_names_the_file_with_its_traceback(tmp_path: Path) -> None:
    home, script = tmp_path / "home", tmp_path / "breaks.py"
    script.write_text(
        "import sys, odenet.models\n"
        "odenet.models.models.callback = lambda **_: {}['not there']\n"
        "from odenet.main import main\nsys.exit(main(['models']))\n"
    )
    broken = start_script(home, script)
    assert broken.wait() == 1
    found = re.fullmatch(r"odenet: something went wrong .*\(KeyError: 'not there'\): .* in (\S+), .*\n", broken.stderr)
    assert found, broken.stderr
    file = Path(found[1])
    assert file.parent == home / "errors"
    assert file.stat().st_mode & 0o077 == 0
    assert "Traceback (most recent call last)" in file.read_text()
