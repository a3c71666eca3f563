"""Sweeps beside each other: what is compared, what is refused, what is to be borne in mind."""

import json
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from odenet.main import main
from pipeline.runs.query import Runs
from pipeline.sweeps.comparison import SweepComparison, compare_sweeps
from pipeline.sweeps.comparison_cautions import find_cautions
from pipeline.sweeps.comparison_figures import plot_best_curves, plot_fronts
from pipeline.sweeps.comparison_page import page
from pipeline.sweeps.comparison_tables import (
    best_table,
    cost_table,
    failures_table,
    numbers_table,
    results_table,
    settings_table,
    spaces_table,
)
from pipeline.sweeps.goal import undominated
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.util.errors import InvalidInput
from tests.helpers import browser
from tests.helpers.browser import assert_page_fits
from tests.helpers.sweep_samples import SPACE, goal_sweep_document, sample_ledger, sweep_document

Store = Database[dict[str, Any]]
NO_BROWSER = [name for name in ("chromium", "chromedriver") if name in browser.missing()]
OTHER_SPACE = SPACE.replace("[1e-5, 1e-1]", "[1e-4, 1e-2]").replace("  model.augment: {quniform: [0, 10, 1]}\n", "")
TWO = "maximise: validation.accuracy\nminimise: solver.nfe_forward"


def trial_document(run_id: int, sweep_id: int, sha256: str = "a" * 64, **config: Any) -> dict[str, Any]:
    """The run of a trial, of which a comparison reads configuration and data."""
    document = sweep_document(sample_ledger(0), 0) | {"_id": run_id}
    document["experiment"] = {**document["experiment"], "name": "classification"}
    document["config"] = ClassificationConfig.from_dict({"data": {"name": "digits", **config}}).to_dict()
    document["info"] = {"sweep": {"id": sweep_id, "trial": 1, "phase": "search"}, "data": {"sha256": sha256}}
    return document


@pytest.fixture
def store(database: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """12 and 13 alike but for seed and length, 14 of another space, data and seed, 15 and 16 of two objectives."""
    monkeypatch.setenv("COLUMNS", "100")
    other = sweep_document(sample_ledger(30, seed=2), 30, text=OTHER_SPACE, fresh_seeds=0, parallel=4)
    two, bounded = goal_sweep_document(TWO, 30), goal_sweep_document(TWO, 20, constraints=["solver.nfe_forward <= 26"])
    database.runs.insert_many(
        [
            sweep_document(sample_ledger(50, checks=3), 50),
            sweep_document(sample_ledger(30, checks=3, seed=1), 30, seed=1) | {"_id": 13},
            other | {"_id": 14, "host": {**other["host"], "hostname": "gpu2"}},
            two | {"_id": 15},
            bounded | {"_id": 16},
        ]
    )
    return database


def compared(store: Store, *sweep_ids: int) -> SweepComparison:
    return compare_sweeps(Runs(store), sweep_ids)


def row(table: Any, label: str) -> tuple[str, ...]:
    """The cells of the row that begins so."""
    [found] = [cells[1:] for cells in table.rows if cells[0] == label]
    return tuple(found)


# What is compared


def test_sweeps_are_set_beside_each_other_after_the_same_numbers_of_trials(store: Store) -> None:
    comparison = compared(store, 12, 13)
    assert comparison.numbers == [5, 10, 20, 30]
    long, short = (one.sweep for one in comparison.sweeps)
    first_thirty = [t.value for t in long.state.over()[:30] if t.outcome == "completed" and t.value is not None]
    assert short.best is not None
    assert comparison.best_after(30) == [min(first_thirty), short.best.value]
    table = numbers_table(comparison)
    assert table.headings == ("trials", "A: sweep 12", "B: sweep 13")
    assert row(table, "30") == tuple(f"{value:.4f}" for value in comparison.best_after(30) if value is not None)


def test_the_results_are_the_best_value_and_the_test_on_fresh_seeds(store: Store) -> None:
    comparison = compared(store, 12, 14)
    table, best = results_table(comparison), comparison.sweeps[0].sweep.best
    assert best is not None
    assert row(table, "trials over") == ("50 of 50", "30 of 30")
    assert row(table, "best validation loss")[0] == f"{best.value:.4f}"
    assert row(table, "of trial (run)")[0] == "14 (114)"
    assert row(table, "test accuracy, fresh seeds") == ("96.51 ± 0.40 %", "–")


def test_time_failures_and_spaces_have_a_column_each(store: Store) -> None:
    comparison = compared(store, 12, 14)
    assert row(cost_table(comparison), "time on the clock") == ("21 min", "21 min")
    assert row(cost_table(comparison), "workers") == ("2", "4")
    failed = [str(sum(one.sweep.state.failures().values())) for one in comparison.sweeps]
    assert list(row(failures_table(comparison), "failed")) == failed
    reasons = [int(cells[1]) for cells in failures_table(comparison).rows if cells[0].startswith("by: ")]
    assert sum(reasons) == int(failed[0])
    spaces = spaces_table(comparison)
    assert row(spaces, "training.lr") == ("loguniform 1e-5 … 0.1", "loguniform 0.0001 … 0.01")
    assert row(spaces, "training.optimiser") == ("adam or sgd", "adam or sgd")
    assert row(spaces, "model.augment") == ("quniform 0 … 10, step 1", "–")
    assert row(best_table(comparison), "training.lr")[0] != "–"


def test_what_is_fixed_is_read_of_a_trials_run(store: Store) -> None:
    store.runs.insert_many([trial_document(114, 12), trial_document(102, 14, subset=500)])
    comparison = compared(store, 12, 14)
    assert comparison.fixed_differences == {"data.subset": (None, 500)}
    assert settings_table(comparison).rows == (("data.subset", "None", "500"),)
    assert row(spaces_table(comparison), "model.augment") == ("quniform 0 … 10, step 1", "fixed: 2")


def test_fronts_are_counted_on_the_joint_front(store: Store) -> None:
    comparison = compared(store, 15, 16)
    one, other = (len(compared_sweep.sweep.front) for compared_sweep in comparison.sweeps)
    on_joint = comparison.on_joint_front(20)
    assert 0 < sum(on_joint) <= one + other
    goal = comparison.sweeps[0].sweep.space.goal
    of_five = [trial for compared_sweep in comparison.sweeps for trial in compared_sweep.first(5) if trial.is_eligible]
    assert sum(comparison.on_joint_front(5)) == len(
        undominated({k: goal.losses(t.measured) for k, t in enumerate(of_five)})
    )
    assert row(numbers_table(comparison), "20") == tuple(map(str, on_joint))
    assert row(results_table(comparison), "on its Pareto front") == (str(one), str(other))
    assert best_table(comparison).note == "Of several objectives no one trial is the best."


def test_a_sweep_beside_a_copy_of_itself_has_half_of_the_joint_front(store: Store) -> None:
    store.runs.insert_one(goal_sweep_document(TWO, 30) | {"_id": 17})
    comparison = compared(store, 15, 17)
    front = len(comparison.sweeps[0].sweep.front)
    assert comparison.on_joint_front(30) == [front, front]


# What is refused, and what is to be borne in mind


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (["12"], "a comparison needs at least two sweeps, not 1"),
        (["12", "12"], "sweep 12 is named twice"),
        (["12", "99"], "there is no run 99"),
        (
            ["12", "15"],
            "these sweeps search for different objectives: sweep 12 the lowest validation.loss; sweep 15 the highest "
            "validation.accuracy and the lowest solver.nfe_forward; compare those that search for the same",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(ids: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps", "compare", *ids]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"odenet: {sentence}")
    assert said.err.count("\n") == 1


def test_sweeps_of_different_tasks_are_refused(store: Store) -> None:
    store.runs.update_one({"_id": 13}, {"$set": {"experiment.task": "density"}})
    with pytest.raises(InvalidInput, match=r"different tasks, classification \(sweep 12\), density \(sweep 13\)"):
        compared(store, 12, 13)


def test_other_data_splits_constraints_seeds_workers_and_lengths_are_pointed_out(store: Store) -> None:
    store.runs.insert_many([trial_document(114, 12), trial_document(102, 14, "b" * 64, validation_fraction=0.3)])
    found = find_cautions(compared(store, 12, 14))
    assert "The data differ: aaaaaaaaaa (A), bbbbbbbbbb (B)." in found
    assert "data.validation_fraction differs: 0.2 (A), 0.3 (B)." in found
    assert any(s.startswith("The numbers of trials differ (A 50, B 30)") and "30 each" in s for s in found)
    assert any(s.startswith("The machines differ, so do not compare times: gpu1 ") for s in found)
    assert "The workers differ, so compare no time on the clock: 2 at a time (A), 4 at a time (B)." in found
    assert any("how much the result of a sweep varies with its seed is not known" in s for s in found)
    bounded = find_cautions(compared(store, 15, 16))
    assert "The constraints differ: none (A), solver.nfe_forward <= 26 (B)." in bounded


def test_two_sweeps_of_one_kind_with_other_seeds_are_no_difference_of_kinds(store: Store) -> None:
    store.runs.insert_one(sweep_document(sample_ledger(50, checks=3, seed=5), 50, seed=5) | {"_id": 18})
    found = find_cautions(compared(store, 12, 18))
    assert "The seeds differ, and with them splits and first weights: 0 (A), 5 (B)." in found
    assert not any("varies with its seed is not known" in sentence for sentence in found)


def test_a_sweep_that_is_not_over_is_pointed_out(store: Store) -> None:
    store.runs.update_one({"_id": 13}, {"$set": {"status": "INTERRUPTED", "config.trials": 40}})
    found = find_cautions(compared(store, 12, 13))
    assert found[0] == "Sweep 13 is not whole (INTERRUPTED): 30 of 40 trials are over."


# As pictures, page, Markdown, JSON


def test_the_picture_has_a_line_for_each_sweep(store: Store) -> None:
    figure = plot_best_curves(compared(store, 12, 13, 14))
    assert figure is not None
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert [label for label in labels if not str(label).startswith("_")] == [
        *("A: sweep 12", "B: sweep 13", "C: sweep 14"),
    ]
    fronts = plot_fronts(compared(store, 15, 16))
    assert fronts is not None
    assert [text.get_text() for text in fronts.legends[0].get_texts()] == ["A: sweep 15", "B: sweep 16"]


@pytest.mark.parametrize(("ids", "heading"), [((12, 13), "The best so far"), ((15, 16), "The Pareto fronts")])
def test_the_page_has_its_picture_and_every_table(store: Store, ids: tuple[int, int], heading: str) -> None:
    html = page(compared(store, *ids))
    assert html.count('src="data:image/png;base64,') == 1
    for words in (heading, "Results", "With as many trials", "Time and cost", "How trials ended", "Spaces"):
        assert words in html


def test_sweeps_without_a_trial_that_is_over_are_compared_too(store: Store) -> None:
    store.runs.insert_one(sweep_document(sample_ledger(0, running=1), 9, status="RUNNING") | {"_id": 19})
    comparison = compared(store, 12, 19)
    assert comparison.numbers == []
    assert numbers_table(comparison).note == "No trial is over in one of them."
    assert "The best so far" in page(comparison)


@pytest.mark.browser
@pytest.mark.skipif(bool(NO_BROWSER), reason=f"needs {' and '.join(NO_BROWSER)}")
def test_the_page_fits_wide_and_narrow_windows(store: Store, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(compared(store, 12, 13, 14)))
    assert_page_fits(tmp_path / "page.html", images=1)


@pytest.mark.usefixtures("store")
def test_a_person_reads_tables_and_a_program_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps", "compare", "12", "13"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 sweeps for the lowest validation loss")
    assert "Read with care" in shown
    assert main(["sweeps", "compare", "12", "13", "--markdown"]) == 0
    written = capsys.readouterr().out
    assert written.startswith("# 2 sweeps for the lowest validation loss\n")
    assert "| trials | A: sweep 12 | B: sweep 13 |" in written
    assert main(["sweeps", "--json", "compare", "12", "13"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["sweep_id"] for one in document["sweeps"]] == [12, 13]
    assert document["sweeps"][0]["best_so_far"][-1] == [50, document["sweeps"][0]["best"]["value"]]
    assert list(document["best_after"]) == ["5", "10", "20", "30"]
    assert main(["sweeps", "compare", "12", "13", "--json", "--markdown"]) == 2


def test_what_a_store_says_is_text_on_the_page_and_in_markdown(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.runs.update_one({"_id": 13}, {"$set": {"host.hostname": "<script>|[red]"}})
    assert "<script>" not in page(compared(store, 12, 13))
    assert main(["sweeps", "compare", "12", "13", "--markdown"]) == 0
    assert "\\<script>\\|[red]" in capsys.readouterr().out
    assert main(["sweeps", "compare", "12", "13"]) == 0
    assert "[red]" in capsys.readouterr().out
