"""What is told of a sweep that was written: pictures, tables, the page, the commands."""

import copy
import json
import re
import shlex
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from pymongo.database import Database

from experiments.presets import resolve
from odenet.main import main
from pipeline.config.overrides import parse_arguments, parse_with
from pipeline.runs.query import Runs
from pipeline.runs.report.variables import find_variables
from pipeline.runs.summary import summaries
from pipeline.sweeps.axes import build_axes
from pipeline.sweeps.figures import (
    plot_best_so_far,
    plot_evaluations,
    plot_hyperparameters,
    plot_parallel_coordinates,
)
from pipeline.sweeps.report import importance_of, page, write_page
from pipeline.sweeps.state import Check, SweepState
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.tables import best_table, checks_table, failures_table, trials_table
from pipeline.sweeps.text import cautions, conditions, fraction, headline, memory, subtitle
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.util.errors import OdenetError
from pipeline.util.nested import flatten
from tests.helpers import browser
from tests.helpers.browser import assert_page_fits
from tests.helpers.sweep_samples import RESNET_SPACE, SPACE, sample_ledger, sweep_document

Store = Database[dict[str, Any]]
NO_BROWSER = [name for name in ("chromium", "chromedriver") if name in browser.missing()]


def sweep_of(state: SweepState, trials: int = 50, **more: Any) -> Sweep:
    return Sweep.from_document(sweep_document(state, trials, **more))


def resnet_sweep(over: int) -> Sweep:
    return sweep_of(sample_ledger(over, odenet=False), over, text=RESNET_SPACE, fresh_seeds=0)


def failures_only() -> SweepState:
    """Those of 50 trials that failed."""
    state = sample_ledger(50)
    failed = {number: trial for number, trial in state.trials.items() if trial.has_failed}
    return SweepState(failed, [event for event in state.events if event[1] in failed])


def outcomes(state: SweepState, outcome: str) -> int:
    return state.counts().get(outcome, 0)


def points(ax: Axes, label: str) -> list[tuple[float, float]]:
    """Of what the legend calls so."""
    scattered = [tuple(point) for c in ax.collections if c.get_label() == label for point in c.get_offsets()]
    drawn = [tuple(point) for line in ax.lines if line.get_label() == label for point in line.get_xydata()]
    return scattered + drawn


# Words


def test_the_headline_is_the_accuracy_on_fresh_seeds() -> None:
    state = sample_ledger(50)
    state.checks = [Check(7, 60, "completed", 0.95), Check(8, 61, "completed", 0.97), Check(9, 62, "completed", 0.96)]

    assert headline(sweep_of(state)) == "96.00 ± 1.00 % on test with the best of 50 trials"
    assert subtitle(sweep_of(state)) == (
        "Sweep 12 of simple_digits, for the lowest validation loss: 25 completed, 14 pruned, 11 failed."
    )


def test_fresh_seeds_of_a_configuration_that_is_no_longer_the_best_count_no_more() -> None:
    state = sample_ledger(50)
    best = sweep_of(state).best
    assert best is not None
    other = next(number for number in state.trials if number != best.number)
    state.checks = [Check(7, 60, "completed", 0.5, trial=other), Check(8, 61, "completed", 0.6, trial=other)]
    assert not sweep_of(state).is_whole
    assert "on test" not in headline(sweep_of(state))
    assert checks_table(sweep_of(state)).rows == ()
    state.checks += [Check(seed, 70 + seed, "completed", 0.9, trial=best.number) for seed in (7, 8, 9)]
    assert sweep_of(state).is_whole
    assert headline(sweep_of(state)).startswith("90.00")
    assert [row[0] for row in checks_table(sweep_of(state)).rows] == ["77", "78", "79", "mean"]


def test_without_fresh_seeds_the_headline_is_the_best_value() -> None:
    state = sample_ledger(50)
    best = min(t.value for t in state.trials.values() if t.outcome == "completed" and t.value is not None)
    assert headline(sweep_of(state)) == f"Validation loss {best:.4f} in the best of 50 trials"
    highest = max(t.value for t in resnet_sweep(30).state.trials.values() if t.outcome == "completed" and t.value)
    assert headline(resnet_sweep(30)) == f"Validation accuracy {100 * highest:.2f} % in the best of 30 trials"


def test_a_sweep_without_a_completed_trial_says_so() -> None:
    assert headline(sweep_of(SweepState())) == "No trial is over yet"
    assert headline(sweep_of(failures_only())) == "No trial has completed: 11 failed"
    done = sweep_of(failures_only(), trials=11)
    assert checks_table(done).note == "No trial completed, so there was nothing to try."
    assert (best_table(done).note, done.command()) == ("No trial has completed.", [])


def test_a_single_trial_is_no_best_of_many() -> None:
    state = sample_ledger(2)
    only = SweepState({2: state.trials[2]}, [("suggested", 2), ("over", 2)])
    assert headline(sweep_of(only, 1)).endswith("in the only trial")


def test_the_command_names_the_plugins_that_the_sweep_had() -> None:
    document = sweep_document(sample_ledger(50), 50)
    document["experiment"]["plugins"] = [{"spec": "my field.py", "name": "my field.py", "file_id": 1}]
    assert Sweep.from_document(document).command()[:5] == ["odenet", "run", "--plugin", "my field.py", "with"]


def test_the_command_trains_exactly_what_was_suggested() -> None:
    sweep = sweep_of(sample_ledger(50, checks=3))
    command = sweep.command()
    assert command[:3] == ["odenet", "run", "with"]

    trained = flatten(resolve(*parse_with(command[2:])).config.to_dict())
    assert sweep.best is not None
    assert {key: trained[key] for key in sweep.best.suggestion} == sweep.best.suggestion
    assert (trained["training.max_epochs"], trained["data.name"]) == (20, "digits")


def test_the_command_says_what_a_file_had_and_text_that_looks_like_a_number_is_in_quotes() -> None:
    state = sample_ledger(50)
    for trial in state.trials.values():
        trial.suggestion = {"training.lr": 0.1, "model.options.kind": "1"}
    text = SPACE.replace("digits]", "digits, base.yaml]")
    base = "task: classification\nmodel: {augment: 3}\ntraining: {lr: 0.5, patience: null}"
    words = Sweep.from_document(sweep_document(state, 50, text=text, base=base)).command()[3:]
    assert parse_arguments(words) == (
        [],
        {
            "task": "classification",
            "model": {"augment": 3, "options": {"kind": "1"}},
            "training": {"lr": 0.1, "patience": None},
        },
    )


def test_what_is_not_over_is_said_first() -> None:
    running = sweep_of(sample_ledger(12, running=2), status="RUNNING")
    assert cautions(running)[0].startswith("The sweep is still running: 12 of 50 trials are over.")
    interrupted = sweep_of(sample_ledger(12), status="INTERRUPTED")
    assert cautions(interrupted)[0] == (
        "The sweep was interrupted: 12 of 50 trials are over. `odenet sweep --resume 12` goes on with it."
    )
    unchecked = sweep_of(sample_ledger(50), status="RUNNING")
    assert "the search is over, but not the 3 runs on fresh seeds" in cautions(unchecked)[0]
    whole = sweep_of(sample_ledger(50, checks=3))
    assert not any("over" in sentence for sentence in cautions(whole))


def test_a_page_that_the_sweep_itself_writes_at_its_end_does_not_call_it_running() -> None:
    assert not any(
        "running" in sentence for sentence in cautions(sweep_of(sample_ledger(50, checks=3), status="RUNNING"))
    )


def test_trials_of_a_sweep_that_died_are_not_running() -> None:
    document = sweep_document(sample_ledger(12, running=2), 50, status="RUNNING")
    document["heartbeat"] = datetime(2026, 1, 1, tzinfo=UTC)
    assert subtitle(Sweep.from_document(document)).endswith("5 completed, 4 pruned, 3 failed, 2 interrupted.")


def test_a_best_value_at_the_edge_of_its_range_is_pointed_out() -> None:
    state = sample_ledger(50, checks=3)
    best = state.best("min")
    assert best is not None
    best.suggestion |= {"training.lr": 1.05e-5, "training.weight_decay": 1e-4}
    found = [sentence for sentence in cautions(sweep_of(state)) if "edge" in sentence]
    assert found == ["The best training.lr, 1.05e-5, lies at the edge of its range: better ones may lie beyond."]


@pytest.mark.parametrize(("key", "is_told"), [("data.validation_fraction", True), ("data.cutout", False)])
def test_a_search_that_changes_what_is_validated_on_is_pointed_out(key: str, is_told: bool) -> None:
    text = SPACE.replace("model.augment: {quniform: [0, 10, 1]}", f"{key}: {{choice: [0, 0.5]}}")
    state = sample_ledger(50)
    for trial in state.trials.values():
        trial.suggestion |= {key: trial.suggestion.pop("model.augment") and 0.5}
    told = [said for said in cautions(sweep_of(state, text=text)) if "validated on" in said]
    assert bool(told) == is_told
    assert all(f"To search {key} changes what" in said and "their validation.loss is not of" in said for said in told)


def test_many_failures_are_pointed_out_and_told_by_reason() -> None:
    sweep = sweep_of(sample_ledger(50, checks=3))
    assert "11 of 50 trials failed, most often by step size underflow of the solver" in " ".join(cautions(sweep))

    rows = failures_table(sweep).rows
    assert [(row[0], row[1]) for row in rows] == [
        ("step size underflow of the solver", "6"),
        ("the loss became non-finite", "5"),
    ]
    assert rows[0][2] == "1, 12, 26, 28, 42, 45"
    assert rows[0][3].startswith("Trial 1: the solve ended by step size underflow at t = 0.312")
    assert not any("failed" in sentence for sentence in cautions(resnet_sweep(50)))


def test_failures_in_which_the_space_had_no_part_are_told_by_their_commonest_sentence() -> None:
    state = sample_ledger(50, checks=3)
    for trial in state.trials.values():
        if trial.has_failed:
            trial.outcome, trial.error = "failed", "the data set is gone"
    (sentence,) = (each for each in cautions(sweep_of(state)) if "trials failed" in each)
    assert sentence == "11 of 50 trials failed, most often by another error: the data set is gone."


def test_a_check_that_did_not_complete_is_in_no_mean() -> None:
    state = sample_ledger(50)
    state.checks = [Check(7, 60, "completed", 0.95), Check(8, 61, "diverged", None)]
    sweep = sweep_of(state, fresh_seeds=2)
    assert headline(sweep).startswith("95.00 % on test")
    assert checks_table(sweep).rows[1:] == (("61", "8", "diverged", "–"), ("mean", "", "1 completed", "95.00 %"))
    assert "1 of 2 runs on fresh seeds did not complete." in cautions(sweep)


def test_the_table_has_every_trial_with_what_was_suggested() -> None:
    sweep = sweep_of(sample_ledger(50, running=1))
    table = trials_table(sweep)
    rows = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    assert [row["run"] for row in rows] == [str(101 + k) for k in range(51)]
    assert rows[13]["trial"] == "14 (best)"
    for row, trial in zip(rows, sweep.state.trials.values(), strict=True):
        assert row["training.optimiser"] == trial.suggestion["training.optimiser"]
        assert (row["training.momentum"] == "–") == ("training.momentum" not in trial.suggestion)
        assert row["outcome"] == trial.outcome.replace("_", " ")
        assert row["epochs"] == str(trial.epochs)
    assert "evaluations" not in trials_table(resnet_sweep(5)).headings


def test_the_conditions_set_the_clock_against_the_trials_own_time() -> None:
    state = sample_ledger(50, checks=3)
    for trial in state.trials.values():
        trial.seconds = 36.0
    [times] = [line for line in conditions(sweep_of(state)) if line.startswith("Time")]
    assert times == "Time: 21 min on the clock, with everything; the trials' epochs took 30 min in sum, 15 min a worker"
    document = sweep_document(state, 50) | {
        "resumed": [{"time": None, "status_before": "INTERRUPTED", "machine_before": "elsewhere"}]
    }
    [times] = [line for line in conditions(Sweep.from_document(document)) if line.startswith("Time")]
    assert times.endswith("wall time unknown, as the sweep was resumed")
    assert "hyperopt 0.3.0, ray 2.60.0" in " ".join(conditions(sweep_of(state)))


def test_the_fraction_of_a_gpu_follows_from_the_highest_peak() -> None:
    state = sample_ledger(4)
    for trial, peak in zip(state.trials.values(), (3000.0, 9400.0, 5000.0, 4000.0), strict=True):
        trial.peak_memory_mb = peak
    document = sweep_document(state, 4, gpus_per_trial=0.5)
    document["info"]["gpu_memory_mb"] = 80_000.0
    peak, advice = memory(Sweep.from_document(document))
    assert "9,400 MB at most (trial 2), 4,500 MB in the middle" in peak
    assert "is enough for 7 trials beside each other: `--gpus-per-trial 0.14` (this time 0.5)" in advice
    document["info"]["gpu_memory_mb"] = 10_000.0
    assert "is not enough for such a trial" in memory(Sweep.from_document(document))[1]
    assert len(memory(sweep_of(state))) == 1, "on a CPU there is nothing to share"


def test_a_fraction_lets_exactly_so_many_trials_share_a_gpu() -> None:
    assert [int(1 / fraction(trials) + 1e-9) for trials in range(1, 65)] == list(range(1, 65))
    assert [fraction(trials) for trials in (1, 3, 4, 5)] == [1, 0.3, 0.25, 0.2]


# Pictures


def test_an_axis_places_a_logarithmic_value_by_its_logarithm() -> None:
    sweep = sweep_of(sample_ledger(50))
    axes = {axis.key: axis for axis in build_axes(sweep.space, sweep.state.over())}
    assert axes["training.lr"].place(1e-3) == pytest.approx(0.5)
    assert [label for _, label in axes["training.lr"].ticks()] == ["1e-5", "0.0001", "0.001", "0.01", "0.1"]
    assert axes["training.momentum"].place(0.475) == pytest.approx(0.5)
    assert [label for _, label in axes["model.augment"].ticks()] == ["0", "2", "4", "6", "8", "10"]
    assert axes["training.optimiser"].ticks() == [(0.25, "adam"), (0.75, "sgd")]


def test_every_suggestion_has_a_place_on_its_axis() -> None:
    sweep = sweep_of(sample_ledger(500))
    for axis in build_axes(sweep.space, sweep.state.over()):
        for trial in sweep.state.over():
            if axis.key in trial.suggestion:
                assert 0 <= axis.place(trial.suggestion[axis.key], trial.number) <= 1


def test_the_best_so_far_never_gets_worse_and_ends_with_the_best() -> None:
    sweep = sweep_of(sample_ledger(50))
    [ax] = plot_best_so_far(sweep.space, sweep.state).axes
    curve = points(ax, "best so far")
    heights = [height for _, height in curve]
    assert heights == sorted(heights, reverse=True)
    assert curve[-1] == (50, min(height for _, height in points(ax, "completed")))
    assert [x for x, _ in points(ax, "failed")] == [t.number for t in sweep.state.over() if t.has_failed]
    [ax] = plot_best_so_far(resnet_sweep(30).space, resnet_sweep(30).state).axes
    heights = [height for _, height in points(ax, "best so far")]
    assert heights == sorted(heights)


def test_each_hyperparameter_shows_the_trials_that_have_it() -> None:
    sweep = sweep_of(sample_ledger(50))
    panels = plot_hyperparameters(sweep.space, sweep.state).axes
    lr, momentum = panels[0], panels[4]
    for outcome in ("completed", "pruned"):
        assert len(points(lr, outcome)) == outcomes(sweep.state, outcome)
    assert len(points(lr, "failed")) == 11
    assert len(points(lr, "best")) == 1
    assert momentum.get_xlabel() == "training.momentum (20 of 50 trials)"
    drawn = sum(len(points(momentum, outcome)) for outcome in ("completed", "pruned", "failed"))
    assert drawn == 20
    assert points(momentum, "best") == [], "the best has none"


def test_parallel_coordinates_draw_every_trial_and_the_best_once_more() -> None:
    sweep = sweep_of(sample_ledger(50))
    [ax] = plot_parallel_coordinates(sweep.space, sweep.state).axes
    lines = [line for line in ax.lines if len(line.get_xdata()) == 6]  # five hyperparameters and the metric
    assert len(lines) == 50 + 1
    labels = [text.get_text() for text in ax.texts]
    assert {"training.\nlr", "training.\nmomentum", "validation.\nloss", "not set", "failed"} <= set(labels)
    best = max(lines, key=lambda line: line.get_linewidth())
    ends = [line.get_ydata()[-1] for line in lines]
    assert best.get_ydata()[-1] == min(end for end in ends if end >= 0)
    assert sum(end < 0 for end in ends) == 11, "failed ones end below the metric"
    without = sum("training.momentum" not in trial.suggestion for trial in sweep.state.over())
    assert sum(line.get_ydata()[4] < 0 for line in lines) == without + 1, "what is not set passes below the axis"


def test_evaluations_are_drawn_for_ode_nets_alone() -> None:
    sweep = sweep_of(sample_ledger(50))
    figure = plot_evaluations(sweep.space, sweep.state)
    assert figure is not None
    best = sweep.best
    assert best is not None
    assert points(figure.axes[0], "best") == [(best.nfe_forward, best.validation_result)]
    assert len(points(figure.axes[0], "completed")) == outcomes(sweep.state, "completed")
    assert plot_evaluations(resnet_sweep(30).space, resnet_sweep(30).state) is None


# The page


@pytest.mark.parametrize(
    ("state", "pictures"),
    [
        (SweepState(), 0),
        (sample_ledger(1), 3),
        (sample_ledger(2), 4),
        (failures_only(), 3),
        (sample_ledger(12, running=2), 4),
        (sample_ledger(500, checks=3), 5),
    ],
    ids=["none", "one failed", "two", "failed alone", "running", "many"],
)
def test_the_page_has_its_pictures_whatever_the_trials(state: SweepState, pictures: int) -> None:
    html = page(sweep_of(state, 500, status="RUNNING"))
    assert html.count('src="data:image/png;base64,') == pictures
    assert html.count("<tr>") >= len(state.trials)


def test_the_page_needs_nothing_beside_itself_and_takes_what_was_said_as_text() -> None:
    state = sample_ledger(50, checks=3)
    state.trials[1].error = "<script>alert(1)</script> & more"
    html = page(sweep_of(state, **{"with": ["data.name=<b>.npz"]}))
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert "<b>" not in html
    assert "<code>odenet show RUN</code> tells more of a run" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert set(re.findall(r'(?:src|href)="([^"]{0,10})', html)) == {"data:image"}


def test_the_page_gives_the_command_for_the_best(tmp_path: Path) -> None:
    sweep = sweep_of(sample_ledger(50, checks=3))
    encoded = re.search(r"<pre>(odenet run .*?)</pre>", page(sweep))
    assert encoded is not None
    assert shlex.split(encoded[1]) == sweep.command()
    best = tmp_path / "my best.yaml"
    assert f"<pre>odenet run with &#39;{best}&#39;</pre>" in page(sweep, {14: best})


def test_runs_are_linked_where_a_board_is_known() -> None:
    sweep = sweep_of(sample_ledger(3))
    links = re.findall(r'<a href="([^"]*)"[^>]*>(\d+)</a>', page(sweep, board="http://127.0.0.1:9004/sacred"))
    assert [run for _, run in links] == ["101", "102", "103"]
    assert links[0][0] == ("http://127.0.0.1:9004/sacred?showDrillDownRunModal=true&amp;runIdToExpand=101")
    assert "<a " not in page(sweep)


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "missing" / "page.html"):
        with pytest.raises(OdenetError, match="cannot write the page"):
            write_page(sweep_of(sample_ledger(1)), path)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.browser
@pytest.mark.skipif(bool(NO_BROWSER), reason=f"needs {' and '.join(NO_BROWSER)}")
def test_the_page_fits_wide_and_narrow_windows_with_all_its_pictures(tmp_path: Path) -> None:
    write_page(sweep_of(sample_ledger(50, checks=3)), tmp_path / "page.html")
    assert_page_fits(tmp_path / "page.html", images=5)


# The commands


@pytest.fixture
def sweeps(database: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A whole sweep, 12; one that runs, 13; one that cannot be read, 14; a trial of the first, 15."""
    monkeypatch.setenv("COLUMNS", "80")
    trial = copy.deepcopy(sweep_document(SweepState(), 0))
    trial |= {"_id": 15, "config": ClassificationConfig().to_dict(), "info": {"sweep": {"id": 12, "trial": 3}}}
    trial["experiment"]["name"] = "classification"
    database.runs.insert_many(
        [
            sweep_document(sample_ledger(50, checks=3), 50),
            sweep_document(sample_ledger(12, running=2), 50, status="RUNNING") | {"_id": 13},
            sweep_document(sample_ledger(3), 50, text="space: {}") | {"_id": 14},
            trial,
        ]
    )
    return database


@pytest.mark.usefixtures("sweeps")
def test_sweeps_are_listed_newest_first_and_an_unreadable_one_hides_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["sweep_id"] for row in rows] == [14, 13, 12]
    best = sample_ledger(50).best("min")
    assert best is not None
    assert rows[2] == {
        "sweep_id": 12,
        "status": "COMPLETED",
        "space": "simple_digits",
        "over": 50,
        "trials": 50,
        "failed": 11,
        "pruned": 14,
        "violating": 0,
        "objectives": [{"metric": "validation.loss", "mode": "min"}],
        "constraints": [],
        "front_run_ids": [best.run_id],
        "metric": "validation.loss",
        "best_value": best.value,
        "best_run_id": best.run_id,
        "accuracy": pytest.approx(0.9651),
        "started": "2026-11-20T09:30:00+00:00",
    }
    assert rows[1]["status"] == "RUNNING"
    assert (rows[0]["space"], rows[0]["over"]) == ("simple_digits", None)

    assert main(["sweeps", "--limit", "1", "--json"]) == 0
    assert [row["sweep_id"] for row in json.loads(capsys.readouterr().out)] == [14]
    assert main(["sweeps"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("12")]
    assert line.split() == f"12 COMPLETED simple_digits 50/50 11 14 {best.value:.4f} 114 96.51% 2026-11-20".split()


@pytest.mark.usefixtures("sweeps")
def test_a_sweep_is_shown_with_its_trials_and_its_page_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["sweeps", "show", "12", "--report", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("96.51 ± 0.40 % on test with the best of 50 trials")
    for words in ("loss diverged", "Trial 9: the loss is nan", "mean", "training.max_epochs=20", "trial 14, run 114"):
        assert words.lower() in " ".join(shown.split()).lower()
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize("words", [["sweeps", "show", "13", "--json"], ["sweeps", "--json", "show", "13"]])
def test_a_program_gets_one_document(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["sweep_id"], document["status"]) == (13, "RUNNING")
    assert [trial["number"] for trial in document["trials"]] == list(range(1, 15))
    assert document["best"]["suggestion"] == sample_ledger(12).trials[2].suggestion


@pytest.mark.usefixtures("sweeps")
@pytest.mark.parametrize(
    ("words", "sentence", "status"),
    [
        (["sweeps", "show", "15"], "run 15 is no sweep: a trial of sweep 12", 2),
        (["sweeps", "show", "99"], "there is no run 99", 2),
        (["sweeps", "show", "14"], "sweep 14 cannot be read (SpaceError: its space: say either minimise or ", 1),
        (["sweeps", "show", "12", "--board", "javascript:alert(1)"], "--board wants the address", 2),
        (["compare", "12", "15"], "run 12 is a sweep: compare its trials, `odenet sweeps show 12` lists them", 2),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_sentence(
    words: list[str], sentence: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"odenet: {sentence}")
    assert said.err.count("\n") == 1


def test_a_sweep_whose_ledger_was_changed_is_told_in_one_sentence(
    sweeps: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeps.runs.update_one({"_id": 12}, {"$set": {"info.sweep.trials": [{"no": "trial"}]}})
    assert main(["sweeps", "show", "12"]) == 1
    assert capsys.readouterr().err.startswith("odenet: sweep 12 cannot be read (KeyError")
    assert main(["sweeps"]) == 0


def test_among_other_runs_a_sweep_is_shown_as_what_it_is(sweeps: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--json"]) == 0
    rows = {row["run_id"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows[12]["model"], rows[12]["data"], rows[12]["seed"]) == ("sweep", "simple_digits", 0)
    assert rows[12]["accuracy"] == pytest.approx(0.9651)
    assert rows[15]["model"] == "simple ODE-Net"

    assert main(["watch", "12"]) == 0
    assert "0/" not in capsys.readouterr().out, "a sweep has no epochs"
    found = [Runs(sweeps).get(run_id) for run_id in (12, 15)]
    settings = {one.name: one.values for one in find_variables(found, summaries(Runs(sweeps), found), [])}
    assert settings["training.lr"] == (None, ClassificationConfig().training.lr), "a sweep's settings are its trials'"

    assert main(["show", "12"]) == 0
    shown = capsys.readouterr().out
    assert "with: [odenet_simple, digits]" in shown, "brackets are no markup"
    assert "`odenet sweeps show 12` tells of its trials" in shown
    assert "underflow" not in shown
    assert main(["show", "15"]) == 0
    assert "sweep.id" in capsys.readouterr().out


def test_the_page_says_which_hyperparameters_matter() -> None:
    state = sample_ledger(50)
    importance = importance_of(sweep_of(state))
    assert importance.settings[0].name == "training.lr", "of which the samples' loss is a function"
    assert importance.runs == outcomes(state, "completed") + outcomes(state, "pruned")
    assert importance.says in unescape(page(sweep_of(state)))
    few = page(sweep_of(sample_ledger(12)))
    assert "too few to tell which setting matters" in few
    assert "The importance of each hyperparameter" not in few
    assert "Which hyperparameters matter" not in page(sweep_of(SweepState()))
