"""The figures of a training as a reader finds them: what is written, drawn and marked."""

from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from pipeline.reporting.figure_style import save_figure
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.training_figures import plot_function_evaluations, plot_learning_curves, plot_step_sizes
from pipeline.tasks.classification.metric_specs import metric_specs
from pipeline.util.errors import InvalidInput
from tests.helpers.figures import legend, texts

pytestmark = pytest.mark.filterwarnings("error")


def history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "training.loss": 2 / epoch,
            "validation.loss": 2.2 / epoch,
            "training.accuracy": 1 - 0.6 / epoch,
            "validation.accuracy": 1 - 0.7 / epoch,
            "solver.nfe_forward": 20 + epoch / 2,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_learning_curves_show_both_splits_and_mark_the_best_epoch() -> None:
    figure = plot_learning_curves(history(6), 4, metric_specs(), "digits")
    assert [ax.get_ylabel() for ax in figure.axes] == ["Loss (nats per image)", "Accuracy"]
    assert legend(figure) == ["training", "validation", "best epoch (4)"]
    training, validation, best = figure.axes[0].lines
    assert training.get_ydata().tolist() == pytest.approx([2 / epoch for epoch in range(1, 7)])
    assert validation.get_ydata().tolist() == pytest.approx([2.2 / epoch for epoch in range(1, 7)])
    assert set(best.get_xdata()) == {4}


def test_an_epoch_that_diverged_leaves_a_gap_and_is_named(tmp_path: Path) -> None:
    rows = history(6)
    rows[2] |= {"training.loss": nan, "validation.loss": inf}
    figure = plot_learning_curves(rows, 2, metric_specs(), "digits")
    for line in figure.axes[0].lines[:2]:
        assert np.isnan(line.get_ydata()).tolist() == [False, False, True, False, False, False]
    assert "Not finite in epoch 3." in texts(figure)
    save_figure(figure, tmp_path / "figure.png")


def test_one_huge_loss_does_not_flatten_the_others() -> None:
    rows = history(6)
    assert plot_learning_curves(rows, 6, metric_specs(), "").axes[0].get_yscale() == "linear"
    rows[2]["training.loss"] = 1e6
    assert plot_learning_curves(rows, 6, metric_specs(), "").axes[0].get_yscale() == "log"


def test_a_history_without_a_finite_value_is_drawn_without_a_best_epoch(tmp_path: Path) -> None:
    rows = [{**history(1)[0], "training.loss": nan, "validation.loss": nan}]
    figure = plot_learning_curves(rows, 0, metric_specs(), "digits")
    assert legend(figure) == ["training", "validation"]
    save_figure(figure, tmp_path / "figure.png")


def test_a_single_epoch_has_a_single_whole_tick() -> None:
    for figure in (
        plot_learning_curves(history(1), 1, metric_specs(), "digits"),
        plot_function_evaluations(history(1), "digits"),
    ):
        low, high = figure.axes[0].get_xlim()
        assert [tick for tick in figure.axes[0].get_xticks() if low < tick < high] == [1]
        assert figure.axes[0].lines[0].get_marker() == "o"


def test_backward_evaluations_are_drawn_where_they_were_counted() -> None:
    rows = history(3)
    assert legend(plot_function_evaluations(rows, "")) == ["forward pass"]
    for row in rows:
        row["solver.nfe_backward"] = 30
    figure = plot_function_evaluations(rows, "")
    assert legend(figure) == ["forward pass", "backward pass"]
    assert figure.axes[0].lines[1].get_ydata().tolist() == [30, 30, 30]
    assert figure.axes[0].get_ylim()[0] == 0


def test_step_sizes_are_drawn_over_the_time_that_they_cover_with_rejected_ones_marked() -> None:
    accepted = [{"t": 0.0, "dt": 0.25, "accepted": True}, {"t": 0.25, "dt": 0.75, "accepted": True}]
    rejected = {"t": 0.25, "dt": 0.9, "accepted": False}
    figure = plot_step_sizes([accepted, accepted], [accepted, [accepted[0], rejected, accepted[1]]], "digits")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Block 1", "Block 2"]
    assert legend(figure) == ["first batch", "last batch"]
    for stairs in figure.axes[1].patches:
        assert stairs.get_data().edges.tolist() == [0, 0.25, 1]
        assert stairs.get_data().values.tolist() == [0.25, 0.75]
    crosses = [line.get_xydata().tolist() for line in figure.axes[1].lines]
    assert crosses == [[], [[0.25, 0.9]]]
    assert "Crosses: rejected steps." in figure.get_supxlabel()
    assert "Crosses" not in plot_step_sizes([accepted], [accepted], "digits").get_supxlabel()
    assert legend(plot_step_sizes([accepted], [[]], "a last batch that nothing was solved for")) == ["first batch"]


def test_a_history_without_epochs_or_evaluations_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no epochs"):
        plot_learning_curves([], 0, metric_specs(), "")
    with pytest.raises(InvalidInput, match=r"solver\.nfe_forward"):
        plot_function_evaluations([{"epoch": 1, "training.loss": 1.0}], "")


def test_learning_curves_have_a_panel_for_each_validation_metric_of_any_task() -> None:
    metrics = [
        MetricSpec("training.rmse", "error", "", "K"),
        MetricSpec("validation.rmse", "error", "", "K"),
        MetricSpec("test.rmse", "error", "", "K"),
    ]
    rows: list[dict[str, float]] = [{"epoch": 1, "training.rmse": 3.0, "validation.rmse": 4.0}]
    (panel,) = plot_learning_curves(rows, 1, metrics, "").axes
    assert panel.get_ylabel() == "Error (K)"
    assert [line.get_ydata().tolist() for line in panel.lines[:2]] == [[3.0], [4.0]]
