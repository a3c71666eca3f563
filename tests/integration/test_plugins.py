"""Plug-ins: the examples of docs/plugins.md, which are whole files, and what is wrong with others.

Three runs are trained once: 1 has a field, a data set and metrics of plug-ins, 2 a model, an optimiser, a schedule and
a named configuration, 3 is of a plug-in's task.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.plugins.loading import PluginSource, load_sources
from pipeline.plugins.registry import PluginError
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.stored_parts import stored_plugins
from pipeline.sweeps.stored import load_sweep
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import Command, database_of, start_command, start_script
from tests.helpers.pages import files_of, write_files
from tests.helpers.paths import ROOT
from tests.helpers.waiting import wait_until

FILES = files_of(ROOT / "docs" / "plugins.md")
KINDS = {
    "field",
    "model",
    "encoder",
    "decoder",
    "data_set",
    "metric",
    "optimiser",
    "schedule",
    "callback",
    "named_config",
    "task",
}
"""Encoders and decoders, in my_series.py, are run by the tests of runs of series."""
TINY = ("data.subset=200", "training.max_epochs=1", "training.device=cpu", "training.compile=False")
FIELD, MODEL, TASK = 1, 2, 3
"""The runs."""
PLUGINS = {
    FIELD: ("my_field.py", "my_images.py", "my_metrics.py"),
    MODEL: ("my_net.py", "my_training.py", "my_settings.py", "my_callbacks.py"),
    TASK: ("oscillator.py",),
}
WORDS: dict[int, tuple[str, ...]] = {
    FIELD: ("damped", "bars", *TINY, "model.options.damping=0.3", "data.options.noise=0.5", "model.channels=8"),
    MODEL: (
        *("tiny", "digits", "quick", "model.options.width=20", "training.optimiser=nadam"),
        *("training.optimiser_options.momentum_decay=0.01", "training.schedule=halving", "training.compile=False"),
        *("training.callbacks=progress_file,until", "training.callback_options.until.loss=0.001"),
        "training.callback_options.progress_file.path=/dev/null",
    ),
    TASK: ("oscillator", *TINY, "model.options.width=8", "data.damping=0.2", "training.lr=0.01"),
}
SPACES = {
    FIELD: """
with: [damped, bars, data.subset=200, model.channels=4, training.max_epochs=1, training.device=cpu]
minimise: validation.brier
space:
  model.options.damping: {uniform: [0.0, 1.0]}
  data.options.noise: {choice: [0.1, 0.5]}
""",
    TASK: """
with: [oscillator, data.subset=200, training.max_epochs=1, training.device=cpu]
minimise: validation.loss
space:
  model.options.width: {uniformint: [4, 16]}
  training.lr: {loguniform: [1e-3, 1e-1]}
""",
}


@dataclass(frozen=True)
class Lab:
    """A store with the three runs, and a folder with the plug-ins."""

    home: Path
    folder: Path

    @property
    def marker(self) -> Path:
        """Created whenever my_net.py is executed."""
        return self.folder / "executed"

    def lay_out(self) -> None:
        """The plug-ins as the runs were trained with."""
        write_files(FILES, self.folder)
        with (self.folder / "my_net.py").open("a") as file:
            file.write(f"\nfrom pathlib import Path\n\nPath({str(self.marker)!r}).touch()\n")

    def flags(self, run: int) -> list[str]:
        return [word for name in PLUGINS[run] for word in ("--plugin", str(self.folder / name))]

    def start(self, *words: str) -> Command:
        return start_command(self.home, *words)

    def stored(self, run: int) -> StoredRun:
        return Runs(database_of(self.home)).get(run)

    def number_of_runs(self) -> int:
        return database_of(self.home).runs.count_documents({})


@pytest.fixture(scope="module")
def trained_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    lab = Lab(folder / "home", folder / "plugins")
    lab.lay_out()
    for run in (FIELD, MODEL, TASK):
        done(lab.start("run", *lab.flags(run), "with", *WORDS[run]))
    yield lab
    EmbeddedStore(lab.home).stop()


@pytest.fixture
def lab(trained_lab: Lab) -> Lab:
    """The same, the plug-ins' files as they were."""
    trained_lab.lay_out()
    trained_lab.marker.unlink(missing_ok=True)
    return trained_lab


def done(command: Command) -> Command:
    """The command, which succeeds."""
    assert command.wait() == 0, command.stderr
    return command


def refusal(command: Command, status: int = 2) -> str:
    """What a command says that fails: one sentence."""
    assert command.wait() == status, command.stderr
    *_, sentence = command.stderr.splitlines()
    assert "Traceback" not in command.stderr
    assert sentence.startswith("odenet: ")
    return sentence.removeprefix("odenet: ")


# What is recorded


def test_the_page_has_an_example_of_every_kind_and_the_tests_run_them_all() -> None:
    decorators = set(re.findall(r"plugins\.(\w+)\(", "".join(FILES.values())))
    assert decorators == KINDS
    assert {name for names in PLUGINS.values() for name in names} == set(FILES) - {"my_series.py"}


@pytest.mark.parametrize("run", [FIELD, MODEL, TASK])
def test_the_sources_of_plugins_are_stored_with_their_run(lab: Lab, run: int) -> None:
    stored = stored_plugins(lab.stored(run))
    assert [source.name for source in stored] == list(PLUGINS[run])
    assert [source.content for source in stored] == [(lab.folder / name).read_bytes() for name in PLUGINS[run]]
    assert [source.spec for source in stored] == [str(lab.folder / name) for name in PLUGINS[run]]


def test_options_are_recorded_those_that_were_not_set_with_their_defaults(lab: Lab) -> None:
    field, model = lab.stored(FIELD).config, lab.stored(MODEL).config
    assert field["model"]["options"] == {"damping": 0.3}
    assert field["data"]["options"] == {"noise": 0.5}
    assert model["model"]["options"] == {"width": 20, "activation": "tanh"}
    assert model["training"]["optimiser_options"] == {"momentum_decay": 0.01}
    assert model["training"]["schedule_options"] == {"epochs": 1}


def test_a_named_configuration_of_a_plugin_sets_what_it_says(lab: Lab) -> None:
    config = lab.stored(MODEL).config
    assert (config["data"]["subset"], config["solver"]["method"], config["training"]["max_epochs"]) == (200, "euler", 2)


def test_a_schedule_of_a_plugin_decides_the_rate_of_every_epoch(lab: Lab) -> None:
    assert list(lab.stored(MODEL).metrics()["training.lr"]) == pytest.approx([0.001, 0.0005])


def test_metrics_of_plugins_are_recorded_on_their_splits_and_listed(lab: Lab) -> None:
    run = lab.stored(FIELD)
    recorded = {name for name in run.points() if name.endswith((".brier", ".calibration"))}
    assert recorded == {"training.brier", "validation.brier", "validation.calibration"}
    assert 0 < run.info["test"]["brier"] < 1
    assert 0 <= run.info["test"]["calibration"] < 1
    listed = done(lab.start("runs", "--json", "_id=1")).json
    assert listed[0]["brier"] == run.info["test"]["brier"]


def test_a_run_of_a_plugins_task_has_the_tasks_own_result_and_keys(lab: Lab) -> None:
    run = lab.stored(TASK)
    assert run.document["experiment"]["name"] == "oscillator"
    assert run.result == run.info["test"]["rmse"] > 0
    assert run.config["data"]["damping"] == 0.2
    assert run.metrics()["solver.nfe_forward"].notna().all()
    assert "RMSE" in done(lab.start("runs")).stdout


EDITING = """
import os, sys
from pathlib import Path
from pipeline.plugins import load_plugins, registry

sys.dont_write_bytecode = False
path = Path(sys.argv[1])
for width in (32, 16):
    path.write_text(path.read_text().replace("width: int = 32", f"width: int = {width}"))
    os.utime(path, (0, 0))
    load_plugins([str(path)])
    [option, _] = registry.find("model", "tiny").options
    print(option.default)
"""


def test_a_plugin_that_is_edited_within_a_second_runs_as_it_then_is(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "edit.py").write_text(EDITING)
    edited = done(start_script(lab.home, tmp_path / "edit.py", str(lab.folder / "my_net.py")))
    assert edited.stdout.split() == ["32", "16"]
    assert not (lab.folder / "__pycache__").exists()


# Callbacks


def test_callbacks_of_plugins_hear_of_the_training_and_are_recorded_with_their_options(lab: Lab) -> None:
    training = lab.stored(MODEL).config["training"]
    assert training["callbacks"] == "progress_file,until"
    assert training["callback_options"] == {"progress_file": {"path": "/dev/null"}, "until": {"loss": 0.001}}
    path = lab.folder / "written.txt"
    again = done(
        lab.start("rerun", str(MODEL), "--json", "with", f"training.callback_options.progress_file.path={path}")
    )
    assert again.json["identical"]
    assert path.read_text() == f"2 {lab.stored(MODEL).metrics()['validation.loss'].iloc[-1]}"


def test_a_callback_may_end_a_training_which_is_then_scored_and_can_go_on(lab: Lab) -> None:
    words = (*WORDS[MODEL], "training.max_epochs=5", "training.callback_options.until.loss=100.0")
    words = (*words, "training.schedule=constant", f"training.callback_options.progress_file.path={lab.folder / 'w'}")
    ended = done(lab.start("run", "--json", *lab.flags(MODEL), "with", *words)).json["run_id"]
    run = lab.stored(ended)
    assert (run.status, len(run.metrics()["training.loss"])) == ("COMPLETED", 1)
    assert run.result is not None
    assert run.facts.stopped_early
    done(lab.start("resume", str(ended)))
    assert len(lab.stored(ended).metrics()["training.loss"]) == 2  # once more, by the same callback


RAISING = """
from pipeline import plugins
from pipeline.training import Callback

@plugins.callback("raising")
class Raising(Callback):
    def batch_done(self, epoch, batch, loss):
        {line}

@plugins.callback("nothing")
def nothing():
    return 3
"""


def test_a_callback_that_raises_is_told_with_its_line_and_the_run_has_failed(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "raising.py"
    file.write_text(RAISING.format(line="return 1 / 0"))
    words = ("run", "--plugin", str(file), "with", "odenet_simple", "digits", *TINY)
    sentence = refusal(lab.start(*words, "training.callbacks=raising"), status=1)
    assert "the plug-in raising.py failed in line 8: ZeroDivisionError: division by zero; correct it there" in sentence
    [run] = Runs(database_of(lab.home)).find(limit=1)
    assert run.status == "FAILED"
    assert "line 8" in run.info["failure"]["message"]
    sentence = refusal(lab.start(*words, "training.callbacks=nothing"), status=1)
    assert f"{file}:10: the callback nothing returned a int; return a pipeline.training.Callback" in sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "training.callbacks=untli",
            "there is no callback 'untli' (did you mean until?); there are until, progress_file",
        ),
        ("training.callbacks=until,until", "training.callbacks names until twice"),
        (
            "training.callbacks=until training.callback_options.until.los=1.0",
            "unknown option training.callback_options.until.los (did you mean loss?); there are loss",
        ),
        (
            "training.callbacks=until training.callback_options.until.loss=low",
            "training.callback_options.until.loss must be a number, not 'low'",
        ),
        ("training.callback_options.until.loss=1.0", "has options of 'until', which training.callbacks does not name"),
    ],
)
def test_what_no_callback_is_or_takes_is_refused(lab: Lab, words: str, sentence: str) -> None:
    known = lab.number_of_runs()
    flags = ("--plugin", str(lab.folder / "my_callbacks.py"))
    assert sentence in refusal(lab.start("run", *flags, "with", "odenet_simple", "digits", *words.split()))
    assert lab.number_of_runs() == known


# describe, data list


def test_describe_shows_options_and_a_fields_layers(lab: Lab) -> None:
    words = ("describe", *lab.flags(FIELD), "with", "damped", "bars", "model.options.damping=0.7")
    assert "options: data.options.noise=0.3, model.options.damping=0.7" in done(lab.start(*words)).stdout
    layers = [layer["name"] for layer in done(lab.start(*words, "--json")).json["layers"]]
    assert layers == ["stem.0", "body.0", "body.1.field.convolution", "head.0", "head.1"]
    of_task = done(lab.start("describe", "--json", *lab.flags(TASK), "with", "oscillator", "model.options.width=4"))
    assert of_task.json["options"] == {"model.options.width": 4}
    assert of_task.json["parameters"] == {"total": 22}


def test_a_data_set_of_a_plugin_is_listed_with_its_file(lab: Lab) -> None:
    listed = done(lab.start("data", "list", "--json", "--plugin", str(lab.folder / "my_images.py"))).json
    bars = next(status for status in listed if status["name"] == "bars")
    assert bars["present"]
    assert bars["images"] == "800 + 200, 1 × 8 × 8"
    assert bars["where"] == str(lab.folder / "my_images.py")


# Without --plugin: evaluate, resume, rerun, load_model


@pytest.mark.parametrize(("run", "score"), [(FIELD, "brier"), (MODEL, "accuracy"), (TASK, "rmse")])
def test_evaluate_finds_the_plugins_of_a_run_without_being_told(lab: Lab, run: int, score: str) -> None:
    words = ("evaluate", str(run), "--json", "--solver", "euler", "--steps", "1,3")
    as_trained, *others = done(lab.start(*words)).json["rows"]
    assert as_trained["trained"]
    assert as_trained[score] == pytest.approx(lab.stored(run).info["test"][score])
    assert others
    assert all(row["status"] == "completed" and row[score] is not None for row in others)


@pytest.mark.parametrize("run", [FIELD, TASK])
def test_resume_finds_the_plugins_of_a_run_without_being_told(lab: Lab, run: int) -> None:
    resumed = done(lab.start("run", "--json", *lab.flags(run), "with", *WORDS[run])).json["run_id"]
    done(lab.start("resume", str(resumed), "with", "training.max_epochs=2"))
    assert list(lab.stored(resumed).metrics()["training.loss"].index) == [1, 2]
    assert len(stored_plugins(lab.stored(resumed))) == len(PLUGINS[run])


@pytest.mark.parametrize("run", [FIELD, MODEL, TASK])
def test_rerun_with_unchanged_plugins_comes_out_the_same(lab: Lab, run: int) -> None:
    assert "identical" in done(lab.start("rerun", str(run), "--expect-identical")).stdout


LOADING = """
import json, sys
import torch
import odenet

model = odenet.load_model(int(sys.argv[1]))
inputs = torch.zeros(4, *json.loads(sys.argv[2]))
with torch.no_grad():
    print(json.dumps(list(model.network(inputs).shape)))
"""


@pytest.mark.parametrize(("run", "shape", "outputs"), [(FIELD, [1, 8, 8], 2), (MODEL, [1, 8, 8], 10), (TASK, [2], 2)])
def test_load_model_finds_the_plugins_of_a_run_without_being_told(
    lab: Lab, tmp_path: Path, run: int, shape: list[int], outputs: int
) -> None:
    (tmp_path / "load.py").write_text(LOADING)
    loaded = done(start_script(lab.home, tmp_path / "load.py", str(run), json.dumps(shape)))
    assert loaded.json == [4, outputs]


# When a plug-in has changed or is gone


def test_a_run_whose_plugin_has_changed_is_not_taken_for_it(lab: Lab) -> None:
    file = lab.folder / "my_field.py"
    file.write_text(file.read_text().replace(".tanh()", ".sin()"))

    sentence = refusal(lab.start("rerun", str(FIELD)))
    named = done(lab.start("rerun", str(FIELD), "--plugin", str(file), "--json"))
    stored = done(lab.start("rerun", str(FIELD), "--use-stored-source", "--expect-identical", "--json"))

    assert f"the plug-in my_field.py of run {FIELD} has changed at {file} since" in sentence
    assert "--use-stored-source" in sentence
    assert not named.json["identical"]
    assert [difference["name"] for difference in named.json["differences"]] == ["my_field.py"]
    assert "+        return self.convolution(z).sin() - self.damping * z" in named.stderr
    assert stored.json["identical"]
    assert (
        lab.stored(stored.json["run_id"]).document["experiment"]["plugins"]
        == (lab.stored(FIELD).document["experiment"]["plugins"])
    )


def test_nothing_of_the_store_is_executed_unless_asked_for_and_shown(lab: Lab, tmp_path: Path) -> None:
    (lab.folder / "my_net.py").unlink()
    (tmp_path / "load.py").write_text(LOADING)
    gone = f"the plug-in my_net.py of run {MODEL} is not at {lab.folder / 'my_net.py'} any more: name it with --plugin"

    for words in (["evaluate"], ["rerun"], ["resume"], ["evaluate", "--predict", str(tmp_path)]):
        assert gone in refusal(lab.start(words[0], str(MODEL), *words[1:]))
    loading = start_script(lab.home, tmp_path / "load.py", str(MODEL), "[1, 8, 8]")
    assert loading.wait() == 1
    assert gone in loading.stderr
    assert not lab.marker.exists()

    stored = done(lab.start("rerun", str(MODEL), "--use-stored-source", "--expect-identical"))
    assert f"plug-in my_net.py ({lab.folder / 'my_net.py'}, sha256 " in stored.stderr
    assert lab.marker.exists()


def test_a_plugin_that_has_moved_is_found_under_its_name_where_it_is_named(lab: Lab, tmp_path: Path) -> None:
    shutil.move(lab.folder / "oscillator.py", tmp_path / "oscillator.py")
    moved = lab.start("rerun", str(TASK), "--plugin", str(tmp_path / "oscillator.py"), "--expect-identical")
    assert "identical" in done(moved).stdout


def test_a_plugin_that_was_changed_in_the_store_is_not_executed(lab: Lab) -> None:
    number = 1000
    copy = {**lab.stored(FIELD).document, "_id": number, "uid": "0" * 32}
    [plugin, *_], [other] = (lab.stored(run).document["experiment"]["plugins"] for run in (FIELD, TASK))
    copy["experiment"] = {**copy["experiment"], "plugins": [{**plugin, "file_id": other["file_id"]}]}
    database_of(lab.home).runs.insert_one(copy)
    sentence = refusal(lab.start("rerun", str(number), "--use-stored-source"), status=1)
    assert "my_field.py" in sentence
    assert "changed in the store: do not run it" in sentence


@pytest.mark.parametrize("name", ["../escaped.py", "/tmp/escaped.py"])  # noqa: S108 - a name that is refused
def test_a_stored_name_that_leads_out_of_its_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    source = PluginSource(str(tmp_path / "gone.py"), name, b"raise SystemExit")
    with pytest.raises(PluginError, match="would be written outside its folder"):
        load_sources([source])
    assert not list(tmp_path.rglob("escaped.py"))


# Sweeps


def sweep(lab: Lab, run: int, trials: int) -> Command:
    """A sweep on two workers, whose plug-ins' files are gone as soon as it has begun."""
    space = lab.folder.parent / f"space_{run}.yaml"
    space.write_text(SPACES[run])
    known = lab.number_of_runs()
    words = ("sweep", str(space), *lab.flags(run), "--trials", str(trials), "--parallel", "2", "--fresh-seeds", "0")
    command = lab.start(*words, "--no-pruning", "--json")
    wait_until(lambda: lab.number_of_runs() > known, command)
    for name in PLUGINS[run]:
        (lab.folder / name).unlink()
    return done(command)


@pytest.mark.parametrize(
    ("run", "searched"),
    [
        (FIELD, {"model.options.damping", "data.options.noise"}),
        pytest.param(TASK, {"model.options.width", "training.lr"}, marks=pytest.mark.slow),
    ],
)
def test_workers_find_plugins_without_being_told_though_their_files_are_gone(
    lab: Lab, run: int, searched: set[str]
) -> None:
    outcome = sweep(lab, run, trials=3).json
    swept = load_sweep(Runs(database_of(lab.home)), outcome["run_id"])
    assert outcome["trials"] == {"completed": 3}
    for trial in swept.state.trials.values():
        assert trial.run_id is not None
        assert trial.suggestion.keys() == searched
        trained = lab.stored(trial.run_id)
        assert {key: trained.whole_config[key] for key in searched} == trial.suggestion
        # Where they were found, and not where the worker has its copies.
        assert [plugin.spec for plugin in stored_plugins(trained)] == [str(lab.folder / name) for name in PLUGINS[run]]
    assert swept.best is not None
    assert swept.best.value == min(trial.value for trial in swept.state.trials.values() if trial.value is not None)
    best = lab.home / "sweeps" / str(outcome["run_id"]) / "best.yaml"
    flags = [word for name in PLUGINS[run] for word in ("--plugin", str(lab.folder / name))]
    said = best.read_text().splitlines()[1].removeprefix("# ")
    assert shlex.split(said) == ["odenet", "run", *flags, "with", str(best)]


# Installed modules and entry points


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The folder of an installed package whose entry point names a module with a field and a data set."""
    site = tmp_path / "site"
    field = FILES["my_field.py"].replace('"damped"', '"lab_damped"')
    images = FILES["my_images.py"].replace('"bars"', '"lab_bars"')
    write_files(
        {
            "lab_nets/__init__.py": '"""Nets of a lab."""\n',
            "lab_nets/fields.py": field,
            "lab_nets/parts.py": f"from lab_nets import fields as fields\n{images}",
            "lab_nets-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lab-nets\nVersion: 1.0\n",
            "lab_nets-1.0.dist-info/entry_points.txt": "[odenet.plugins]\nlab = lab_nets.parts\n",
        },
        site,
    )
    return site


def test_a_package_with_an_entry_point_needs_no_flag_and_is_stored_whole(lab: Lab, package: Path) -> None:
    words = ("run", "--json", "with", "lab_damped", "lab_bars", "model.channels=4", *TINY)
    number = done(start_command(lab.home, *words, PYTHONPATH=str(package))).json["run_id"]
    assert {source.name for source in stored_plugins(lab.stored(number))} == {
        *("lab_nets/__init__.py", "lab_nets/fields.py", "lab_nets/parts.py")
    }
    done(start_command(lab.home, "evaluate", str(number), "--solver", "euler", PYTHONPATH=str(package)))

    without = refusal(lab.start("evaluate", str(number)))
    assert f"the plug-in lab_nets/__init__.py of run {number} is not at lab_nets.parts any more" in without
    again = done(lab.start("rerun", str(number), "--use-stored-source", "--json"))
    assert again.json["identical"]


def test_a_package_that_has_changed_is_not_taken_for_the_one_of_a_run_but_where_it_is_named(
    lab: Lab, package: Path
) -> None:
    installed = {"PYTHONPATH": str(package)}
    words = ("run", "--json", "with", "lab_damped", "lab_bars", "model.channels=4", *TINY)
    number = done(start_command(lab.home, *words, **installed)).json["run_id"]
    evaluate = ("evaluate", str(number), "--solver", "euler")
    (package / "lab_nets" / "notes.py").touch()
    done(start_command(lab.home, *evaluate, **installed))

    file = package / "lab_nets" / "fields.py"
    file.write_text(file.read_text().replace(".tanh()", ".sin()"))
    changed = f"the plug-in lab_nets/fields.py of run {number} has changed at lab_nets.parts since"
    for refused in (evaluate, ("rerun", str(number)), ("resume", str(number))):
        assert changed in refusal(start_command(lab.home, *refused, **installed))
    done(start_command(lab.home, *evaluate, "--plugin", "lab_nets.parts", **installed))


def test_a_module_of_a_namespace_package_is_a_plugin_and_stored_with_its_path(lab: Lab, package: Path) -> None:
    (package / "lab_nets" / "__init__.py").unlink()
    named = {"PYTHONPATH": str(package)}
    words = ("run", "--json", "--plugin", "lab_nets.fields", "with", "lab_damped", "digits", "model.channels=4", *TINY)
    number = done(start_command(lab.home, *words, **named)).json["run_id"]
    assert [source.name for source in stored_plugins(lab.stored(number))][-1] == "lab_nets/fields.py"
    done(start_command(lab.home, "evaluate", str(number), "--solver", "euler", "--plugin", "lab_nets.fields", **named))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import json\n\njson.loads('{')\n", "failed in line 3 of lab_nets/fields.py: JSONDecodeError: "),
        ("import lab_nets.nowhere\n", "failed in line 1 of lab_nets/fields.py: ModuleNotFoundError: "),
        ("def f(:\n", "failed in line 1 of lab_nets/fields.py: SyntaxError: "),
    ],
)
def test_a_package_that_fails_is_told_with_its_own_file_and_line(
    lab: Lab, package: Path, text: str, sentence: str
) -> None:
    (package / "lab_nets" / "fields.py").write_text(text)
    command = start_command(lab.home, "describe", "with", "odenet_simple", "digits", PYTHONPATH=str(package))
    assert f"the plug-in lab_nets.parts {sentence}" in refusal(command)


def test_an_installed_module_is_named_by_its_name(lab: Lab, package: Path) -> None:
    shutil.rmtree(package / "lab_nets-1.0.dist-info")
    words = ("describe", "--plugin", "lab_nets.parts", "with", "lab_damped", "lab_bars")
    assert "options: data.options.noise" in done(start_command(lab.home, *words, PYTHONPATH=str(package))).stdout
    assert "neither a file nor an installed module" in refusal(lab.start(*words))


def test_the_stored_modules_of_a_package_are_loaded_where_it_is_not_installed(
    lab: Lab, package: Path, tmp_path: Path
) -> None:
    script = """
import sys
from pathlib import Path
from pipeline.plugins.loading import PluginSource, load_sources
from pipeline.plugins import registry

site = Path(sys.argv[1])
files = sorted(site.rglob("lab_nets/*.py"))
load_sources([PluginSource("lab_nets.parts", str(file.relative_to(site)), file.read_bytes()) for file in files])
print(registry.find("field", "lab_damped").where)
"""
    (tmp_path / "worker.py").write_text(script)
    worker = done(start_script(lab.home, tmp_path / "worker.py", str(package)))
    assert worker.stdout.startswith(str(lab.home / "plugins"))


# What is refused

HEAD = "from torch import nn, zeros\nfrom pipeline import plugins\n"
MODULE = "nn.Sequential(nn.Flatten(), nn.Linear(64, 10))"
WRONG: dict[str, tuple[str, str]] = {
    "syntax": ("def f(:\n", r"the plug-in \S+/mine.py failed in line 1: SyntaxError: invalid syntax; correct it there"),
    "raises": (
        "x = 1\nraise RuntimeError('no luck')\n",
        r"the plug-in \S+/mine.py failed in line 2: RuntimeError: no luck; correct it there",
    ),
    "missing_import": ("import numpyy\n", r"failed in line 1: ModuleNotFoundError: No module named 'numpyy'"),
    "registers_nothing": ("x = 1\n", r"the plug-in \S+/mine.py registers nothing: put a decorator"),
    "taken_name": (
        f"{HEAD}@plugins.field('simple')\ndef simple(channels): ...\n",
        r"mine.py:3: the model simple comes along; choose another name",
    ),
    "taken_named_configuration": (
        f"{HEAD}@plugins.model('digits')\ndef digits(input_shape, outputs, solver): return {MODULE}\n",
        r"mine.py:3: something else that `with` takes is called digits; choose another name for the model",
    ),
    "taken_twice": (
        f"{HEAD}@plugins.model('mine')\ndef one(input_shape, outputs, solver): ...\n"
        "@plugins.field('mine')\ndef other(channels): ...\n",
        r"mine.py:5: \S+/mine.py:3 has registered a model mine; choose another name",
    ),
    "odd_name": (f"{HEAD}@plugins.field('my field')\ndef f(channels): ...\n", r"'my field' cannot name a field"),
    "too_few_arguments": (
        f"{HEAD}@plugins.model('mine')\ndef mine(input_shape): ...\n",
        r"mine.py:3: mine must take the arguments input_shape, outputs, solver, and options behind a \*",
    ),
    "option_without_type": (
        f"{HEAD}@plugins.field('mine')\ndef mine(channels, *, depth=3): ...\n",
        r"mine.py:3: the option depth of mine needs a type and a default, as in depth: int = 32",
    ),
    "option_without_default": (
        f"{HEAD}@plugins.field('mine')\ndef mine(channels, *, depth: int): ...\n",
        r"the option depth of mine needs a type and a default",
    ),
    "option_of_an_odd_type": (
        f"{HEAD}@plugins.field('mine')\ndef mine(channels, *, depth: nn.Module = nn.Tanh()): ...\n",
        r"the option depth of mine has a type that a configuration cannot hold: use int, float",
    ),
    "default_of_another_type": (
        f"{HEAD}@plugins.field('mine')\ndef mine(channels, *, depth: int = 'deep'): ...\n",
        r"the default of model.options.depth must be a whole number, not 'deep'",
    ),
    "no_module": (
        f"{HEAD}@plugins.model('mine')\ndef mine(input_shape, outputs, solver):\n    return 3\n",
        r"mine.py:3: the model mine returned a int; return a torch.nn.Module",
    ),
    "model_raises": (
        f"{HEAD}@plugins.model('mine')\ndef mine(input_shape, outputs, solver):\n    return 1 / 0\n",
        r"the plug-in mine.py failed in line 5: ZeroDivisionError: division by zero; correct it there",
    ),
    "too_few_outputs": (
        f"{HEAD}@plugins.model('mine')\ndef mine(input_shape, outputs, solver):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))\n",
        r"the model mine does not work for an image of 1 × 8 × 8: .* gives \(1, 7\) and not \(1, 10\)",
    ),
    "field_of_another_shape": (
        f"{HEAD}@plugins.field('mine')\nclass Field(nn.Module):\n    def __init__(self, channels: int):\n"
        "        super().__init__()\n    def forward(self, t, z):\n        return z[:, :1]\n",
        r"the field mine does not work .* its field gives \(1, 1, 4, 4\) for a state of \(1, 66, 4, 4\), and both",
    ),
    "field_without_time": (
        f"{HEAD}@plugins.field('mine')\nclass Field(nn.Module):\n    def __init__(self, channels: int):\n"
        "        super().__init__()\n    def forward(self, z):\n        return z\n",
        r"the field mine does not work .*, a state of \(1, 66, 4, 4\) by model.channels and model.augment: "
        "TypeError: .* takes 2 positional arguments but 3 were given",
    ),
    "no_task": (
        f"{HEAD}@plugins.task('mine')\nclass Mine: ...\n",
        r"mine.py:3: the task mine has no config, metric_specs, result: derive it from pipeline.tasks.base.Task",
    ),
    "metric_that_is_there": (
        f"{HEAD}@plugins.metric('loss')\ndef loss(scores, labels): ...\n",
        r"mine.py:3: the metric loss is recorded already; choose another name",
    ),
    "metric_that_is_lowest": (
        f"{HEAD}@plugins.metric('mine', better='lowest')\ndef mine(scores, labels): ...\n",
        r"the metric mine has better='lowest': give lower, higher or None",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_plugin_is_refused_in_a_sentence_before_a_run_begins(lab: Lab, tmp_path: Path, case: str) -> None:
    text, sentence = WRONG[case]
    (tmp_path / "mine.py").write_text(text)
    known = lab.number_of_runs()
    command = lab.start("run", "--plugin", str(tmp_path / "mine.py"), "with", "mine", "digits")
    assert re.search(sentence, refusal(command))
    assert lab.number_of_runs() == known


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return 3", r"mine.py:2: the data set mine must return a dictionary with x_train, y_train, x_test, y_test"),
        (
            "return dict.fromkeys(('x_train', 'y_train', 'x_test', 'y_test'), [[[0.5]]])",
            r"mine.py: y_train has shape \(1, 1, 1\), but",
        ),
        ("return [][0]", r"the plug-in mine.py failed in line 4: IndexError: list index out of range"),
    ],
)
def test_a_data_set_that_is_none_is_refused(lab: Lab, tmp_path: Path, body: str, sentence: str) -> None:
    (tmp_path / "mine.py").write_text(
        f"from pipeline import plugins\n@plugins.data_set('mine')\ndef mine():\n    {body}\n"
    )
    command = lab.start("run", "--plugin", str(tmp_path / "mine.py"), "with", "odenet_simple", "mine")
    assert command.wait() in (1, 2)
    assert re.search(sentence, refusal(command, status=command.wait()))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("shape=(1, 9, 9)", r"mine.py:3: the data set mine has shape=\(1, 8, 8\), but says \(1, 9, 9\): correct it"),
        ("shape=[1, 8, 8], classes=3", r"mine.py:3: the data set mine has classes=2, but says 3: correct it"),
    ],
)
def test_a_data_set_that_is_not_what_it_says_of_itself_is_refused(
    lab: Lab, tmp_path: Path, said: str, sentence: str
) -> None:
    (tmp_path / "mine.py").write_text(
        f"import numpy as np\nfrom pipeline import plugins\n@plugins.data_set('mine', {said})\ndef mine():\n"
        "    x, y = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2\n"
        "    return {'x_train': x, 'y_train': y, 'x_test': x, 'y_test': y}\n"
    )
    command = lab.start("run", "--plugin", str(tmp_path / "mine.py"), "with", "resnet_small", "mine")
    assert re.search(sentence, refusal(command, status=1))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "model.options.widht=3",
            "unknown option model.options.widht (did you mean width?); there are width, activation",
        ),
        ("model.options.width=wide", "model.options.width must be a whole number, not 'wide'"),
        ("model.options.activation=relu", "model.options.activation must be one of tanh, softplus, not 'relu'"),
        (
            "training.optimiser_options.x=1",
            "unknown option training.optimiser_options.x; there are none, but what a plug-in "
            "(--plugin FILE) takes behind a *",
        ),
        ("model.architecture=tin", "model.architecture must be one of complex, gladzik, simple, tiny, not 'tin'"),
    ],
)
def test_wrong_options_are_refused_with_the_nearest_right_name(lab: Lab, words: str, sentence: str) -> None:
    command = lab.start("run", "--plugin", str(lab.folder / "my_net.py"), "with", "tiny", "digits", words)
    assert sentence in refusal(command)


def test_a_missing_plugin_is_refused(lab: Lab) -> None:
    sentence = refusal(lab.start("run", "--plugin", "nowhere/net.py", "with", "odenet_simple", "digits"))
    assert sentence == "the plug-in nowhere/net.py cannot be read: name a .py file, or a module that is installed"


def test_a_model_of_another_task_is_refused(lab: Lab) -> None:
    words = ("with", "digits", "model.architecture=perceptron")
    sentence = refusal(lab.start("run", *lab.flags(TASK), *words))
    assert sentence == "model.architecture is perceptron, which is of the task oscillator and not of classification"


@pytest.mark.parametrize(
    ("decorator", "body", "sentence"),
    [
        ("metric('mine')", "return 'many'", r"mine.py:2: the metric mine gives no number: could not convert"),
        ("metric('mine')", "return first", r"mine.py:2: the metric mine gives no number: "),
        ("metric('mine', per='item')", "return 3", r"must give a value for each of 128 items, .* and not a int"),
        ("metric('mine')", "return 1 / 0", r"the plug-in mine.py failed in line 4: ZeroDivisionError"),
        ("optimiser('mine')", "return 3", r"the optimiser mine returned a int; return a torch.optim.Optimizer"),
        ("schedule('mine')", "return 3", r"the schedule mine returned a int; return a torch.optim.lr_scheduler"),
    ],
)
def test_what_a_training_finds_wrong_ends_its_run_in_a_sentence(
    lab: Lab, tmp_path: Path, decorator: str, body: str, sentence: str
) -> None:
    kind = decorator.partition("(")[0]
    arguments = {"metric": "first, labels", "optimiser": "first, lr, weight_decay", "schedule": "first, max_epochs"}
    text = f"from pipeline import plugins\n@plugins.{decorator}\ndef mine({arguments[kind]}):\n    {body}\n"
    (tmp_path / "mine.py").write_text(text)
    chosen = () if kind == "metric" else (f"training.{kind}=mine",)
    words = ("with", "odenet_simple", "digits", *TINY, "model.channels=4", "solver.method=euler", *chosen)
    said = refusal(lab.start("run", "--plugin", str(tmp_path / "mine.py"), *words), status=1)
    assert re.search(sentence, said)
    number = int(re.findall(r"run (\d+) FAILED", said)[0])
    assert re.search(sentence, lab.stored(number).info["failure"]["message"])
