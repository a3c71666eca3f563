"""The pictures that a run leaves, whatever surrounds it: they never cost the run."""

from pathlib import Path

from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import QUICK, database_of, run_command, start_script

FIGURES = ("learning_curves.png", "function_evaluations.png", "confusion_matrix.png", "roc.png")
BREAKS = """
import sys
import experiments.recording as recording
from odenet.main import main

def fails(*_):
    raise RuntimeError("latex could not be found")

recording.plot_learning_curves = fails
sys.exit(main(sys.argv[1:]))
"""


def test_a_persons_matplotlibrc_and_a_notebooks_backend_cost_a_run_nothing(tmp_path: Path) -> None:
    home, theirs = tmp_path / "home", tmp_path / "matplotlibrc"
    theirs.write_text("text.usetex: True\nfont.family: nowhere\n")
    surroundings = {"MATPLOTLIBRC": str(theirs), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    ran = run_command(home, "run", *QUICK, "training.max_epochs=1", **surroundings)
    assert ran.returncode == 0, ran.stderr
    run = Runs(database_of(home)).get(1)
    assert set(FIGURES) <= set(run.artifacts)
    assert "warnings" not in run.info
    EmbeddedStore(home).stop()


def test_a_figure_that_cannot_be_drawn_is_a_warning_and_the_run_completes(tmp_path: Path) -> None:
    home, script = tmp_path / "home", tmp_path / "breaks.py"
    script.write_text(BREAKS)
    ran = start_script(home, script, "run", *QUICK, "training.max_epochs=1")
    assert ran.wait() == 0, ran.stderr
    sentence = "the figure learning_curves.png could not be drawn (RuntimeError: latex could not be found)"
    assert f"odenet: warning: {sentence}" in ran.stderr
    run = Runs(database_of(home)).get(1)
    assert run.status == "COMPLETED"
    assert run.info["warnings"][0].startswith(sentence)
    assert {"weights.safetensors", *FIGURES[1:]} <= set(run.artifacts)
    assert FIGURES[0] not in run.artifacts
    EmbeddedStore(home).stop()
