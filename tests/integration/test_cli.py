"""The command line: what each command prints, how it ends, and what a wrong word costs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from bson import json_util
from pymongo.database import Database

from experiments.presets import presets, resolve
from odenet import arguments as command_arguments
from odenet import doctor as doctor_module
from odenet.main import COMMANDS, main
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.util.errors import InvalidInput
from tests.helpers.commands import QUICK, database_of, run_command, start_command, start_module
from tests.helpers.small_disk import small_disk
from tests.helpers.two_runs import TwoRuns
from tests.helpers.waiting import run, status_of

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
LABELS = np.arange(40) % 4


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of the test's own."""
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


def ask(home: Path, *arguments: str) -> Any:
    """The document that a command prints, nothing else on either stream."""
    command = start_command(home, *arguments, "--json")
    assert command.wait() == 0, command.stderr
    assert command.stderr == ""
    return command.json


def tell(home: Path, *arguments: str) -> str:
    """What a command prints for people."""
    command = start_command(home, *arguments)
    assert command.wait() == 0, command.stderr
    return command.stdout


# What commands print


def test_run_prints_one_document_and_nothing_else_on_standard_output(two_runs: TwoRuns) -> None:
    odenet, resnet = (command.json for command in two_runs.commands)
    assert set(odenet) == {"run_id", "status", "result", "metrics", "error"}
    assert (odenet["run_id"], odenet["status"], odenet["error"]) == (1, "COMPLETED", None)
    assert odenet["metrics"]["validation.loss"]["steps"] == [1, 2, 3]
    assert resnet["run_id"] == 2
    assert 0 <= resnet["result"] <= 1


def test_run_tells_people_each_epoch_and_the_result(home: Path) -> None:
    told = start_command(home, "run", *QUICK, "training.max_epochs=2")
    assert told.wait() == 0
    assert [line.split(" | ")[0] for line in told.stderr.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert "COMPLETED" in told.stdout
    assert "odenet show 1 tells more" in told.stdout
    counted = [float(said) for said in re.findall(r"evaluations ([\d.]+)", told.stderr)]
    mean = f"{sum(counted) / 2:.1f}"
    assert f"evaluations a batch, on average over the training: {mean}" in told.stdout
    assert (
        f"solver.nfe_forward  {mean.removesuffix('.0')}"
        in tell(home, "show", "1").partition("means over the epochs")[2]
    )
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_describe_counts_parameters_and_work(home: Path) -> None:
    described = ask(home, "describe", "with", "odenet_simple", "fashion_mnist")
    assert described["parameters"]["total"] > described["parameters"]["outside_linear"] > 0
    assert {"layers", "parameters", "multiply_adds"} <= set(described)
    assert f"{described['parameters']['total']:,}" in tell(home, "describe", "with", "odenet_simple", "fashion_mnist")
    assert not home.exists()


def test_runs_are_listed_newest_first_and_filtered(two_runs: TwoRuns) -> None:
    rows = ask(two_runs.home, "runs")
    assert [(row["run_id"], row["model"]) for row in rows] == [(2, "simple ResNet"), (1, "simple ODE-Net")]
    assert rows[0]["accuracy"] == two_runs.commands[1].json["result"]
    assert rows[0]["nfe_forward"] is None
    assert [row["run_id"] for row in ask(two_runs.home, "runs", "config.model.body=odenet", "config.seed=0")] == [1]
    assert [row["run_id"] for row in ask(two_runs.home, "runs", "--limit", "1")] == [2]
    assert ask(two_runs.home, "runs", "status!=FAILED", "--limit", "1")[0]["run_id"] == 2


@pytest.mark.parametrize("words", [("runs",), ("show", "1"), ("data", "list")])
def test_tables_are_readable_in_eighty_columns(two_runs: TwoRuns, words: tuple[str, ...]) -> None:
    table = tell(two_runs.home, *words)
    assert max(map(len, table.splitlines())) <= 80
    whole_words = {"runs": ("COMPLETED", "ODE-Net", "digits"), "show": ("COMPLETED",), "data": ("fashion_mnist",)}
    assert all(word in table for word in whole_words[words[0]])


def test_show_tells_everything_of_one_run(two_runs: TwoRuns) -> None:
    shown = ask(two_runs.home, "show", "1")
    assert shown["result"] == two_runs.commands[0].json["result"]
    assert shown["metrics"]["validation.loss"]["steps"] == [1, 2, 3]
    assert ClassificationConfig.from_dict(shown["config"]).data.subset == 200
    assert "confusion_matrix.png" in shown["artifacts"]
    assert "training.max_epochs" in tell(two_runs.home, "show", "1")


def test_data_sets_are_listed_with_those_present(home: Path) -> None:
    listed = {data["name"]: data for data in ask(home, "data", "list") if data["task"] == "classification"}
    assert listed["digits"]["present"]
    assert set(listed) >= {"mnist", "qmnist", "fashion_mnist", "cifar10", "cifar100"}
    assert not listed["mnist"]["present"]


def test_the_store_is_started_shown_and_stopped(home: Path) -> None:
    assert ask(home, "store", "status")["running"] is False
    assert not home.exists()
    started = ask(home, "store", "start")
    assert started["running"]
    assert started["address"].startswith("mongodb://***:***@127.0.0.1:")
    assert "running at mongodb://***:***@" in tell(home, "store", "status")
    assert ask(home, "store", "stop")["running"] is False
    assert tell(home, "store", "stop").startswith("not running")


def test_sync_says_when_nothing_waits(two_runs: TwoRuns) -> None:
    assert tell(two_runs.home, "sync") == "nothing waits to be delivered\n"
    assert ask(two_runs.home, "sync") == []


def test_doctor_looks_at_everything_that_a_run_needs(two_runs: TwoRuns) -> None:
    findings = {finding["name"]: finding for finding in ask(two_runs.home, "doctor")}
    assert set(findings) >= {"versions", "store", "indexes", "records", "device", "precision", "data", "disk"}
    assert findings["store"]["verdict"] == findings["indexes"]["verdict"] == "ok"
    for finding in findings.values():
        assert finding["verdict"] == "ok" or any(mark in finding["message"] for mark in (":", ";", "`"))


def test_doctor_says_what_a_missing_compiler_costs(home: Path) -> None:
    doctor = start_command(home, "doctor", CXX="no-such-compiler")
    doctor.wait()
    assert (
        "warning compiler: no-such-compiler missing: long runs on the CPU are not compiled; install g++"
        in doctor.stdout
    )


def test_doctor_says_that_a_home_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", 1000) as disk:
        monkeypatch.setenv("ODENET_HOME", str(disk))
        assert "home" not in {finding.name for finding in doctor_module._disk()}
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        [finding] = [finding for finding in doctor_module._disk() if finding.name == "home"]
        assert finding.verdict == "problem"
        assert finding.message.startswith(f"{disk} cannot be written (Read-only file system): set that right, or name")


def test_doctor_names_the_remedy_for_a_store_that_is_not_there(home: Path) -> None:
    for url, remedy in (
        ("mongodb://ada:hidden-word@127.0.0.1:9/lab", "start it, or correct ODENET_MONGO_URL"),
        ("not an address", "write mongodb://user:password@host:port/database"),
    ):
        told = start_command(home, "doctor", ODENET_MONGO_URL=url)
        assert told.wait() == 1
        assert remedy in told.stdout
        assert "hidden-word" not in told.stdout + told.stderr
        assert "Traceback" not in told.stderr


def test_a_reader_who_leaves_early_sees_no_traceback(two_runs: TwoRuns) -> None:
    for words in (("sync",), ("show", "--json", "1")):  # little output and much
        command = subprocess.Popen(
            [sys.executable, "-m", "odenet.main", *words],
            env={**os.environ, "ODENET_HOME": str(two_runs.home), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert command.stdout is not None
        command.stdout.close()
        assert command.stderr is not None
        assert command.stderr.read() == ""
        status_of(command)


# Wrong input


def write_npz(folder: Path, **arrays: Any) -> str:
    path = folder / "own.npz"
    np.savez(path, **{"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS, **arrays})
    return str(path)


def test_a_users_own_arrays_are_trained_on(home: Path, tmp_path: Path) -> None:
    own = write_npz(tmp_path)
    run = start_command(home, "run", "--json", *QUICK, f"data.name={own}", "data.subset=None", "training.max_epochs=1")
    assert run.wait() == 0, run.stderr
    assert ask(home, "runs")[0]["data"] == "own"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("trainig.lr=1",), "unknown key trainig"),
        (("training.learning=1",), "unknown key training.learning"),
        (("training.lr.value=1",), "training.lr"),
        (("lr=1",), "unknown key lr (did you mean training.lr?)"),
        (("model.channel=8",), "(did you mean model.channels?)"),
        (("training.lr=fast",), "training.lr must be a number"),
        (("data.subset=1.5",), "data.subset must be a whole number or None"),
        (("seed=-1",), "seed must be at least 0"),
        (("model.augment=-1",), "model.augment must be at least 0, not -1"),
        (("model.final_time=0",), "model.final_time must be above 0"),
        (("training.max_epochs=99999999999999999999",), "training.max_epochs must be below 2**63"),
        (("model.channels=16", "model.groups=5"), "groups"),
        (("data.subset=100000",), "data.subset is 100000 but digits has"),
        (("data.subset=12",), "too few"),
        (("data.name=digitz",), "digitz"),
        (("odenet_simpel",), "did you mean odenet_simple?"),
        (("solver.method=dopri6",), "solver.method must be one of"),
        (("training.device=tpu",), "training.device must be one of"),
        (("=1",), "names no key"),
        (("data.name=/nowhere/own.npz",), "/nowhere/own.npz"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_sentence_and_leaves_nothing(
    home: Path, words: tuple[str, ...], sentence: str
) -> None:
    command = start_command(home, "run", "--json", "with", *words)
    assert command.wait() == 2 or (command.process.exitcode == 1 and "npz" in words[0])
    assert command.stdout == ""
    assert command.stderr.startswith("odenet: ")
    assert command.stderr.count("\n") == 1
    assert sentence in command.stderr
    assert not list(home.glob("runs/*"))
    assert not list(home.glob("data/*"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a zip", "own.npz"),
        ({"x_test": PIXELS[:, :4]}, "x_test"),
        ({"y_train": LABELS[:5]}, "y_train"),
        ({"x_train": PIXELS.astype(object)}, "without arrays of Python objects"),
    ],
)
def test_an_npz_that_cannot_be_used_is_told_in_one_sentence(
    home: Path, tmp_path: Path, content: Any, sentence: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "own.npz").write_bytes(content)
    else:
        write_npz(tmp_path, **content)
    command = start_command(home, "run", "with", f"data.name={tmp_path / 'own.npz'}")
    assert command.wait() in (1, 2)
    assert sentence in command.stderr
    assert command.stderr.count("\n") == 1
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("dance",), 2),
        (("data",), 2),
        (("run", "odenet_simple"), 2),
        (("show", "99"), 2),
        (("show", "99999999999999999999999"), 2),
        (("show", "first"), 2),
        (("runs", "digits"), 2),
        (("runs", "$where=1"), 2),
        (("runs", "config.seed={1,2}"), 2),
        (("runs", "--limit", "-1"), 2),
        (("describe", "with", "data.name=digitz"), 2),
        (("data", "prepare", "digitz"), 2),
        (("store", "dance"), 2),
        (("rerun", "1", "with", "odenet_complex"), 2),
        (("resume", "1", "with", "odenet_complex"), 2),
        (("evaluate", "99"), 2),
        (("sweep", "nosuch"), 2),
    ],
)
def test_wrong_use_ends_with_status_2_and_no_traceback(two_runs: TwoRuns, words: tuple[str, ...], status: int) -> None:
    command = start_command(two_runs.home, *words)
    assert command.wait() == status
    assert command.stdout == ""
    assert "odenet" in command.stderr.splitlines()[-1]
    assert "Traceback" not in command.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rnu", "unknown command rnu (did you mean run?)"),
        ("zzz", "unknown command zzz; `odenet --help` lists them"),
        ("data lst", "unknown command lst of odenet data (did you mean list?)"),
        ("data", "missing command, as in: odenet data list"),
        ("runs --jsn", "unknown option --jsn of odenet runs (did you mean --json?)"),
        ("runs --zzz", "unknown option --zzz of odenet runs; `odenet runs --help` lists them"),
        ("runs --limit", "option '--limit' requires an argument"),
        ("runs --limit -1", "--limit must be at least 0, not -1"),
        ("sweep digits --trials 0", "--trials must be at least 1, not 0"),
        ("sweep digits --minutes nan", "--minutes must be at least 0, not nan"),
        ("gc --keep-best many", "--keep-best must be a whole number, not 'many'"),
        ("evaluate 1 --steps 1,two", "--steps '1,two' is not a list such as 1,2,4"),
        ("evaluate 1 mine.png", "mine.png is one word too many: one run is evaluated, and images follow --predict"),
        ("show", "odenet show needs ID, as in: odenet show 3"),
        ("resume first", "ID must be a whole number, not 'first'"),
        ("show 1 2", "got unexpected extra argument (2), as in: odenet show 3"),
        ("store dance", "ACTION 'dance' is not one of 'status', 'start', 'stop'"),
        ("compare 1 2 --json --markdown", "--json and --markdown are two forms of one document: leave one of them out"),
    ],
)
def test_wrong_use_is_told_in_one_sentence_with_the_remedy(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"odenet: {sentence}\n")


# Help


def test_odenet_alone_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert "..." not in shown.partition("Commands:")[2], "a summary that is cut off"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"odenet {version('odenet-pipeline')}\n"


BELOW = ("data list", "data prepare", "sweeps show", "sweeps best", "sweeps compare")
"""Commands of commands."""


@pytest.mark.parametrize("command", [*COMMANDS, *BELOW])
def test_every_help_ends_with_examples_of_its_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: odenet {command} ")
    heading, *examples = shown.partition("\n  Example")[2].splitlines()
    assert heading in (":", "s:")
    assert examples
    assert all(example.startswith(f"    odenet {command}") for example in examples)


@pytest.mark.parametrize("command", ["run", "describe", "sweep"])
def test_the_help_names_the_named_configurations(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in presets())


# Where options stand, and plug-ins


def test_options_stand_anywhere_around_the_words_of_with(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["with", "odenet_simple", "digits"]
    for arguments in (["--json", *words], [*words, "--json"], ["with", "odenet_simple", "--json", "digits"]):
        assert main(["describe", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["parameters"]["total"] == 50_612


@pytest.mark.parametrize(
    "words",
    ["run with digits", "describe with digits", "sweep digits", "rerun 1", "resume 1", "evaluate 1", "data list"],
)
def test_plugins_are_loaded_before_anything_of_the_configuration_is_parsed(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_plugins(specs: tuple[str, ...]) -> None:
        raise InvalidInput(f"asked for {' and '.join(specs)}")

    monkeypatch.setattr(command_arguments, "load_plugins", load_plugins)
    assert main([*words.split(), "--plugin", "mine.py", "--plugin", "lab.nets"]) == 2
    assert capsys.readouterr() == ("", "odenet: asked for mine.py and lab.nets\n")


# How long one waits


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--help",), 0),
        (("run", "--help"), 0),
        (("doctor", "--help"), 0),
        (("runs",), 0),
        (("show", "1"), 0),
        (("models",), 0),
        (("sweeps",), 0),
        (("gc", "--dry-run"), 0),
        (("sync",), 0),
        (("data", "list"), 0),
        (("tag", "99", "good"), 2),
        (("rm", "99"), 2),
        (("run", "with", "odenet_simpel"), 2),
        (("run", "with", "training.max_epoch=1"), 2),
        (("run", "with", "latent_ode", "spirals", "training.max_epoch=1"), 2),
        (("run", "with", "latent_ode", "spirals", "data.options.counts=80"), 2),
        (("run", "with", "gru_d", "co2", "series.observation_sd=0"), 2),
        (("rerun", "99"), 2),
        (("rerun", "1", "with", "training.max_epoch=1"), 2),
        (("resume", "99"), 2),
        (("evaluate", "99"), 2),
        (("sweep", "nosuch"), 2),
        (("sweeps", "best", "99"), 2),
    ],
)
def test_what_needs_no_network_is_not_kept_waiting_by_the_imports_of_one(
    two_runs: TwoRuns, words: tuple[str, ...], status: int
) -> None:
    done = run_command(two_runs.home, *words, options=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == status
    assert "click" in imported
    late = {"torch", "torchvision", "sklearn", "scipy", "pandas", "seaborn", "hyperopt", "ray", "sacred"}
    assert not imported & late
    assert "matplotlib" not in imported or words[0] == "sweeps"  # the scales of its parameters are matplotlib's


@pytest.mark.parametrize("words", [("describe", "with", "odenet_simple", "digits"), ("doctor",)])
def test_what_needs_torch_alone_imports_nothing_else_that_takes_long(two_runs: TwoRuns, words: tuple[str, ...]) -> None:
    done = run_command(two_runs.home, *words, options=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "torch" in imported
    assert not imported & {
        *("torchvision", "torchdiffeq", "torch._dynamo", "sklearn", "scipy", "pandas", "matplotlib", "seaborn"),
        *("ray", "sacred"),
    }


@pytest.mark.parametrize("words", [(), ("bijsterbosch-7.1", "--scale", "smoke", "--no-training")])
def test_a_look_at_what_studies_lack_does_not_wait_for_ray(two_runs: TwoRuns, words: tuple[str, ...]) -> None:
    done = run_command(two_runs.home, "paper", *words, options=("-X", "importtime"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "torch" in imported
    assert "ray" not in imported


def test_a_training_does_not_wait_for_the_libraries_of_its_figures_and_scores(tmp_path: Path) -> None:
    home = tmp_path / "home"
    words = ("run", *QUICK, "training.max_epochs=1")
    done = run_command(home, *words, options=("-X", "importtime"), draws_figures=True)
    EmbeddedStore(home).stop()
    assert done.returncode == 0
    before, after = (
        {line.rpartition("|")[2].strip() for line in lines.splitlines()} for lines in done.stderr.split("epoch 1/1", 1)
    )
    late = {"matplotlib", "matplotlib.axes", "seaborn", "pandas"}
    assert not before & {*late, "torchvision", "torchdiffeq", "torch._dynamo", "sympy", "sklearn", "scipy", "ray"}
    assert {*late, "sklearn"} <= after
    assert not after & {"torch._dynamo", "sympy"}, "nothing of it is compiled"


def test_a_folder_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    command = start_command(tmp_path / "home", "run", *QUICK)
    assert command.wait() == 1
    assert command.stderr.startswith(f"odenet: The store's folder {tmp_path}/home/store cannot be used")
    assert command.stderr.count("\n") == 1


# Passwords


def url_of(home: Path, password: str | None = None) -> tuple[str, str]:
    """The home's store as another's MongoDB, and its password."""
    url = EmbeddedStore(home).start().url
    right = json.loads((home / "store" / "credentials.json").read_text())["password"]
    return url.replace(right, password or right), right


def test_a_wrong_password_is_told_without_it_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    url, _ = url_of(home, "open-sesame")
    elsewhere = tmp_path / "elsewhere"
    for words in (("run", *QUICK), ("runs",), ("show", "1"), ("sync",), ("doctor",)):
        told = start_command(elsewhere, *words, ODENET_MONGO_URL=url)
        assert told.wait() == 1
        assert "refuses the user or the password; correct them in ODENET_MONGO_URL" in told.stderr + told.stdout
        assert "open-sesame" not in told.stdout + told.stderr
        assert "Traceback" not in told.stderr
        if words[0] != "doctor":
            assert told.stderr.count("\n") == 1
    assert database_of(home).runs.count_documents({}) == 0
    assert not list(elsewhere.glob("**/*.json"))


def test_a_right_password_is_neither_printed_nor_stored(home: Path, tmp_path: Path) -> None:
    url, password = url_of(home)
    elsewhere = tmp_path / "elsewhere"
    told = start_command(elsewhere, "run", "--json", *QUICK, "training.max_epochs=1", ODENET_MONGO_URL=url)
    assert told.wait() == 0, told.stderr
    listed = start_command(elsewhere, "show", "--json", "1", ODENET_MONGO_URL=url)
    assert listed.wait() == 0
    assert password not in told.stdout + told.stderr + listed.stdout
    database = database_of(home)
    stored = [json_util.dumps(list(database[name].find())) for name in database.list_collection_names()]
    assert password not in "".join(stored)
    assert password.encode() not in b"".join(chunk["data"] for chunk in database["fs.chunks"].find())
    assert database.runs.find_one()["store"].startswith("mongodb://***:***@127.0.0.1:")  # type: ignore[index]
    assert not (elsewhere / "store").exists()
    kept = b"".join(path.read_bytes() for path in elsewhere.rglob("*") if path.is_file())
    assert password.encode() not in kept


# Sacred's own command line


def experiment(home: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run(
        [sys.executable, "-m", "experiments.classification", *arguments],
        env={**os.environ, "ODENET_HOME": str(home), "OMP_NUM_THREADS": "1", **environment},
    )


def test_the_experiment_run_as_a_module_is_tracked_likewise(home: Path) -> None:
    done = start_module(home, "experiments.classification", *QUICK, "training.max_epochs=1", "seed=3")
    assert done.wait() == 0, done.stderr
    (row,) = ask(home, "runs")
    assert (row["run_id"], row["status"], row["seed"], row["epochs"]) == (1, "COMPLETED", 3, 1)
    assert ask(home, "show", "1")["config"]["training"]["max_epochs"] == 1


@pytest.mark.parametrize(
    ("words", "environment", "status"),
    [
        (("with", "training.lrr=1"), {}, 2),
        (QUICK, {"ODENET_MONGO_URL": "mongodb://ada:hidden-word@127.0.0.1:9/lab"}, 1),
    ],
)
def test_the_experiment_run_as_a_module_refuses_likewise(
    home: Path, words: tuple[str, ...], environment: dict[str, str], status: int
) -> None:
    refused = experiment(home, *words, **environment)
    assert refused.returncode == status
    assert refused.stderr.startswith("odenet: ")
    assert refused.stderr.count("\n") == 1
    assert "hidden-word" not in refused.stderr
    assert not home.exists()


def test_sacred_merges_named_configurations_and_updates_as_we_do() -> None:
    from experiments.classification import ex

    names = ["gladzik_resnet", "fashion_mnist", "odenet_simple"]
    updates = {"training": {"lr": 0.5}, "data": {"name": "digits", "subset": 100}, "model": {"blocks": 3, "augment": 1}}
    run = ex._create_run("print_config", config_updates=updates, named_configs=names, options={"--force": True})
    assert ClassificationConfig.from_dict(run.config) == resolve(names, {"seed": run.config["seed"], **updates}).config


def test_no_command_leaves_a_process_behind_but_the_store(two_runs: TwoRuns) -> None:
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(two_runs.home) in " ".join(process.info["cmdline"] or [])
    ]
    assert len(left) == 1
    assert "server.py" in " ".join(left[0])


def test_a_database_of_another_program_is_no_obstacle(store_home: Path, database: Database[dict[str, Any]]) -> None:
    database.runs.insert_one({"_id": 5, "status": "COMPLETED", "config": {"alpha": 1}, "info": {}})
    listed = start_command(store_home, "runs", "--json")
    assert listed.wait() == 0
    assert [(row["run_id"], row["status"]) for row in listed.json] == [(5, "COMPLETED")]
    assert "run 5 has no start_time, experiment, host that can be read" in listed.stderr
    shown = start_command(store_home, "show", "5")
    assert shown.wait() == 0
    assert "alpha" in shown.stdout


# Numbers, paths and plug-ins that cannot be


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("runs", "--limit", "3000000000"), "--limit must be at most 2,147,483,647, not 3000000000"),
        (("gc", "--checkpoint-days", "nan"), "--checkpoint-days must be at least 0, not nan"),
        (("gc", "--checkpoint-days", "1e7"), "--checkpoint-days must be at most 1,000,000, not 1e7"),
        (("show", "9" * 40), "ID must be at most 9,223,372,036,854,775,807, not " + "9" * 40),
        (("resume", "x" * 9000), "ID must be a whole number, not 'xxx"),
        (("show", "x" * 9000), "there is no run 'xxx"),
        (("board", "--port", "70000"), "--port must be at most 65,535, not 70000"),
        (("board", "--port", "0"), "--port must be at least 1, not 0"),
        (("export", "--out", ""), "--out must be a path, not nothing"),
        (("attach", "1", "~nobody-here/x"), "a path of the command is '~nobody-here/x', but there is no home folder"),
        (("restore", "a" * 300), "a path of the command is 'aaa"),
        (("evaluate", "1", "--data", ""), "'' is not a known data set"),
        (
            ("evaluate", "1", "--control", "sample", "--solver", "euler"),
            "--control sample is for adaptive methods, and",
        ),
        (
            ("describe", "with", "digits", "--plugin", "exits.py"),
            "the plug-in exits.py failed in line 2: SystemExit: 3",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_true_cause(
    two_runs: TwoRuns,
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODENET_HOME", str(two_runs.home))
    assert main(words) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith(f"odenet: {sentence}"), told
    assert len(told) < 700


def test_filters_that_match_nothing_are_answered_on_stderr(
    two_runs: TwoRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(two_runs.home))
    assert main(["runs", "--json", "data=Digits"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == []
    assert told.err == "odenet: no run has data='Digits', and there is data=digits\n"
    assert main(["runs", "stats=FAILED"]) == 2
    assert capsys.readouterr().err == "odenet: no run has a field stats (did you mean status?)\n"


def test_a_run_has_the_name_tags_and_note_that_it_began_with_and_can_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    words = ("with", "resnet_small", "digits", "training.max_epochs=1", "model.channels=4", "data.subset=64")
    assert main(["run", "--name", "narrow", "--tag", "paper", "--tag", "try", "--note", "of table 2", *words]) == 0
    assert main(["rename", "1", "narrower"]) == 0
    capsys.readouterr()
    assert main(["runs", "--json", "name=narrower", "tag=paper", "tag=try", "note~table"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["tags"], row["kind"]) == ("narrower", ["paper", "try"], "training")
    assert row["changed"] == {"training.max_epochs": 1, "model.channels": 4, "data.subset": 64}
    assert main(["show", "1"]) == 0
    shown = capsys.readouterr().out
    assert "name: narrower" in shown
    assert "changed: training.max_epochs=1, model.channels=4, data.subset=64" in shown
    assert main(["rename", "1", " "]) == 2
    assert "the name ' ' of a run must have a letter" in capsys.readouterr().err


def test_a_shell_that_is_not_known_is_told_which_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ODENET_COMPLETE", "csh_source")
    assert main([]) == 2
    assert "_ODENET_COMPLETE is 'csh_source'; it is bash_source, zsh_source or fish_source" in capsys.readouterr().err
