"""Runs beside each other, on real runs of a few epochs: what is computed, what is said, and what a person sees."""

import io
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from odenet.main import main
from pipeline.comparison.compare import Comparison, compare
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.figures import plot_run_curves
from pipeline.comparison.groups import Group
from pipeline.comparison.page import page, write_page
from pipeline.comparison.tables import comparison_tables, markdown
from pipeline.comparison.tuning import count_tried
from pipeline.runs.query import ArtifactError, Runs, StoredRun
from pipeline.tasks.classification.metric_specs import metric_specs
from pipeline.tracking.run_document import RunStatus
from pipeline.util.errors import InvalidInput, OdenetError
from tests.helpers import browser
from tests.helpers.browser import assert_page_fits
from tests.helpers.commands import start_command, wait_until
from tests.helpers.homes import with_store
from tests.helpers.pages import run_example
from tests.helpers.paths import ROOT
from tests.helpers.training import train

RESNET_0, RESNET_1, LARGE, OTHER_DATA, ODENET_0, UNSOLVED, INTERRUPTED = range(1, 8)
"""The runs of the store, by id: two seeds of a ResNet, …"""

NO_BROWSER = [name for name in ("chromium", "chromedriver") if name in browser.missing()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A store of its own with the seven runs."""
    home = tmp_path_factory.mktemp("compared")
    digits, labels = load_digits(return_X_y=True)
    images, labels = (digits * 15).astype(np.uint8).reshape(-1, 8, 8), labels.astype(np.int64)
    other = home / "other.npz"
    np.savez(other, x_train=images[:300], y_train=labels[:300], x_test=images[300:400], y_test=labels[300:400])
    with with_store(home):
        short = {"training": {"max_epochs": 2}}
        train(["resnet_small", "digits"], {**short, "seed": 0})
        train(["resnet_small", "digits"], {**short, "seed": 1})
        train(["resnet_large", "digits"], {**short, "data": {"subset": 600}})
        train(["resnet_small"], {**short, "data": {"name": str(other)}})
        train(["odenet_simple", "digits"], {**short, "seed": 0})
        train(["odenet_simple", "digits"], {**short, "solver": {"max_steps": 1}})
        stored = Runs()
        _interrupted_run(home, stored)
        yield stored
        stored.database.client.close()


def _interrupted_run(home: Path, runs: Runs) -> None:
    """The ODE-Net with another seed, ended by SIGTERM after its first epoch."""
    command = start_command(home, "run", "with", "odenet_simple", "digits", "training.max_epochs=2", "seed=1")
    first = {"run_id": INTERRUPTED, "name": "training.loss"}
    wait_until(lambda: runs.database.metrics.count_documents(first), command)
    command.send(signal.SIGTERM)
    assert command.wait() == 130


def compared(runs: Runs, *ids: int) -> Comparison:
    return compare([runs.get(run_id) for run_id in ids])


def changed(run: StoredRun, **values: Any) -> StoredRun:
    """The run as another machine or configuration would have stored it: the dots of the paths written as `__`."""
    document = json.loads(json.dumps({key: run.document[key] for key in ("config", "info", "host")}))
    for path, value in values.items():
        *parents, last = path.split("__")
        below = document
        for key in parents:
            below = below[key]
        below[last] = value
    return StoredRun({**run.document, **document}, run.database)


def group_of(comparison: Comparison, run_id: int) -> Group:
    return comparison.group_of(run_id)


# What is compared


def test_runs_that_differ_only_in_their_seed_are_one_group_with_mean_and_deviation(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, RESNET_1, ODENET_0)
    resnets, odenets = comparison.groups
    assert [run.run_id for run in resnets.runs] == [RESNET_0, RESNET_1]
    accuracies = [runs.get(RESNET_0).result, runs.get(RESNET_1).result]
    spread = resnets.spread("accuracy")
    assert spread is not None
    assert (spread.mean, spread.standard_deviation, spread.n) == pytest.approx(
        (statistics.mean(accuracies), statistics.stdev(accuracies), 2)
    )
    assert odenets.spread("accuracy").standard_deviation is None
    assert comparison.config_differences == {"model.body": ("resnet", "odenet")}


def test_an_interrupted_run_is_counted_and_shown_and_in_no_mean(runs: Runs) -> None:
    comparison = compared(runs, ODENET_0, INTERRUPTED, RESNET_0, RESNET_1)
    group = group_of(comparison, INTERRUPTED)
    assert runs.get(INTERRUPTED).status == "INTERRUPTED"
    assert (len(group.runs), len(group.completed)) == (2, 1)
    assert group.spread("accuracy").n == group.spread("epoch_seconds").n == 1
    text = markdown(comparison)
    assert "1 of 2" in text
    assert "INTERRUPTED: interrupted" in text
    assert f"Run {INTERRUPTED} did not complete (INTERRUPTED)" in text
    assert f"Run {INTERRUPTED} has no predictions (INTERRUPTED)." in text


def test_a_run_that_failed_at_once_leaves_gaps_and_its_reason(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, UNSOLVED)
    assert comparison.tests == ()
    text = markdown(comparison)
    assert "FAILED: solve ended by step limit at t = " in text
    assert "| accuracy (%) |" in text
    assert "–" in text
    html = page(comparison)
    assert "no run with predictions" in html
    assert f"without a curve: run {UNSOLVED}." in html


def test_runs_that_all_failed_are_compared_all_the_same(runs: Runs) -> None:
    failed = runs.get(UNSOLVED)
    comparison = compare([failed, StoredRun({**failed.document, "_id": 99}, failed.database)])
    assert "0 of 2" in page(comparison)
    assert "No run came to the end of an epoch." in page(comparison)


def test_the_difference_is_that_of_the_stored_predictions(runs: Runs) -> None:
    (pair,) = compared(runs, ODENET_0, RESNET_0).tests
    right = []
    for run_id in (ODENET_0, RESNET_0):
        stored = np.load(io.BytesIO(runs.get(run_id).artifact("predictions.npz")))
        right.append(stored["probabilities"].argmax(1) == stored["labels"])
    assert pair.test.only_first == int((right[0] & ~right[1]).sum())
    assert pair.test.difference == pytest.approx(runs.get(ODENET_0).result - runs.get(RESNET_0).result)


def test_groups_are_tested_seed_by_seed_and_a_single_group_run_by_run(runs: Runs) -> None:
    by_seed = compared(runs, RESNET_0, RESNET_1, ODENET_0).tests
    assert [(pair.first, pair.second) for pair in by_seed] == [(RESNET_0, ODENET_0)]
    without_common_seed = compared(runs, RESNET_1, ODENET_0).tests
    assert [(pair.first, pair.second) for pair in without_common_seed] == [(RESNET_1, ODENET_0)]
    in_one_group = compared(runs, RESNET_0, RESNET_1).tests
    assert [(pair.first, pair.second) for pair in in_one_group] == [(RESNET_0, RESNET_1)]


def test_runs_with_other_test_images_are_not_tested_against_each_other(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, OTHER_DATA)
    assert comparison.tests == ()
    assert comparison.untested == (f"Runs {RESNET_0} and {OTHER_DATA} were not tested on the same images.",)


def test_the_confusion_matrix_of_a_group_sums_its_runs(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, RESNET_1)
    stored = [json.loads(runs.get(run_id).artifact("evaluation.json"))["confusion"] for run_id in (RESNET_0, RESNET_1)]
    np.testing.assert_array_equal(comparison.groups[0].confusion(), np.sum(stored, axis=0))


def test_multiply_adds_as_solved_count_every_evaluation(runs: Runs) -> None:
    info = runs.get(ODENET_0).info
    once, field = info["multiply_adds"]["total"], info["multiply_adds"]["per_evaluation"]
    odenet, resnet = compared(runs, ODENET_0, RESNET_0).groups
    expected = once + (info["test"]["nfe_forward"] - 1) * field
    assert odenet.spread("multiply_adds_test").mean == pytest.approx(expected)
    assert resnet.spread("multiply_adds_test").mean == resnet.spread("multiply_adds").mean


def test_models_of_one_name_are_told_apart_by_what_differs(runs: Runs) -> None:
    faster = changed(runs.get(RESNET_1), config__training__lr=0.01)
    names = [group.label for group in compare([runs.get(RESNET_0), faster]).groups]
    assert names == ["A: simple ResNet, training.lr=0.0002", "B: simple ResNet, training.lr=0.01"]


def test_predictions_that_were_changed_in_the_store_are_refused(runs: Runs) -> None:
    run = runs.get(RESNET_1)
    file_id = next(a["file_id"] for a in run.document["artifacts"] if a["name"] == "predictions.npz")
    chunk = run.database["fs.chunks"].find_one({"files_id": file_id})
    content = bytearray(chunk["data"])
    content[-1] ^= 1
    run.database["fs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": bytes(content)}})
    try:
        with pytest.raises(ArtifactError, match="has been changed in the store"):
            compared(runs, RESNET_0, RESNET_1)
    finally:
        run.database["fs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": chunk["data"]}})


def test_fewer_than_two_runs_or_one_twice_are_refused(runs: Runs) -> None:
    with pytest.raises(InvalidInput, match="at least two runs, not 1"):
        compared(runs, RESNET_0)
    with pytest.raises(InvalidInput, match="run 1 is named twice"):
        compared(runs, RESNET_0, ODENET_0, RESNET_0)


def test_an_evaluation_of_a_run_is_not_taken_for_another_training(runs: Runs) -> None:
    child = changed(runs.get(RESNET_1), info__parent=RESNET_0)
    with pytest.raises(InvalidInput, match="run 2 trained nothing, it evaluates run 1: compare run 1"):
        compare([runs.get(RESNET_0), child])


# Whether it is fair


def test_a_comparison_of_like_with_like_that_stopped_early_is_fair_but_for_what_the_solver_multiplies(
    runs: Runs,
) -> None:
    stopped = [changed(runs.get(run_id), info__training__stopped_early=True) for run_id in (RESNET_0, ODENET_0)]
    (sentence,) = find_unfairness(compare(stopped))
    assert re.search(r"multiply-adds of a sample, as solved, are up to \d+\.\d times apart: A ", sentence)
    solved_once = changed(stopped[1], info__test__nfe_forward=1.0)
    assert find_unfairness(compare([stopped[0], solved_once])) == []


def test_sides_that_were_not_tuned_alike_are_named(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, ODENET_0)
    tried = count_tried(runs, comparison)
    assert tried == {"A": 1, "B": 1}, "runs of other lengths and seeds are no other settings"
    assert not any("tuned" in sentence for sentence in find_unfairness(comparison, tried))
    whole = changed(runs.get(ODENET_0), config__training__weight_decay=0)
    assert count_tried(runs, compare([runs.get(RESNET_0), whole]))["B"] == 1, "0 is 0.0"
    assert any("tried: of A 1, of B 7" in sentence for sentence in find_unfairness(comparison, {"A": 1, "B": 7}))


def test_other_limits_of_epochs_are_named(runs: Runs) -> None:
    longer = changed(runs.get(ODENET_0), config__training__max_epochs=9)
    sentences = find_unfairness(compare([runs.get(RESNET_0), longer]))
    assert any(
        f"training.max_epochs is 2 (run {RESNET_0}), 9 (run {ODENET_0})" in sentence for sentence in sentences
    ), sentences


def test_what_makes_a_comparison_unfair_is_said(runs: Runs) -> None:
    large = find_unfairness(compared(runs, RESNET_0, LARGE))
    assert any("data.subset is None (run 1), 600 (run 3)" in sentence for sentence in large)
    assert any("not of one size: 1149 (run 1), 480 (run 3) images" in sentence for sentence in large)
    assert any(re.search(r"counts are up to \d+\.\d times apart: A 50,632, B \d", sentence) for sentence in large)
    assert any("Not stopped early but by training.max_epochs: 2 (runs 1, 3)" in sentence for sentence in large)
    assert any("fingerprint" in sentence for sentence in find_unfairness(compared(runs, RESNET_0, OTHER_DATA)))
    assert any("(A: 0, 1; B: 0)" in s for s in find_unfairness(compared(runs, RESNET_0, RESNET_1, ODENET_0)))


def test_a_repetition_is_not_taken_for_another_sample(runs: Runs) -> None:
    again = changed(runs.get(RESNET_1), config__seed=0)
    sentences = find_unfairness(compare([runs.get(RESNET_0), again]))
    assert any("Runs 1, 2 repeat each other (seed 0)" in sentence for sentence in sentences)


def test_parameter_counts_a_twentieth_apart_are_fair(runs: Runs) -> None:
    def sentences(total: int) -> list[str]:
        other = changed(runs.get(ODENET_0), info__parameters__total=total)
        return [s for s in find_unfairness(compare([runs.get(RESNET_0), other])) if "parameter counts" in s]

    assert sentences(int(50_632 * 1.049)) == []
    assert len(sentences(int(50_632 * 1.051))) == 1


def test_times_of_different_machines_are_not_to_be_compared(runs: Runs) -> None:
    elsewhere = changed(runs.get(ODENET_0), host__hostname="elsewhere")
    sentences = find_unfairness(compare([runs.get(RESNET_0), elsewhere]))
    assert any("do not compare times" in s and "elsewhere (" in s for s in sentences)


def test_the_same_fixed_number_of_epochs_for_all_is_fair(runs: Runs) -> None:
    fixed = [changed(runs.get(run_id), config__training__patience=None) for run_id in (RESNET_0, ODENET_0)]
    assert not any("epochs" in sentence for sentence in find_unfairness(compare(fixed)))


# What a person or a program reads


@pytest.mark.usefixtures("runs")
def test_the_command_prints_one_json_document_and_writes_the_page(tmp_path: Path) -> None:
    ids = [str(run_id) for run_id in (RESNET_0, RESNET_1, ODENET_0, INTERRUPTED, UNSOLVED)]
    command = [sys.executable, "-m", "odenet.main", "compare", *ids, "--json", "--html", "page.html"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [(group["completed"], group["started"]) for group in document["groups"]] == [(2, 2), (1, 2), (0, 1)]
    assert document["groups"][0]["values"]["parameters"]["mean"] == 50_632
    assert {"first", "second", "difference", "lower", "upper", "p_value"} <= document["tests"][0].keys()
    assert any("did not complete" in sentence for sentence in document["unfair"])
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.usefixtures("runs")
def test_wrong_ids_are_one_sentence_and_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    for ids, sentence in ((["1", "12345"], "there is no run 12345"), (["1"], "at least two runs")):
        assert main(["compare", *ids]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert sentence in printed.err
        assert printed.err.count("\n") == 1


@pytest.mark.usefixtures("runs")
def test_the_terminal_and_markdown_have_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    ids = [str(RESNET_0), str(ODENET_0)]
    titles = ["Results on the test split", "Differences in accuracy", "Cost", "Configuration, where it differs", "Runs"]
    for arguments in ([], ["--markdown"]):
        assert main(["compare", *ids, *arguments]) == 0
        printed = capsys.readouterr().out
        assert all(title in printed for title in titles)
        assert "50,632" in printed
        assert "model.body" in printed


def test_every_row_of_markdown_has_the_columns_of_its_heading(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, LARGE, UNSOLVED)
    tables = comparison_tables(comparison)
    assert all(len(row) == len(table.headings) == len(table.alignment) for table in tables for row in table.rows)
    odd = changed(runs.get(OTHER_DATA), config__data__name="a|b*c.npz")
    assert "a\\|b\\*c" in markdown(compare([runs.get(RESNET_0), odd]))


def test_the_page_needs_nothing_beside_itself_and_takes_names_as_text(runs: Runs) -> None:
    odd = changed(runs.get(OTHER_DATA), config__data__name="<script>alert(1)</script>.npz")
    html = page(compare([runs.get(RESNET_0), odd]))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', html)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r'http-equiv|base64,[^"]*', "", html)


def test_a_page_that_cannot_be_written_leaves_nothing_and_is_told_in_a_sentence(runs: Runs, tmp_path: Path) -> None:
    failed = runs.get(UNSOLVED)
    comparison = compare([failed, StoredRun({**failed.document, "_id": 99}, failed.database)])
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "missing" / "page.html"):
        with pytest.raises(OdenetError, match="cannot write the page"):
            write_page(comparison, path)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_curves_have_the_colour_of_their_group_and_a_cross_where_a_run_broke_off(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, RESNET_1, INTERRUPTED)
    loss, _, evaluations = plot_run_curves(comparison.groups, metric_specs()).axes
    solid = [line for line in loss.lines if line.get_linestyle() == "-" and line.get_marker() == "None"]
    assert len({line.get_color() for line in solid[:2]}) == 1
    assert solid[2].get_color() != solid[0].get_color()
    crosses = [line for line in loss.lines if line.get_marker() == "X"]
    assert len(crosses) == 1
    assert crosses[0].get_xdata()[0] == len(comparison.runs[2].history)
    assert len([line for line in evaluations.lines if line.get_marker() == "None"]) == 1


def test_a_run_whose_validation_is_still_on_its_way_and_a_dozen_groups_are_drawn(runs: Runs) -> None:
    run = compared(runs, RESNET_0, RESNET_1).runs[0]
    partial = replace(run, history=run.history[["training.loss"]], status=RunStatus.RUNNING)
    figure = plot_run_curves([Group("A", "partial", (partial,))], metric_specs())
    figure.draw_without_rendering()
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "Loss (nats per image)"
    ]  # of what there is nothing there is no panel
    dozen = [Group("A", f"group {k}", (run,)) for k in range(12)]
    plot_run_curves(dozen, metric_specs()).draw_without_rendering()


@pytest.mark.browser
@pytest.mark.skipif(bool(NO_BROWSER), reason=f"needs {' and '.join(NO_BROWSER)}")
def test_the_page_fits_wide_and_narrow_windows_with_all_its_pictures(runs: Runs, tmp_path: Path) -> None:
    write_page(compared(runs, RESNET_0, RESNET_1, ODENET_0, INTERRUPTED, UNSOLVED), tmp_path / "page.html")
    assert_page_fits(tmp_path / "page.html", images=3)


def retested(runs: Runs, run_id: int, new_id: int, **test: float) -> StoredRun:
    """The run under another id, tested otherwise."""
    run = runs.get(run_id)
    document = {**run.document, "_id": new_id, "result": test.get("accuracy", run.result)}
    document["info"] = {**run.info, "test": {**run.info["test"], **test}}
    return StoredRun(document, runs.database)


def test_a_run_whose_result_is_no_number_is_said_to_be_in_no_mean(runs: Runs) -> None:
    diverged = retested(runs, RESNET_1, 20, accuracy=math.nan)
    comparison = compare([runs.get(RESNET_0), diverged])
    assert "result that is a number are in no mean: 20" in " ".join(find_unfairness(comparison))
    assert "(1 of 2)" in markdown(comparison)


def test_runs_of_one_seed_are_one_value_of_a_mean(runs: Runs) -> None:
    again = [retested(runs, RESNET_1, 20 + number, accuracy=0.5) for number in range(3)]
    comparison = compare([retested(runs, RESNET_0, 30, accuracy=0.7), *again])
    spread = comparison.groups[0].spread("accuracy")
    assert spread is not None
    assert (spread.mean, spread.n) == (pytest.approx(0.6), 2)
    assert any("(seed 1): in the means of A they count as one" in one for one in find_unfairness(comparison))


def test_losses_below_zero_are_drawn_on_a_linear_axis(runs: Runs) -> None:
    comparison = compared(runs, RESNET_0, ODENET_0)
    loss = [metric for metric in metric_specs() if metric.quantity == "loss"]
    figure = plot_run_curves(comparison.groups, loss)
    assert figure is not None
    assert figure.axes[0].get_yscale() == "log"
    for run in comparison.runs:
        run.history["validation.loss"] -= 10
    figure = plot_run_curves(comparison.groups, loss)
    assert figure is not None
    assert figure.axes[0].get_yscale() == "linear"


def test_long_names_of_groups_do_not_make_the_curves_small(runs: Runs) -> None:
    groups = [replace(group, name="model.channels=16, " * 20) for group in compared(runs, RESNET_0, ODENET_0).groups]
    figure = plot_run_curves(groups, metric_specs())
    assert figure is not None
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.width < figure.bbox.width
    assert figure.legends[0].get_texts()[0].get_text().startswith("A: model.channels=16")


def test_no_two_of_a_dozen_groups_are_of_one_colour(runs: Runs) -> None:
    groups = [
        replace(group, letter=f"{number}")
        for number in range(12)
        for group in compared(runs, RESNET_0, RESNET_1).groups
    ]
    figure = plot_run_curves(groups, metric_specs())
    assert figure is not None
    assert len({tuple(line.get_color()) for line in figure.axes[0].lines}) == 12


@pytest.mark.usefixtures("runs")
def test_the_pages_example_in_python_compares_runs() -> None:
    ids = f"({RESNET_0}, {RESNET_1}, {ODENET_0}, {INTERRUPTED})"
    comparison = run_example(ROOT / "docs" / "compare.md", ("(5, 6, 1, 8)", ids))["comparison"]
    assert [len(group.completed) for group in comparison.groups] == [2, 1]
