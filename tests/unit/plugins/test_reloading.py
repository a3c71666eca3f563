"""Plug-ins of a process that goes on, as a notebook's: edited, broken, mended, refused."""

import importlib
import json
import linecache
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.presets import presets
from odenet.main import main
from pipeline import plugins
from pipeline.plugins import load_plugins, registry
from pipeline.plugins.loading import parts_without_source, unload
from pipeline.plugins.registry import PluginError

FIELD = """from torch import nn
from pipeline import plugins

@plugins.field("reloaded")
class Reloaded(nn.Module):
    def __init__(self, channels: int, *, gain: float = 1.0):
        super().__init__()
        print("built")
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, t, z):
        return self.convolution(z)
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    yield path
    unload(str(path))


def test_a_file_that_is_broken_and_then_as_it_was_has_its_parts_again(file: Path) -> None:
    file.write_text(FIELD)
    load_plugins([str(file)])
    file.write_text(f"{FIELD}\n1 / 0\n")
    with pytest.raises(PluginError, match="failed in line 14"):
        load_plugins([str(file)])
    assert "reloaded" not in registry.names("field")
    file.write_text(FIELD)
    load_plugins([str(file)])
    assert "reloaded" in registry.names("field")


def test_a_script_that_is_its_own_plugin_stays_the_script_when_it_is_loaded_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = sys.modules["__main__"]
    monkeypatch.setattr(script, "__file__", str(file), raising=False)
    for edition in ("", "# edited\n"):
        file.write_text(FIELD + edition)
        load_plugins([str(file)])
        assert sys.modules.get("__main__") is script


def test_a_name_that_is_taken_is_refused_once_and_not_for_all_that_comes_behind(file: Path) -> None:
    file.write_text('from pipeline import plugins\nplugins.named_config("digits", {"seed": 1})\n')
    for _ in range(2):
        load_plugins([str(file)])
        with pytest.raises(PluginError, match="something else that `with` takes is called digits"):
            presets()
        assert "digits" in presets()


def run_cell(number: int, function: str) -> None:
    text = f"@plugins.metric('celled')\ndef {function}(scores, labels): return {number}\n"
    linecache.cache[f"<cell {number}>"] = len(text), None, text.splitlines(keepends=True), ""
    exec(compile(text, f"<cell {number}>", "exec"), {"__name__": "__main__", "plugins": plugins})  # noqa: S102


def test_a_cell_that_is_run_again_registers_its_function_again_and_no_other() -> None:
    run_cell(0, "score")
    run_cell(1, "score")
    assert registry.find("metric", "celled").build(None, None) == 1
    with pytest.raises(PluginError, match="<cell 1>:1 has registered a metric celled; choose another name"):
        run_cell(2, "another")
    assert "the metric celled" in parts_without_source()
    registry.forget("<cell 1>")
    assert "the metric celled" not in parts_without_source()


def test_a_module_whose_name_was_refused_is_whole_when_it_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "refused_module.py"
    module.write_text('from pipeline import plugins\nplugins.named_config("digits", {"seed": 1})\n')
    monkeypatch.syspath_prepend(tmp_path)
    load_plugins(["refused_module"])
    with pytest.raises(PluginError, match="is called digits"):
        presets()
    module.write_text('from pipeline import plugins\nplugins.named_config("mended_since", {"seed": 1})\n')
    importlib.invalidate_caches()
    load_plugins(["refused_module"])
    assert "mended_since" in presets()
    unload(str(module))
    assert "mended_since" not in presets()


@pytest.mark.parametrize(
    "wrapped", ["@functools.cache\ndef made(): ...\n", "made = functools.partial(lambda one: {}, 1)\n"]
)
def test_functions_that_others_wrap_are_where_they_were_written(file: Path, wrapped: str) -> None:
    head = "import functools\nfrom pipeline import plugins\n"
    file.write_text(f'{head}{wrapped}plugins.data_set("wrapped", shape=(1, 8, 8), classes=3)(made)\n')
    load_plugins([str(file)])
    assert registry.find("data set", "wrapped").where.startswith(f"{file}:")


def test_what_a_plugin_prints_while_it_builds_is_not_before_the_document(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FIELD)
    assert main(["describe", "--json", "--plugin", str(file), "with", "reloaded", "digits"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["options"]
    assert "built" in printed.err
