"""Runs that go on: watched, followed and stopped by another process, through the store alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import SLOW, database_of, last_epoch, start_command, start_script
from tests.helpers.waiting import wait_until

LONG = ("run", "--name", "<b>wide", *SLOW, "training.max_epochs=2000")
SCRIPT = """
import time
import odenet

with odenet.track("endless") as run:
    while True:
        run.log(loss=1.0)
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("going") / "home"
    yield home
    EmbeddedStore(home).stop()


@pytest.fixture(scope="module")
def runs(home: Path) -> Runs:
    """A run that was watched, followed and stopped, by what these commands said."""
    return Runs(database_of(home))


@pytest.fixture(scope="module")
def stopped(home: Path) -> dict[str, str]:
    """What was said of a run while it went on, by command."""
    run = start_command(home, *LONG)
    wait_until(lambda: last_epoch(home) >= 1, run)
    wait_until(lambda: last_epoch_of(Runs(database_of(home))) >= 3, run)
    watched = start_command(home, "watch")
    assert watched.wait() == 0, watched.stderr
    # The store hears of the output every ten seconds.
    wait_until(lambda: "epoch" in (Runs(database_of(home)).get(1).document.get("captured_out") or ""), run)
    followed = start_command(home, "logs", "1", "--follow")
    stop = start_command(home, "stop", "1")
    assert stop.wait() == 0, stop.stderr
    assert run.wait() == 130, run.stderr
    assert followed.wait() == 0, followed.stderr
    return {"run": run.stderr, "watch": watched.stdout, "logs": followed.stdout, "stop": stop.stdout}


def test_a_run_is_stopped_as_by_ctrl_c(stopped: dict[str, str], runs: Runs) -> None:
    assert "run 1 is INTERRUPTED; `odenet resume 1` goes on with it" in stopped["stop"]
    assert "interrupted" in stopped["run"]
    assert runs.get(1).status == "INTERRUPTED"


def test_it_was_watched_with_its_curve_in_eighty_columns(stopped: dict[str, str]) -> None:
    assert "<b>wide" in stopped["watch"]
    assert "/2000" in stopped["watch"]
    assert "█" in stopped["watch"]
    assert max(map(len, stopped["watch"].splitlines())) <= 80
    assert "…" not in stopped["watch"]


def test_its_output_was_followed_to_its_end(stopped: dict[str, str], runs: Runs) -> None:
    assert stopped["logs"].strip() == str(runs.get(1).document["captured_out"]).strip()
    epochs = re.findall(r"^epoch +(\d+)/2000", stopped["logs"], re.MULTILINE)
    assert int(epochs[-1]) == len(runs.get(1).points()["training.loss"]["values"]), "to what it printed last"


@pytest.mark.usefixtures("stopped")
def test_what_is_over_is_not_stopped_and_nothing_that_goes_on_is_no_failure(home: Path) -> None:
    again = start_command(home, "stop", "1")
    assert again.wait() == 2
    assert "run 1 is INTERRUPTED: there is nothing to stop" in again.stderr
    watched = start_command(home, "watch")
    assert watched.wait() == 0
    assert "no run goes on" in watched.stdout


@pytest.mark.usefixtures("stopped")
def test_a_run_that_is_resumed_does_not_heed_what_ended_it_and_can_be_stopped_again(home: Path, runs: Runs) -> None:
    before = last_epoch_of(runs)
    resumed = start_command(home, "resume", "1")
    wait_until(lambda: last_epoch_of(runs) > before + 3, resumed)
    stop = start_command(home, "stop", "1")
    assert stop.wait() == 0, stop.stderr
    assert resumed.wait() == 130, resumed.stderr


def last_epoch_of(runs: Runs) -> int:
    series = runs.get(1).points().get("training.loss")
    return len(series["values"]) if series else 0


@pytest.mark.usefixtures("stopped")
def test_a_tracked_script_is_stopped_too(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "endless.py"
    path.write_text(SCRIPT)
    script = start_script(home, path)
    runs = Runs(database_of(home))
    (tracked,) = wait_until(lambda: runs.find({"status": "RUNNING"}), script)
    stop = start_command(home, "stop", str(tracked.run_id))
    assert stop.wait() == 0, stop.stderr
    script.wait()
    assert runs.get(tracked.run_id).status == "INTERRUPTED"


@pytest.mark.usefixtures("stopped")
def test_runs_are_tables_of_escaped_text_in_a_notebook(runs: Runs) -> None:
    found = runs.find({"_id": 1})
    assert "&lt;b&gt;wide" in found._repr_html_()
    assert "<b>" not in found._repr_html_()
    assert found[0]._repr_html_() == found._repr_html_()
    assert runs.find({"config.seed": 99})._repr_html_() == "<p>no runs</p>"
    assert repr(found[0]).startswith("StoredRun(1, ")


def test_one_run_a_seed_with_their_mean(home: Path) -> None:
    run = start_command(home, "run", "--seeds", "5,6", *SLOW, "training.max_epochs=1", "data.subset=100")
    assert run.wait() == 0, run.stderr
    assert "2 of 2" in run.stdout
    assert "±" in run.stdout
    newest = Runs(database_of(home)).find(limit=2)
    assert [one.whole_config["seed"] for one in newest] == [6, 5]
    wrong = start_command(home, "run", "--seeds", "5,6", *SLOW, "seed=1")
    assert wrong.wait() == 2
    assert "--seeds and seed=1 both say which: leave one out" in wrong.stderr
    twice, no_list = "names the seed 1 twice: name each once", "is not a list of seeds such as 0,1,2"
    for text, told in (("1,1", twice), ("1, 1", twice), ("1,01", twice), ("a", no_list), ("", no_list)):
        wrong = start_command(home, "run", "--seeds", text, *SLOW)
        assert wrong.wait() == 2
        assert told in wrong.stderr
