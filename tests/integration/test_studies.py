"""Whole studies on real Ray workers: the one of docs/papers.md, those that come along, undisturbed and killed."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from experiments.study_plan import find_study, study_files
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import Command, children_of, database_of, start_command, workers_of
from tests.helpers.pages import files_of, write_files
from tests.helpers.paths import ROOT
from tests.helpers.waiting import wait_until

FILES = {
    "my_study.yaml": files_of(ROOT / "docs" / "papers.md")["my_study.yaml"],
    "my_field.py": files_of(ROOT / "docs" / "plugins.md")["my_field.py"],
}
LONG = """
title: Two widths
question: Which is better?
with: [odenet_simple, digits, data.subset=600, training.max_epochs=30, training.patience=None, training.device=cpu]
vary: {model.channels: [8, 16]}
read: [accuracy, epochs]
seeds: [0, 1]
"""


@dataclass(frozen=True)
class StudiedHome:
    """A home in which the study of the docs was done, and the command that did it."""

    home: Path
    folder: Path
    command: Command

    def words(self, *more: str) -> tuple[str, ...]:
        study, field = str(self.folder / "my_study.yaml"), str(self.folder / "my_field.py")
        return ("paper", study, "--plugin", field, "--scale", "smoke", *more)


def documents_of(home: Path) -> list[dict[str, Any]]:
    return list(database_of(home).runs.find())


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudiedHome]:
    folder = tmp_path_factory.mktemp("studied")
    home = folder / "home"
    write_files(FILES, folder)
    files = [f"--{kind}={folder / kind}" for kind in ("html", "markdown", "latex")]
    unstarted = StudiedHome(home, folder, None)  # type: ignore[arg-type]
    command = start_command(home, *unstarted.words("--parallel", "2", "--json", *files))
    assert command.wait() == 0, command.stderr
    yield StudiedHome(home, folder, command)
    EmbeddedStore(home).stop()


def test_the_study_of_the_docs_trains_every_row_on_every_seed_as_tracked_runs(studied: StudiedHome) -> None:
    document = studied.command.json
    assert document["missing"] == 0
    assert [row["row"] for row in document["rows"]] == ["damped", "resnet"]
    ids = [run["run_id"] for row in document["rows"] for run in row["runs"]]
    assert sorted(ids) == sorted(stored["_id"] for stored in documents_of(studied.home))
    for row in document["rows"]:
        assert [run["seed"] for run in row["runs"]] == [0, 1, 2]
        for run in row["runs"]:
            stored = Runs(database_of(studied.home)).get(run["run_id"])
            assert stored.result == pytest.approx(run["values"]["accuracy"] / 100)
            assert stored.config["training"]["max_epochs"] == 2
            assert stored.info["study"] == {"name": "my_study", "scale": "smoke"}
        assert row["cells"]["accuracy"]["n"] == 3
    assert document["rows"][1]["cells"]["nfe_test"]["mean"] is None, "a ResNet solves nothing"


def test_its_claim_is_an_equivalence_with_its_margin(studied: StudiedHome) -> None:
    (claim,) = studied.command.json["claims"]
    assert "TOST" in claim["test"]
    assert "margin ±2.00" in claim["test"]
    assert claim["verdict"] in ("points that way", "points the other way", "undecided")


def test_its_documents_name_the_scale_the_rows_and_every_run(studied: StudiedHome) -> None:
    html, markdown, latex = ((studied.folder / kind).read_text() for kind in ("html", "markdown", "latex"))
    for text in (html, markdown, latex):
        assert "300 images, 2 epochs" in text
        assert "damped field" in text
    for stored in documents_of(studied.home):
        assert f">{stored['_id']}<" in html
        assert str(stored["_id"]) in markdown
    assert "Learning curves" in html
    assert "Confusion matrices and classification reports" in html
    assert "multiply-adds of a sample, as solved" in markdown, "what is not fair is said first"


def test_what_the_store_has_is_not_done_again(studied: StudiedHome) -> None:
    before = len(documents_of(studied.home))
    again = start_command(studied.home, *studied.words("--json"))
    assert again.wait() == 0, again.stderr
    assert len(documents_of(studied.home)) == before
    assert again.json == studied.command.json
    more = start_command(studied.home, *studied.words("--seeds", "0,1,2,3", "--no-training", "--json"))
    assert more.wait() == 0, more.stderr
    assert more.json["missing"] == 2


def test_runs_with_another_plugin_source_or_configuration_are_others(studied: StudiedHome) -> None:
    changed = studied.folder / "changed"
    changed.mkdir()
    write_files({**FILES, "my_field.py": FILES["my_field.py"] + "\n# changed\n"}, changed)
    words = StudiedHome(studied.home, changed, studied.command).words("--no-training", "--json")
    other = start_command(studied.home, *words)
    assert other.wait() == 0, other.stderr
    assert other.json["missing"] == 6
    overridden = (*studied.words("--no-training", "--json"), "with", "training.lr=1e-3")
    other = start_command(studied.home, *overridden)
    assert other.wait() == 0, other.stderr
    assert other.json["missing"] == 6
    sources = start_command(studied.home, *studied.words("--same-sources", "--no-training", "--json"))
    assert sources.wait() == 0, sources.stderr
    assert sources.json["missing"] == 0


def test_an_evaluation_of_some_of_the_test_items_is_not_that_of_all(studied: StudiedHome) -> None:
    asked = FILES["my_study.yaml"].replace(
        "  resnet: {", "  euler: {evaluates: damped, solver: {method: euler, steps: 1}}\n  resnet: {"
    )
    (studied.folder / "asked.yaml").write_text(asked)
    words = ("paper", str(studied.folder / "asked.yaml"), *studied.words("--seeds", "0", "--no-training", "--json")[2:])
    run_id = studied.command.json["rows"][0]["runs"][0]["run_id"]
    for limit, missing in ((("--limit", "20"), 1), ((), 0)):
        evaluated = start_command(studied.home, "evaluate", str(run_id), "--solver", "euler", "--steps", "1", *limit)
        assert evaluated.wait() == 0, evaluated.stderr
        found = start_command(studied.home, *words)
        found.wait()
        assert found.json["missing"] == missing, found.stderr


def test_a_dry_run_says_what_it_would_do_and_what_it_takes(studied: StudiedHome) -> None:
    before = len(documents_of(studied.home))
    dry = start_command(studied.home, *studied.words("--seeds", "0,5", "--dry-run", "--json"))
    assert dry.wait() == 0, dry.stderr
    assert len(documents_of(studied.home)) == before
    runs = {(run["row"], run["seed"]): run for run in dry.json["runs"]}
    assert runs["damped", 0]["run_id"] is not None
    assert runs["damped", 5]["run_id"] is None
    assert runs["damped", 5]["basis"] == "stored runs"
    stored = [run.facts.epoch_seconds for run in Runs(database_of(studied.home)).find({"config.model.body": "odenet"})]
    known = [seconds for seconds in stored if seconds is not None]
    assert min(known) * 2 * 0.9 <= runs["damped", 5]["seconds"] <= max(known) * 2 * 1.1
    fresh = start_command(studied.home, *studied.words("--dry-run", "--json"), "with", "model.channels=12")
    assert fresh.wait() == 0, fresh.stderr
    assert {run["basis"] for run in fresh.json["runs"]} == {"measured steps"}
    assert all(run["seconds"] > 0 and run["memory_mb"] > 0 for run in fresh.json["runs"])
    cores = len(os.sched_getaffinity(0))
    wide = start_command(studied.home, *studied.words("--dry-run", "--json", "--cpus-per-run", str(cores)))
    assert wide.wait() == 0, wide.stderr
    assert wide.json["parallel"] == 1, "as many as are at once, each with all cores"
    narrow = start_command(studied.home, *studied.words("--dry-run"), COLUMNS="60")
    assert narrow.wait() == 0, narrow.stderr
    assert "a run takes" in narrow.stdout
    assert "in a wider terminal, or with --json" in narrow.stdout
    assert "…" not in narrow.stdout, "no cell and no heading is cut"


def test_the_list_has_every_study_with_what_is_done(studied: StudiedHome) -> None:
    listed = start_command(studied.home, "paper", "--scale", "smoke", "--json")
    assert listed.wait() == 0, listed.stderr
    assert [row["name"] for row in listed.json] == list(study_files())
    assert all(row["done"] == 0 and row["runs"] > 0 for row in listed.json)


def test_wrong_use_is_refused_in_one_line(studied: StudiedHome) -> None:
    for words, sentence in (
        (("paper", "bijsterbosch-71"), "did you mean bijsterbosch-7.1"),
        (("paper", "bijsterbosch-7.1", "--scale", "tiny"), "has no scale tiny"),
        (("paper", "bijsterbosch-7.1", "--seeds", "1,1"), "names the seed 1 twice: name each once"),
        (("paper", "bijsterbosch-7.1", "--seeds", "1,a"), "list of seeds"),
        (("paper", "bijsterbosch-7.1", "with", "training.lrr=1"), "did you mean training.lr"),
        (("paper", "bijsterbosch-7.1", "--model", "odenet_complex"), "--model"),
    ):
        refused = start_command(studied.home, *words)
        assert refused.wait() == 2
        assert sentence in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


# What takes longer


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "long.yaml").write_text(LONG)
    home = tmp_path / "home"
    yield home
    EmbeddedStore(home).stop()


def start_long(home: Path) -> Command:
    return start_command(home, "paper", str(home.parent / "long.yaml"), "--parallel", "2", "--json")


def epochs_so_far(home: Path) -> list[int]:
    """How far the home's live runs are, by their records on disk."""
    return [path.read_text().count('"validation.loss"') for path in (home / "runs").glob("*/metrics.jsonl")]


@pytest.mark.slow
def test_a_study_whose_driver_is_killed_goes_on_from_checkpoints_with_nothing_done_twice(home: Path) -> None:
    command = start_long(home)
    wait_until(lambda: len(epochs_so_far(home)) >= 2 and min(epochs_so_far(home)) >= 5, command)
    workers = workers_of(command)
    command.send(signal.SIGKILL)
    command.wait()
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    begun = {document["_id"] for document in documents_of(home)}
    again = start_long(home)
    assert again.wait() == 0, again.stderr
    documents = {document["_id"]: document for document in documents_of(home)}
    assert len(documents) == 4, "what was broken off went on under its number"
    assert begun <= set(documents)
    assert {document["status"] for document in documents.values()} == {"COMPLETED"}
    assert any(document.get("resumed") for document in documents.values())
    for number in documents:
        series = Runs(database_of(home)).get(number).metrics()["validation.loss"]
        assert series.index.tolist() == list(range(1, 31))
    assert again.json["missing"] == 0


@pytest.mark.slow
def test_ctrl_c_ends_a_study_in_order_and_the_same_command_goes_on(home: Path) -> None:
    command = start_long(home)
    # Each of the two at once has a checkpoint to go on from.
    wait_until(lambda: len(epochs_so_far(home)) >= 2 and min(epochs_so_far(home)) >= 2, command)
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130, command.stderr
    assert "the same command goes on" in command.stderr
    assert {document["status"] for document in documents_of(home)} <= {"INTERRUPTED", "COMPLETED"}
    again = start_long(home)
    assert again.wait() == 0, again.stderr
    assert {document["status"] for document in documents_of(home)} == {"COMPLETED"}
    assert len(documents_of(home)) == 4


@pytest.mark.slow
def test_two_of_one_study_at_once_do_nothing_twice(home: Path) -> None:
    first = start_long(home)
    wait_until(lambda: len(epochs_so_far(home)) >= 2 and min(epochs_so_far(home)) >= 2, first)
    second = start_long(home)
    for command in (first, second):
        assert command.wait() == 0, command.stderr
        assert command.json["missing"] == 0
    assert [document["status"] for document in documents_of(home)] == ["COMPLETED"] * 4


BROKEN_FIELD = """
from torch import nn

from pipeline import plugins


@plugins.field("broken")
class Broken(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 1)

    def forward(self, t, z):
        if len(z) > 2:
            raise RuntimeError("a cause of its own")
        return self.layer(z)
"""


@pytest.mark.slow
def test_a_run_that_fails_for_a_cause_of_its_own_is_missing_with_the_reason(home: Path) -> None:
    (home.parent / "broken.py").write_text(BROKEN_FIELD)
    (home.parent / "broken.yaml").write_text(
        "title: One that breaks\nquestion: Why?\nread: [accuracy]\nseeds: [0]\n"
        "with: [digits, data.subset=100, training.max_epochs=1, training.device=cpu, model.channels=8]\n"
        "runs: {broken: {label: broken, with: [broken]}, whole: {label: whole, with: [resnet_small]}}\n"
    )
    words = ("--plugin", str(home.parent / "broken.py"), "--json")
    command = start_command(home, "paper", str(home.parent / "broken.yaml"), *words)
    assert command.wait() == 1
    broken, whole = command.json["rows"]
    assert "a cause of its own" in broken["runs"][0]["why"]
    assert whole["runs"][0]["why"] is None


SLOW_FIELD = """
import os
import time

from torch import nn

from pipeline import plugins


@plugins.field("slow_once")
class SlowOnce(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, t, z):
        try:
            os.remove(os.environ["SLOW_FILE"])
            time.sleep(20)
        except FileNotFoundError:
            pass
        return self.layer(z).tanh()
"""


@pytest.mark.slow
def test_an_interrupted_study_waits_for_a_run_that_takes_long_to_hear_of_it(home: Path, tmp_path: Path) -> None:
    """Ray Tune itself ends its workers after ten seconds."""
    slow_file = tmp_path / "slow"
    write_files({"field.py": SLOW_FIELD, "s.yaml": LONG.replace("odenet_simple", "slow_once")}, tmp_path)
    words = ("paper", str(tmp_path / "s.yaml"), "--parallel", "2", "--plugin", str(tmp_path / "field.py"))
    command = start_command(home, *words, SLOW_FILE=str(slow_file))
    wait_until(lambda: len(epochs_so_far(home)) >= 2 and min(epochs_so_far(home)) >= 2, command)
    slow_file.touch()
    wait_until(lambda: not slow_file.exists(), command)
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 130, command.stderr
    assert [document["status"] for document in documents_of(home)] == ["INTERRUPTED", "INTERRUPTED"]


@pytest.mark.slow
def test_a_killed_worker_costs_the_epoch_that_it_was_in(home: Path) -> None:
    command = start_long(home)
    # Each of the two at once has a checkpoint to go on from.
    wait_until(lambda: len(epochs_so_far(home)) >= 2 and min(epochs_so_far(home)) >= 3, command)
    workers_of(command)[0].kill()
    assert command.wait() == 0, command.stderr
    assert "was lost; another goes on with it" in command.stderr
    assert {document["status"] for document in documents_of(home)} == {"COMPLETED"}
    assert len(documents_of(home)) == 4


@pytest.mark.slow
def test_a_study_outlives_the_process_that_passes_on_why_a_run_is_to_stop(home: Path) -> None:
    command = start_long(home)
    wait_until(lambda: max(epochs_so_far(home), default=0) >= 2, command)
    passing_on = [child for child in children_of(command) if "ray::_Told" in " ".join(child.cmdline())]
    assert len(passing_on) == 1
    passing_on[0].kill()
    assert command.wait() == 0, command.stderr
    assert {document["status"] for document in documents_of(home)} == {"COMPLETED"}
    assert len(documents_of(home)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_of_its_processes_ends_a_study_in_order(home: Path, number: signal.Signals) -> None:
    """As a batch system sends it, `timeout`, or a terminal that is closed."""
    command = start_long(home)
    wait_until(lambda: max(epochs_so_far(home), default=0) >= 2, command)
    for process in (*children_of(command), psutil.Process(command.pid)):
        if os.getpgid(process.pid) == os.getpgid(command.pid):
            process.send_signal(number)
    assert command.wait() == 130, command.stderr
    assert "the same command goes on" in command.stderr
    assert {document["status"] for document in documents_of(home)} <= {"INTERRUPTED", "COMPLETED"}


@pytest.fixture(scope="module")
def shipped_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("shipped") / "home"
    yield home
    EmbeddedStore(home).stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", study_files())
def test_every_table_that_comes_along_goes_from_its_file_to_its_page(name: str, shipped_home: Path) -> None:
    files = {kind: shipped_home.parent / f"{name}.{kind}" for kind in ("html", "markdown", "latex")}
    words = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    command = start_command(shipped_home, "paper", name, "--scale", "smoke", "--json", *words)
    command.wait()
    document, study = command.json, find_study(name)
    assert document["missing"] == 0, command.stderr
    refused = {"stride_1"} if name == "architecture" else set()
    for row in document["rows"]:
        ended = {run["ended"] for run in row["runs"]}
        expected = study.row(row["row"]).ends
        assert ended <= {"completed", expected, "underflow", "step_limit"} or row["row"] in refused, row
        for column in study.paper:
            if column[0] == row["row"] and ended == {"completed"}:
                assert row["cells"][column[1]]["mean"] is not None, column
                assert row["cells"][column[1]]["verdict"]
    assert len(document["claims"]) == len(study.claims)
    html = files["html"].read_text()
    assert "scale smoke" in html
    for row in document["rows"]:
        for run in row["runs"]:
            assert run["run_id"] is None or f">{run['run_id']}<" in html or f"{run['run_id']}" in html
    assert "\\begin{tabular}" in files["latex"].read_text()
    assert json.dumps(document, allow_nan=False)


@pytest.mark.slow
def test_the_architecture_study_asks_a_plugins_field_what_it_has_and_says_what_it_has_not(shipped_home: Path) -> None:
    write_files(FILES, shipped_home.parent)
    plugin = str(shipped_home.parent / "my_field.py")
    words = ("paper", "architecture", "--model", "damped", "--plugin", plugin, "--scale", "smoke", "--json")
    command = start_command(shipped_home, *words)
    assert command.wait() == 0, command.stderr
    rows = {row["row"]: row["runs"][0] for row in command.json["rows"]}
    assert rows["tanh"]["ended"] == "refused"
    assert "model.activation=tanh changes nothing" in rows["tanh"]["why"]
    for name in ("base", "stride_1", "time_2", "augment_8", "relu_before"):
        assert rows[name]["ended"] == "completed", rows[name]
