"""The page for those who come from other trackers: its scripts run, and every command that it names is there."""

import re
from collections.abc import Iterator
from importlib import import_module

import click
import pytest

from odenet.main import COMMANDS
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import database_of, start_script
from tests.helpers.pages import files_of, write_files
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "coming_from.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Those that the page's scripts leave."""
    folder = tmp_path_factory.mktemp("coming")
    files = files_of(PAGE)
    write_files(files, folder)
    for name, words in (("my_script.py", ()), ("my_experiment.py", ("with", "lr=0.2"))):
        script = start_script(folder / "home", folder / name, *words)
        script.wait()
        assert "Traceback" not in script.stderr, script.stderr
    yield Runs(database_of(folder / "home"))
    EmbeddedStore(folder / "home").stop()


def test_a_script_and_an_experiment_of_sacreds_are_recorded(runs: Runs) -> None:
    of_sacred, tracked = runs.find()
    assert tracked.status == of_sacred.status == "COMPLETED"
    assert tracked.metrics()["loss"].tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert tracked.document["omniboard"]["tags"] == ["try"]
    assert of_sacred.result == 0.2
    assert [run.run_id for run in runs.find(["kind=tracked"])] == [tracked.run_id]


def test_every_command_and_option_that_it_names_is_there() -> None:
    named = re.findall(r"(?:^|`)odenet ([a-z]+)([^`\n|]*)", PAGE.read_text(), re.MULTILINE)
    assert len(named) > 15
    for name, rest in named:
        assert name in COMMANDS, name
        command = getattr(import_module(f"odenet.{COMMANDS[name]}"), name)
        options = {option for one in command.params if isinstance(one, click.Option) for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, (name, rest)
