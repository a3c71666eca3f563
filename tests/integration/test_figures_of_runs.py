"""The pictures that a run leaves, whatever surrounds it: they never cost the run."""

from pathlib import Path

from pipeline.runs.missing_figures import draw_missing
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import QUICK, database_of, run_command, start_command, start_script
from tests.helpers.trained import TrainedHome

FIGURES = ("learning_curves.png", "function_evaluations.png", "confusion_matrix.png", "roc.png")
OF_ANSWERS = ("confusion_matrix.png", "classification_report.png", "precision_recall.png", "roc.png")
BREAKS = """
import sys
from odenet.main import main
from pipeline.reporting import training_figures
from pipeline.tasks import classification

def fails(*_):
    raise RuntimeError("latex could not be found")

training_figures.plot_learning_curves = fails
del classification.figures
sys.modules["pipeline.tasks.classification.figures"] = None  # as where seaborn cannot be imported
sys.exit(main(sys.argv[1:]))
"""


def test_a_persons_matplotlibrc_and_a_notebooks_backend_cost_a_run_nothing(tmp_path: Path) -> None:
    home, theirs = tmp_path / "home", tmp_path / "matplotlibrc"
    theirs.write_text("text.usetex: True\nfont.family: nowhere\n")
    surroundings = {"MATPLOTLIBRC": str(theirs), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    ran = run_command(home, "run", *QUICK, "training.max_epochs=1", draws_figures=True, **surroundings)
    assert ran.returncode == 0, ran.stderr
    run = Runs(database_of(home)).get(1)
    assert set(FIGURES) <= set(run.artifacts)
    assert "warnings" not in run.info
    EmbeddedStore(home).stop()


def test_a_figure_that_cannot_be_drawn_is_a_warning_and_the_run_completes(tmp_path: Path) -> None:
    home, script = tmp_path / "home", tmp_path / "breaks.py"
    script.write_text(BREAKS)
    ran = start_script(home, script, "run", *QUICK, "training.max_epochs=1", draws_figures=True)
    assert ran.wait() == 0, ran.stderr
    sentence = "the figure learning_curves.png could not be drawn (RuntimeError: latex could not be found)"
    assert f"odenet: warning: {sentence}" in ran.stderr
    run = Runs(database_of(home)).get(1)
    assert run.status == "COMPLETED"
    assert run.info["warnings"][0].startswith(sentence)
    assert {"weights.safetensors", "function_evaluations.png"} <= set(run.artifacts)
    assert run.info["warnings"][-1].startswith("the figure roc.png could not be drawn (ModuleNotFoundError: ")
    left = ["learning_curves.png", *OF_ANSWERS]
    assert not set(left) & set(run.artifacts)
    drawn = start_command(home, "show", "1", "--figures")
    assert (drawn.wait(), drawn.stderr) == (0, "")
    assert drawn.stdout.splitlines() == [f"run 1 has {name} now" for name in left]
    run = Runs(database_of(home)).get(1)
    assert run.artifact(FIGURES[0]).startswith(b"\x89PNG")
    assert set(FIGURES) <= set(run.artifacts)
    again = start_command(home, "show", "1", "--figures", "--json")
    assert again.wait() == 0
    assert again.json == {"run_id": 1, "drawn": [], "left": {}}
    EmbeddedStore(home).stop()


def test_what_cannot_be_drawn_of_the_numbers_is_named_and_does_not_hinder_the_others(trained: TrainedHome) -> None:
    database = trained.database
    removed = ["roc.png", "learning_curves.png", "step_sizes.png"]
    run = Runs(database).get(2)
    database.runs.update_one(
        {"_id": run.run_id},
        {
            "$pull": {"artifacts": {"name": {"$in": removed}}},
            "$set": {"info.warnings": ["the figure solvers.png could not be drawn (RuntimeError: no font)"]},
        },
    )
    done = draw_missing(Runs(database).get(2), trained.home)
    assert done.drawn == ("learning_curves.png", "step_sizes.png", "roc.png")
    assert list(done.left) == ["solvers.png"]
    assert "`odenet evaluate 2`" in done.left["solvers.png"]
    assert set(done.drawn) <= set(Runs(database).get(2).artifacts)
