"""What is told of a sweep with several objectives or with constraints: words, tables, pictures, page, commands."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from odenet.main import main
from pipeline.sweeps.figures import VIOLATING, plot_best_so_far, plot_front, plot_parallel_coordinates
from pipeline.sweeps.progress import SweepProgress
from pipeline.sweeps.report import page
from pipeline.sweeps.state import Check, SweepState
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, trials_table
from pipeline.sweeps.text import cautions, conditions, headline, outcome_counts, subtitle
from tests.helpers import browser
from tests.helpers.browser import assert_page_fits
from tests.helpers.sweep_samples import goal_sweep_document

Store = Database[dict[str, Any]]
NO_BROWSER = [name for name in ("chromium", "chromedriver") if name in browser.missing()]
TWO = "maximise: validation.accuracy\nminimise: solver.nfe_forward"


def sweep_of(goal: str = TWO, trials: int = 30, **config: Any) -> Sweep:
    return Sweep.from_document(goal_sweep_document(goal, trials, **config))


def test_the_headline_counts_the_front_and_the_subtitle_names_objectives_and_constraints() -> None:
    sweep = sweep_of(TWO + "\nconstraints: [solver.nfe_forward <= 26]")
    assert sweep.best is None
    assert headline(sweep) == (
        f"{len(sweep.front)} of 30 trials are on the Pareto front of validation accuracy and evaluations"
    )
    assert subtitle(sweep).startswith(
        "Sweep 12 of goals, for the highest validation accuracy and the lowest evaluations, with "
        "solver.nfe_forward <= 26: "
    )
    assert re.fullmatch(r"\d+ completed \(\d+ violating a constraint\)", outcome_counts(sweep)[0])


def test_a_constraint_that_none_meets_is_said_in_one_sentence_with_the_nearest() -> None:
    sweep = sweep_of("minimise: validation.loss\nconstraints: [solver.nfe_forward <= 2, validation.accuracy >= 0.1]")
    assert sweep.best is None
    nearest = sweep.nearest
    assert nearest is not None
    fewest = min(t.measured["solver.nfe_forward"] for t in sweep.state.trials.values() if t.measured)
    said = headline(sweep)
    assert said == (
        "None of 30 trials meets solver.nfe_forward <= 2 and validation.accuracy >= 0.1: the nearest, trial "
        f"{nearest.number} (run {nearest.run_id}), has evaluations {fewest:.1f}"
    )
    assert best_table(sweep).note == f"{said}."
    assert sweep.is_whole


def test_the_best_is_within_the_constraints_though_others_are_better() -> None:
    free, bounded = (
        sweep_of("maximise: validation.accuracy\nconstraints: [solver.nfe_forward <= 99]"),
        sweep_of("maximise: validation.accuracy\nconstraints: [solver.nfe_forward <= 20]"),
    )
    assert free.best is not None
    assert bounded.best is not None
    assert free.best.measured["solver.nfe_forward"] > 20 >= bounded.best.measured["solver.nfe_forward"]
    assert (free.best.value or 0) > (bounded.best.value or 0)
    assert "Pareto" not in headline(bounded)


def test_the_table_marks_the_front_and_says_what_a_trial_violates() -> None:
    sweep = sweep_of(TWO + "\nconstraints: [solver.nfe_forward <= 26]")
    table = trials_table(sweep)
    assert {"validation accuracy", "evaluations"} <= set(table.headings)
    assert table.headings.count("evaluations") == 1
    rows = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    on_front = {trial.number for trial in sweep.front}
    for row, trial in zip(rows, sweep.state.trials.values(), strict=True):
        assert ("(front)" in row["trial"]) == (trial.number in on_front)
        assert ("violates solver.nfe_forward <= 26" in row["outcome"]) == bool(trial.violates)
    front = best_table(sweep)
    assert front.title == "Pareto front"
    assert [int(row[0]) for row in front.rows] == [trial.number for trial in sweep.front]
    assert checks_table(sweep).note == "None: of several objectives no one trial is the best."


def test_how_values_are_taken_and_the_search_steered_is_among_the_conditions() -> None:
    said = " ".join(conditions(sweep_of(TWO + "\nconstraints: [solver.nfe_forward <= 26]")))
    assert "rank by levels of non-domination" in said
    assert "Constraints: solver.nfe_forward <= 26; trials that violate them rank behind all others" in said
    assert "of the epoch with the lowest validation loss" in said


def test_costs_that_say_more_of_the_machine_than_of_a_trial_are_pointed_out() -> None:
    found = cautions(sweep_of("minimise: [validation.loss, time.epoch_seconds, memory.peak_mb]"))
    assert any("time.epoch_seconds was taken with 2 trials beside each other" in sentence for sentence in found)
    assert any("memory.peak_mb is the highest that the process has had" in sentence for sentence in found)
    assert any("flatter their configurations" in sentence for sentence in found)


def test_a_best_that_violates_its_constraint_on_a_fresh_seed_is_pointed_out() -> None:
    document = goal_sweep_document("minimise: validation.loss\nconstraints: [solver.nfe_forward <= 26]", 30)
    bound = ("solver.nfe_forward <= 26",)
    checks = [Check(7, 60, "completed", 0.95, bound), Check(8, 61, "completed", 0.97)]
    document["info"]["sweep"]["checks"] = [check.to_dict() for check in checks]
    sweep = Sweep.from_document(document)
    assert sweep.state.checks == checks
    assert checks_table(sweep).rows[0] == ("60", "7", "completed, violates solver.nfe_forward <= 26", "95.00 %")
    assert any(sentence.startswith("1 of 2 runs of the best on fresh seeds violate") for sentence in cautions(sweep))


# Pictures and the page


def test_the_picture_of_the_front_has_every_trial_once_and_its_line_through_the_front() -> None:
    sweep = sweep_of(TWO + "\nconstraints: [solver.nfe_forward <= 26]")
    figure = plot_front(sweep)
    assert figure is not None
    [ax] = figure.axes
    drawn = {str(c.get_label()): len(c.get_offsets()) for c in ax.collections}  # type: ignore[arg-type]
    violating = sum(bool(trial.violates) for trial in sweep.state.trials.values())
    assert drawn["completed"] + violating == sweep.state.counts()["completed"]
    assert (drawn[VIOLATING], drawn["Pareto front"]) == (violating, len(sweep.front))
    assert ax.get_xlabel() == "Evaluations, lower is better"
    assert ax.get_ylabel() == "Validation accuracy, higher is better"


def test_three_objectives_have_a_panel_for_each_two() -> None:
    figure = plot_front(sweep_of("minimise: [validation.loss, solver.nfe_forward, time.epoch_seconds]"))
    assert figure is not None
    assert len([ax for ax in figure.axes if ax.axison]) == 3
    assert plot_front(sweep_of("minimise: validation.loss")) is None


def test_trials_that_violate_a_constraint_are_told_apart_in_every_picture() -> None:
    sweep = sweep_of("maximise: validation.accuracy\nconstraints: [solver.nfe_forward <= 20]")
    violating = sum(bool(trial.violates) for trial in sweep.state.trials.values())
    [ax] = plot_best_so_far(sweep.space, sweep.state).axes
    assert [len(c.get_offsets()) for c in ax.collections if c.get_label() == VIOLATING] == [violating]  # type: ignore[arg-type]
    [ax] = plot_parallel_coordinates(sweep.space, sweep.state).axes
    assert len([line for line in ax.lines if line.get_color() == "0.6" and len(line.get_xdata()) == 4]) == violating  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("goal", "pictures"),
    [
        (TWO, 8),
        ("minimise: validation.loss\nconstraints: [solver.nfe_forward <= 26]", 4),
        ("minimise: validation.loss\nconstraints: [solver.nfe_forward <= 2]", 4),
    ],
    ids=["two objectives", "a constraint", "one that none meets"],
)
def test_the_page_has_its_pictures_whatever_the_goal(goal: str, pictures: int) -> None:
    html = page(sweep_of(goal))
    assert html.count('src="data:image/png;base64,') == pictures
    assert ("The Pareto front" in html) == (goal == TWO)


def test_the_page_of_a_sweep_that_has_just_begun_needs_no_trial() -> None:
    document = goal_sweep_document(TWO, 30)
    document["info"]["sweep"] = SweepState().to_dict()
    assert "No trial has completed" in page(Sweep.from_document(document))


def test_the_page_names_the_file_of_each_trial_on_the_front() -> None:
    sweep = sweep_of()
    files = {trial.number: Path(f"/home/sweeps/12/trial-{trial.number}.yaml") for trial in sweep.front}
    html = page(sweep, files)
    assert all(f"<pre>odenet run with {path}</pre>" in html for path in files.values())
    assert "Train them again" in html


@pytest.mark.browser
@pytest.mark.skipif(bool(NO_BROWSER), reason=f"needs {' and '.join(NO_BROWSER)}")
def test_the_page_of_several_objectives_fits_wide_and_narrow_windows(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(sweep_of(TWO + "\nconstraints: [solver.nfe_forward <= 26]")))
    assert_page_fits(tmp_path / "page.html", images=8)


# While it goes on


def test_a_file_is_told_every_value_and_what_is_violated_and_the_front_at_the_end() -> None:
    sweep, stream = sweep_of(TWO + "\nconstraints: [solver.nfe_forward <= 26]"), io.StringIO()
    shown = SweepProgress(sweep.space, 30, 2, stream)
    shown.update(SweepState())
    shown.close(sweep.state)
    lines = stream.getvalue().splitlines()
    violating = next(trial for trial in sweep.state.trials.values() if trial.violates)
    [line] = [line for line in lines if line.startswith(f"trial {violating.number} |")]
    assert "| validation accuracy " in line
    assert f"| evaluations {violating.measured['solver.nfe_forward']:.1f} | violates solver.nfe_forward <= 26 |" in line
    assert lines[-1].endswith(f"on the Pareto front: trial {', '.join(str(trial.number) for trial in sweep.front)}")


def test_a_file_is_told_that_none_meets_the_constraints_yet() -> None:
    sweep, stream = sweep_of("minimise: validation.loss\nconstraints: [solver.nfe_forward <= 2]"), io.StringIO()
    shown = SweepProgress(sweep.space, 30, 2, stream)
    shown.close(sweep.state)
    assert stream.getvalue().splitlines()[-1].endswith("none meets solver.nfe_forward <= 2 yet")


# The commands


@pytest.fixture
def sweeps(database: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Two objectives, 12; a constraint that none meets, 13; one that some meet, 14."""
    monkeypatch.setenv("COLUMNS", "80")
    few = "solver.nfe_forward <= 26"
    database.runs.insert_many(
        [
            goal_sweep_document(TWO, 30),
            goal_sweep_document("minimise: validation.loss\nconstraints: [solver.nfe_forward <= 2]", 30) | {"_id": 13},
            goal_sweep_document("minimise: validation.loss", 30, constraints=[few]) | {"_id": 14},
        ]
    )
    return database


@pytest.mark.usefixtures("sweeps")
def test_the_list_counts_the_front_and_the_violating(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps", "--json"]) == 0
    rows = {row["sweep_id"]: row for row in json.loads(capsys.readouterr().out)}
    sweep = sweep_of()
    assert rows[12]["front_run_ids"] == [trial.run_id for trial in sweep.front]
    assert [objective["mode"] for objective in rows[12]["objectives"]] == ["max", "min"]
    assert (rows[12]["best_value"], rows[13]["best_value"]) == (None, None)
    assert rows[13]["violating"] == rows[13]["over"] - rows[13]["failed"] - rows[13]["pruned"]
    assert rows[14]["constraints"] == ["solver.nfe_forward <= 26"]
    assert rows[14]["best_value"] is not None
    assert main(["sweeps"]) == 0
    shown = capsys.readouterr().out
    assert f"front {len(sweep.front)}" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("sweep_id", ["12", "13", "14"])
def test_a_sweep_is_shown_on_a_narrow_terminal(sweep_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps", "show", sweep_id]) == 0
    shown = capsys.readouterr().out
    assert headline(sweep_of()) in " ".join(shown.split()) if sweep_id == "12" else "violates" in shown
    assert main(["sweeps", "show", sweep_id, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["nearest"] is not None) == (sweep_id == "13")
    assert bool(document["front"]) == (sweep_id != "13")


@pytest.mark.usefixtures("sweeps")
def test_the_best_is_the_command_that_trains_it_or_that_of_a_named_trial(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps", "best", "14", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"][:3] == ["odenet", "run", "with"]
    assert main(["sweeps", "best", "12", "7"]) == 0
    assert "training.lr=" in capsys.readouterr().out


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["12"], "sweep 12 has several objectives and no one best: choose a trial of its Pareto front, "),
        (["13"], "None of 30 trials meets solver.nfe_forward <= 2: the nearest, trial "),
        (["12", "99"], "sweep 12 has no trial 99: it has 1 to 30"),
    ],
)
def test_where_there_is_no_one_best_it_is_refused_with_the_trials_to_choose_from(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweeps", "best", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"odenet: {sentence}")
    assert said.err.count("\n") == 1
