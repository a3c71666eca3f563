"""docs/python.md: its code blocks are scripts, run one after the other in one store, as a user would."""

import csv
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import odenet
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.reproduce import differences
from pipeline.runs.stored_parts import stored_plugins, stored_sources
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.provenance import source_files
from pipeline.util.errors import InvalidInput
from tests.helpers.commands import Command, database_of, start_command, start_script
from tests.helpers.pages import files_of, write_files
from tests.helpers.paths import ROOT
from tests.helpers.waiting import run as run_process

TRAINED, WITH_FIELD, WITH_MODEL, ENDED, TRACKED, ROOT_OF_TWO, ROOT_OF_NINE = range(1, 8)
"""The runs, in the page's order."""


@dataclass(frozen=True)
class Notebook:
    """A folder with the page's scripts, their store, and what they printed."""

    folder: Path
    home: Path
    printed: dict[str, str]

    def stored(self, run: int) -> StoredRun:
        return Runs(database_of(self.home)).get(run)

    def odenet(self, *words: str) -> Command:
        command = start_command(self.home, *words)
        assert command.wait() == 0, command.stderr
        return command

    def script(self, text: str, *arguments: str) -> Command:
        path = self.folder / "script.py"
        path.write_text(text)
        return start_script(self.home, path, *arguments)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    folder = tmp_path_factory.mktemp("notebook")
    made = Notebook(folder, folder / "home", {})
    files = files_of(ROOT / "docs" / "python.md")
    write_files(files, folder)
    for name in files:
        if name == "sacred_experiment.py":
            continue
        command = start_script(made.home, folder / name)
        assert command.wait() == 0, command.stderr
        made.printed[name] = command.stdout
    for words in ((), ("with", "square=9")):  # in interpreters of their own, which have imported nothing of ours
        environment = {name: value for name, value in os.environ.items() if name != "ODENET_MONGO_URL"}
        environment |= {"ODENET_HOME": str(made.home), "OMP_NUM_THREADS": "1"}
        done = run_process([sys.executable, "sacred_experiment.py", *words], cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
    yield made
    EmbeddedStore(made.home).stop()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"callbacks": odenet.Callback}, r"give a list of objects of odenet\.Callback, as \[Mine\(\)\]"),
        ({"callbacks": [odenet.Callback]}, r"give a list of objects of odenet\.Callback"),
        ({"plugins": "my_net.py"}, r"give a list of files or modules, as \['my_net\.py'\]"),
        ({"config": 5}, "config is 5: give a dictionary"),
    ],
)
def test_what_is_given_in_another_form_is_refused_in_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        odenet.train("resnet_small", "digits", **given)


def test_train_returns_the_run_as_the_store_has_it(notebook: Notebook) -> None:
    run = notebook.stored(TRAINED)
    assert run.status == "COMPLETED"
    assert (run.config["data"]["subset"], run.config["training"]["max_epochs"], run.config["seed"]) == (300, 2, 7)
    assert run.document["meta"]["named_configs"] == ["odenet_simple", "digits"]
    assert run.result == run.info["test"]["accuracy"]


def test_a_module_object_is_a_runs_network_or_field_and_its_source_is_stored(notebook: Notebook) -> None:
    field, network = notebook.stored(WITH_FIELD), notebook.stored(WITH_MODEL)
    assert (field.config["model"]["architecture"], network.config["model"]["architecture"]) == ("Damped", "Sequential")
    assert field.info["parameters"]["total"] == 80 + 910 + 1610
    assert network.info["parameters"]["total"] == 650
    [source] = stored_plugins(field)
    assert source.spec == "<the Damped given to train()>"
    assert b"self.convolution(z).tanh() - z / 10" in source.content


def test_what_builds_a_model_again_asks_for_a_plugin_instead_of_an_object(notebook: Notebook) -> None:
    for words in (["evaluate"], ["rerun"], ["rerun", "--use-stored-source"]):
        command = start_command(notebook.home, words[0], str(WITH_FIELD), *words[1:])
        assert command.wait() == 2
        assert f"run {WITH_FIELD} was trained with the Damped given to train()" in command.stderr
        assert "make its class a plug-in" in command.stderr


def test_a_callback_hears_the_runs_number_and_may_end_the_training(notebook: Notebook) -> None:
    assert notebook.printed["callbacks.py"].splitlines() == [f"this is run {ENDED}", "INTERRUPTED"]
    losses = notebook.stored(ENDED).metrics()["validation.loss"]
    assert losses.iloc[-1] < 1.5
    assert (losses.iloc[:-1] >= 1.5).all()
    told = "plug-in UntilGoodEnough: a callback given to train() → absent"
    assert told in [str(one) for one in differences(notebook.stored(ENDED), None)]
    notebook.odenet("resume", str(ENDED), "with", f"training.max_epochs={len(losses) + 1}")
    assert len(notebook.stored(ENDED).metrics()["validation.loss"]) == len(losses) + 1


def test_runs_are_a_frame_and_objects(notebook: Notebook) -> None:
    lines = notebook.printed["runs.py"].splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["4", "3", "2", "1"]
    assert [line.split()[:3] for line in lines[6:]] == [
        ["3", "Sequential", "650"],
        ["2", "Damped", "2600"],
        ["1", "simple", "50612"],
    ]


def test_a_trained_model_answers(notebook: Notebook) -> None:
    assert notebook.printed["model.py"].strip() in set("0123456789")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("'odenet_simpel', 'digits'", "odenet_simpel is not a named configuration (did you mean odenet_simple?)"),
        ("'digits', config={'training.lrr': 1}", "unknown key training.lrr (did you mean training.lr?)"),
        ("'digits', model=nn.Flatten(), field=nn.Flatten()", "give train() a model or a field, not both"),
        (
            "'digits', model=nn.Linear(64, 10)",
            "the Linear given to train(): the model Linear does not work for",
        ),
        ("'digits', plugins=['nowhere.py']", "the plug-in nowhere.py cannot be read"),
    ],
)
def test_what_cannot_begin_raises_a_sentence_and_leaves_no_trace(notebook: Notebook, call: str, sentence: str) -> None:
    known = database_of(notebook.home).runs.count_documents({})
    command = notebook.script(f"from torch import nn\nimport odenet\nodenet.train({call})\n")
    assert command.wait() == 1
    assert sentence in command.stderr.splitlines()[-1]
    assert database_of(notebook.home).runs.count_documents({}) == known


def test_a_run_that_fails_raises_and_is_recorded_and_the_next_one_can_begin(notebook: Notebook) -> None:
    command = notebook.script(
        """
import odenet

quick = {"data.subset": 200, "training.max_epochs": 1, "model.channels": 4, "training.device": "cpu"}
try:
    odenet.train("odenet_simple", "digits", config={**quick, "solver.max_steps": 1, "solver.rtol": 1e-9})
except odenet.RunFailed as failed:
    print(failed)
print(odenet.train("odenet_simple", "digits", config=quick).status)
"""
    )
    assert command.wait() == 0, command.stderr
    failure, status = command.stdout.splitlines()
    assert "the step limit was reached" in failure
    assert status == "COMPLETED"


def test_a_script_of_ones_own_is_recorded(notebook: Notebook) -> None:
    run = notebook.stored(TRACKED)
    assert float(notebook.printed["tracked.py"]) == run.metrics()["error"].iloc[-1] < 1e-12
    assert run.result == pytest.approx(2**0.5)


# A Sacred experiment that knows nothing of odenet but its observer


def test_a_sacred_experiment_is_recorded_whole(notebook: Notebook) -> None:
    run = notebook.stored(ROOT_OF_NINE)
    assert run.status == "COMPLETED"
    assert (run.config["square"], run.config["steps"]) == (9, 5)
    assert run.metrics()["error"].index.tolist() == [1, 2, 3, 4, 5]
    assert run.metrics()["error"].iloc[-1] < 1e-6
    assert float(run.artifact("root.txt")) == run.result == pytest.approx(3)
    assert run.info["method"] == "Newton"


def test_its_own_source_is_stored_beside_ours(notebook: Notebook) -> None:
    sources = stored_sources(notebook.stored(ROOT_OF_TWO))
    assert sources["sacred_experiment.py"] == (notebook.folder / "sacred_experiment.py").read_bytes()
    assert len(sources) == len(source_files()) + 1


def test_it_is_listed_and_shown_by_its_name_with_its_result(notebook: Notebook) -> None:
    [listed] = notebook.odenet("runs", "--json", "config.square=9").json
    assert (listed["task"], listed["model"], listed["data"]) == ("newton", "newton", "–")
    assert listed["result"] == pytest.approx(3)
    assert "accuracy" not in listed
    table = notebook.odenet("runs", "experiment.name=newton").stdout
    assert table.split()[:4] == ["run", "status", "model", "data"]
    assert re.search(r" 7 +COMPLETED newton +– +(\S+ +)?3\.0000", table), table
    shown = notebook.odenet("show", str(ROOT_OF_TWO)).stdout
    for words in ("newton", "1.4142", "square", "error", "Newton", "root.txt"):
        assert words in shown


def test_it_is_tagged_exported_compared_and_removed(notebook: Notebook) -> None:
    notebook.odenet("tag", str(ROOT_OF_TWO), "roots")
    out = notebook.folder / "tables"
    notebook.odenet("export", "config.square=2", "--format", "csv", "--out", str(out))
    [row] = csv.DictReader((out / "runs.csv").open())
    assert (row["config.square"], row["info.method"], row["tags"]) == ("2.0", "Newton", '["roots"]')
    compared = notebook.odenet("compare", str(ROOT_OF_TWO), str(ROOT_OF_NINE)).stdout
    assert "A: newton, square=2.0" in compared
    assert "Cost" not in compared
    assert "max_epochs" not in compared
    notebook.odenet("rm", str(ROOT_OF_TWO), "--yes")
    assert not database_of(notebook.home).runs.count_documents({"_id": ROOT_OF_TWO})


@pytest.mark.parametrize("words", ["rerun", "rerun --use-stored-source", "resume", "evaluate"])
def test_what_is_for_tasks_says_so(notebook: Notebook, words: str) -> None:
    name, *flags = words.split()
    command = start_command(notebook.home, name, str(ROOT_OF_NINE), *flags)
    assert command.wait() == 2
    said = f"odenet: run {ROOT_OF_NINE} is of the experiment newton, which is no task: only the program that"
    assert said in command.stderr


def test_json_of_such_a_run_is_one_document(notebook: Notebook) -> None:
    shown = json.loads(notebook.odenet("show", str(ROOT_OF_NINE), "--json").stdout)
    assert shown["result"] == pytest.approx(3)
    assert shown["config"]["steps"] == 5
