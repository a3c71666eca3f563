"""Sacred's own ways with image classification: its command line, named configurations of ingredients, plug-ins."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.stored_parts import stored_plugins
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import QUICK, Command, database_of, start_command, start_module, start_script
from tests.helpers.pages import files_of, write_files
from tests.helpers.paths import ROOT

OF_AN_INGREDIENT = """
from experiments.task_experiment import experiment_of
from pipeline import plugins

experiment = experiment_of("classification")
experiment.ingredients["training"].add_named_config("short", {"max_epochs": 1, "lr": 0.5})
plugins.named_config("few", {"data": {"subset": 200}})
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sacred")
    write_files(
        {
            **files_of(ROOT / "docs" / "plugins.md"),
            "short.py": OF_AN_INGREDIENT,
            "old.yaml": "training: {optimizer: adam}",
        },
        folder,
    )
    yield folder / "home"
    EmbeddedStore(folder / "home").stop()


def sacred(home: Path, *words: str) -> Command:
    """`python -m experiments.classification words`, each .py and .yaml of them a file beside the home."""
    found = (str(home.parent / word) if word.endswith((".py", ".yaml")) and word[0] != "-" else word for word in words)
    return start_module(home, "experiments.classification", *found)


def newest(home: Path) -> StoredRun:
    return Runs(database_of(home)).find(limit=1)[0]


def printed(command: Command) -> str:
    """What a command prints, without its colours."""
    assert command.wait() == 0, command.stderr
    return re.sub(r"\x1b\[\d+m", "", command.stdout)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--help",), "Usage:"), (("-h",), "Usage:"), (("help", "print_config"), "Print the updated")],
)
def test_sacreds_help_helps(home: Path, words: tuple[str, ...], said: str) -> None:
    assert said in printed(sacred(home, *words))


def test_print_config_shows_a_plugins_options_with_their_defaults(home: Path) -> None:
    flags = ("--plugin", "my_field.py", "--plugin", "my_images.py")
    config = printed(sacred(home, "print_config", "with", "damped", "bars", "data.options.noise=0.7", *flags))
    assert "architecture = 'damped'" in config
    assert re.search(r"options:\s+damping = 0.1\n", config)
    assert re.search(r"options:\s+noise = 0.7\n", config)


def test_named_configurations_of_plugins_are_listed(home: Path) -> None:
    listed = printed(sacred(home, "print_named_configs", "--plugin", "my_settings.py", "--plugin", "my_net.py")).split()
    assert {"odenet_simple", "digits", "quick", "tiny"} <= set(listed)


def test_a_run_with_plugins_is_tracked_likewise_and_odenet_repeats_it(home: Path) -> None:
    words = ("with", "tiny", "digits", "quick", "model.options.width=12", "training.compile=False")
    ran = sacred(home, *words, "--plugin", "my_net.py", "--plugin", "my_settings.py")
    assert ran.wait() == 0, ran.stderr
    run = newest(home)
    assert run.config["model"]["options"] == {"width": 12, "activation": "tanh"}
    assert [source.name for source in stored_plugins(run)] == ["my_net.py", "my_settings.py"]
    again = start_command(home, "rerun", str(run.run_id), "--expect-identical")
    assert again.wait() == 0, again.stderr


def test_an_ingredients_named_configuration_is_chosen_by_its_section(home: Path) -> None:
    config = printed(
        sacred(home, "print_config", "with", "odenet_simple", "few", "training.short", "--plugin", "short.py")
    )
    assert "subset = 200" in config
    assert "max_epochs = 1" in config
    assert "lr = 0.5" in config
    ran = sacred(home, *QUICK, "training.short", "training.lr=0.01", f"--plugin={home.parent}/short.py")
    assert ran.wait() == 0, ran.stderr
    training = newest(home).config["training"]
    assert (training["max_epochs"], training["lr"]) == (1, 0.01)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("with", "tiny", "model.options.widht=3", "--plugin", "my_net.py"), "unknown option model.options.widht (did"),
        (("with", "tiny", "model.options.width=no", "--plugin", "my_net.py"), "must be a whole number, not 'no'"),
        (("with", "modl.blocks=3"), "unknown key modl (did you mean model?)"),
        (
            ("with", "gladzik_odenet", "digits", "old.yaml"),
            "training.optimizer is 'adam' and training.optimiser is 'sgd'",
        ),
        (("with", "digits", "--plugin", "nowhere.py"), "nowhere.py cannot be read: name a .py file"),
        (("with", "digits", "--plugin"), "--plugin needs a file or a module, as in: --plugin my_net.py"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_before_a_run_begins(
    home: Path, words: tuple[str, ...], sentence: str
) -> None:
    known = database_of(home).runs.count_documents({})
    refused = sacred(home, *words)
    assert refused.wait() == 2
    assert refused.stderr.splitlines()[-1].startswith("odenet: ")
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert database_of(home).runs.count_documents({}) == known


@pytest.mark.parametrize("given", ["my-run-1", "50", "1"])
def test_an_id_of_ones_own_is_refused_and_leaves_no_run(home: Path, given: str) -> None:
    known = database_of(home).runs.count_documents({})
    refused = sacred(home, *QUICK, "training.max_epochs=1", "-i", given)
    assert refused.wait() == 2, refused.stderr
    assert refused.stderr.splitlines()[-1].startswith(f"odenet: a run cannot be called '{given}'")
    assert database_of(home).runs.count_documents({}) == known


@pytest.mark.parametrize("flag", ["-f", "-d", "--force", "--debug"])
def test_what_is_always_on_may_be_asked_for(home: Path, flag: str) -> None:
    shown = start_module(home, "experiments.classification", "print_config", flag, *QUICK)
    assert shown.wait() == 0, shown.stderr


def test_queueing_is_refused_in_a_sentence(home: Path) -> None:
    refused = sacred(home, *QUICK, "-q")
    assert refused.wait() == 2, refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("odenet: runs are not queued: leave Sacred's --queue out")


def test_a_file_storage_beside_the_store_gets_metrics_and_artifacts_too(home: Path) -> None:
    beside = home.parent / "files"
    ran = sacred(home, *QUICK, "training.max_epochs=2", "-F", str(beside))
    assert ran.wait() == 0, ran.stderr
    run = newest(home)
    [folder] = [path for path in beside.iterdir() if path.name.isdigit()]
    assert folder.name == str(run.run_id)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["validation.loss"]["values"] == run.points()["validation.loss"]["values"]
    assert set(run.artifacts) - {"uncommitted.diff"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("-b", "soon"), 2, "odenet: Sacred takes an option otherwise (could not convert string to float: 'soon')"),
        (("-l", "LOUD"), 2, "odenet: Sacred takes an option otherwise (Unknown level: 'LOUD')"),
        (("-P", "first"), 2, "odenet: Sacred takes an option otherwise (The PRIORITY argument must be a number!"),
        (("-C", "everything"), 2, "odenet: Sacred takes an option otherwise ("),
    ],
)
def test_an_option_of_sacreds_that_cannot_be_is_refused_in_a_sentence(
    home: Path, words: tuple[str, ...], status: int, sentence: str
) -> None:
    refused = sacred(home, *QUICK, *words)
    assert refused.wait() == status, refused.stderr
    assert refused.stderr.splitlines()[-1].startswith(sentence)
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("option", "package"), [(("-s", "sqlite:///runs.db"), "sqlalchemy"), (("-t", "runs"), "hashfs")]
)
def test_an_option_of_sacreds_whose_package_is_missing_names_it_and_leaves_no_run(
    home: Path, option: tuple[str, ...], package: str
) -> None:
    known = database_of(home).runs.count_documents({})
    command = sacred(home, *QUICK, "training.max_epochs=1", *option)
    assert command.wait() == 2
    assert f"odenet: an option of Sacred's needs the package {package}, which is not installed" in command.stderr
    assert "Traceback" not in command.stderr
    assert database_of(home).runs.count_documents({}) == known


def test_a_package_that_a_task_lacks_is_not_called_one_of_sacreds_options(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "lacking.py"
    script.write_text(
        "import sys\nfrom experiments.command_line import main\n"
        "from pipeline.tasks.classification.task import Classification\n\n\n"
        "def load_data(self, config):\n    import nowhere_at_all\n\n\n"
        "Classification.load_data = load_data\nsys.exit(main('classification'))\n"
    )
    told = start_script(home, script, *QUICK)
    assert told.wait() == 1
    assert "went wrong that should not have (ModuleNotFoundError: No module named 'nowhere_at_all')" in told.stderr
    assert "the traceback is in " in told.stderr


def test_the_whole_configuration_is_saved_as_a_file(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    saved = sacred(home, "save_config", *QUICK, f"config_filename={file}")
    assert saved.wait() == 0, saved.stderr
    assert json.loads(file.read_text())["data"]["subset"] == 200


@pytest.mark.parametrize("flag", ["-c", "-n"])
def test_a_comment_and_a_name_leave_the_run_as_it_is(home: Path, flag: str) -> None:
    ran = sacred(home, *QUICK, "training.max_epochs=1", flag, "mine")
    assert ran.wait() == 0, ran.stderr
    assert newest(home).task == "classification"


OWN_EXPERIMENT = """
import numpy
from sacred import Experiment

import odenet

ex = Experiment("mine", interactive=True, save_git_info=False)
ex.observers.append(odenet.StoreObserver())


@ex.main
def main(_run):
    _run.log_scalar("before", 1.0, 0)
    ex.add_artifact("nowhere.txt")
    ex.add_artifact(".", name="folder")
    _run.log_scalar("after", 2.0, 0)
    _run.info.update(late=1, score=numpy.float32(0.5), generator=numpy.random.default_rng(0))
    with open("late.txt", "w") as file:
        file.write("there")
    ex.add_artifact("late.txt")
    return 7.0


print(ex.run()._id)
try:
    ex.run(options={"--id": 1})
except Exception as error:
    print(error)
"""


def test_what_cannot_be_kept_is_said_and_costs_a_run_of_ones_own_nothing_else(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{OWN_EXPERIMENT}")
    done = start_script(home, tmp_path / "mine.py")
    assert done.wait() == 0, done.stderr
    run = Runs(database_of(home)).get(int(done.stdout.splitlines()[0]))
    assert run.status == "COMPLETED"
    assert run.result == 7.0
    assert run.points().keys() >= {"before", "after"}
    assert (run.info["late"], run.info["score"]) == (1, 0.5)
    assert done.stderr.count("info.generator holds an object that is stored as a pickle") == 1
    assert run.artifact("late.txt") == b"there"
    for name, path in (("nowhere.txt", tmp_path / "nowhere.txt"), ("folder", tmp_path)):
        assert f"the artifact {name} is left out: {path} cannot be read" in done.stderr
    assert "cannot be written" not in done.stderr, "of the run that had ended"
