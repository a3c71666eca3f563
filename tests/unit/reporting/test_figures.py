"""The figures as a reader finds them: what is written, coloured and marked, and that nothing overlaps."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import inf, nan
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pipeline.reporting.figures import (
    plot_classification_report,
    plot_confusion_matrix,
    plot_function_evaluations,
    plot_learning_curves,
    plot_precision_recall,
    plot_roc,
    plot_step_sizes,
    save_figure,
)
from pipeline.tasks.classification.metrics import Evaluation, Predictions, score
from pipeline.util.errors import InvalidInput, OdenetError

pytestmark = pytest.mark.filterwarnings("error")

Plot = Callable[[Evaluation, str], Figure]
PLOTS = [plot_confusion_matrix, plot_classification_report, plot_precision_recall, plot_roc]
DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def digits() -> Evaluation:
    """A regression on scikit-learn's digits, scored on images that it has not seen."""
    images, labels = load_digits(return_X_y=True)
    regression = LogisticRegression(max_iter=1000).fit(images[:1000] / 16, labels[:1000])
    logits = regression.decision_function(images[1000:] / 16).astype(np.float32)
    return score(Predictions(logits, labels[1000:]), DIGITS)


@pytest.fixture(scope="module")
def hundred() -> Evaluation:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 10)
    logits = generator.normal(size=(1000, 100)).astype(np.float32)
    logits[np.arange(1000), labels] += 2
    return score(Predictions(logits, labels), tuple(f"a_rather_long_class_name_{k}" for k in range(100)))


@pytest.fixture(scope="module")
def lopsided() -> Evaluation:
    """Three cats, one of them taken for a dog; one dog; no eel."""
    logits = np.array([[2, 0, 0], [2, 0, 0], [0, 2, 0], [0, 2, 0]], dtype=np.float32)
    return score(Predictions(logits, np.array([0, 0, 0, 1])), ("cat", "dog", "eel"))


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


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def legend(figure: Figure) -> list[str]:
    shown = figure.axes[0].get_legend()
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


def assert_apart(labels: list[Text], figure: Figure) -> None:
    """No label covers any of the next one."""
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels if label.get_text()]
    assert not any(box.overlaps(following) for box, following in pairwise(boxes))


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("example", ["digits", "hundred", "lopsided"])
def test_every_figure_is_a_picture_of_dashboard_width_with_its_title(
    plot: Plot, example: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    figure = plot(request.getfixturevalue(example), "odenet_simple on digits")
    assert "odenet_simple on digits" in texts(figure)
    save_figure(figure, tmp_path / "figure.png")
    height, width, _ = imread(tmp_path / "figure.png").shape
    assert 1250 < width < 1450
    assert 300 < height < 5000


def test_cells_of_the_confusion_matrix_tell_count_and_share_of_the_row(lopsided: Evaluation) -> None:
    figure = plot_confusion_matrix(lopsided, "")
    assert {"2\n66.7%", "1\n33.3%", "1\n100.0%"} <= set(texts(figure))
    shares = figure.axes[0].collections[0].get_array()
    np.testing.assert_allclose(shares[:2], [[2 / 3, 1 / 3, 0], [0, 1, 0]])
    assert shares[2].mask.all()
    assert (figure.axes[0].get_ylabel(), figure.axes[0].get_xlabel()) == ("True class", "Predicted class")


def test_classes_without_test_images_are_named_below_the_figure(lopsided: Evaluation) -> None:
    assert any("No test images (in grey): eel." in text for text in texts(plot_confusion_matrix(lopsided, "")))
    assert any("Grey: undefined" in text for text in texts(plot_classification_report(lopsided, "")))
    for plot in (plot_precision_recall, plot_roc):
        figure = plot(lopsided, "")
        assert any("No test images (without a curve): eel." in text for text in texts(figure))
        assert not any("eel" in entry for entry in legend(figure))


def test_the_report_has_a_row_for_each_class_with_its_scores_and_images(lopsided: Evaluation) -> None:
    figure = plot_classification_report(lopsided, "")
    assert {"cat (3)", "dog (1)", "eel (0)", "1.000", "0.667", "0.500"} <= set(texts(figure))


def test_curves_carry_the_scores_of_their_classes_and_the_mean(digits: Evaluation) -> None:
    seven = digits.precision_recall.per_class[7]
    assert seven is not None
    assert f"{seven.average_precision:.3f}  7" in legend(plot_precision_recall(digits, ""))
    area = digits.roc.macro
    assert area is not None
    assert f"{area.area:.3f}  mean of classes" in legend(plot_roc(digits, ""))


def test_a_hundred_classes_have_no_numbers_in_the_matrix_and_a_short_legend(hundred: Evaluation) -> None:
    figure = plot_confusion_matrix(hundred, "")
    assert not any("%" in text for text in texts(figure) if "\n" in text)
    assert len(figure.axes[0].get_yticklabels()) == 25
    assert len(legend(plot_precision_recall(hundred, ""))) == 3
    assert len(legend(plot_roc(hundred, ""))) == 3


@pytest.mark.parametrize("plot", [plot_confusion_matrix, plot_classification_report])
@pytest.mark.parametrize("example", ["digits", "hundred", "lopsided"])
def test_class_names_do_not_run_into_each_other(plot: Plot, example: str, request: pytest.FixtureRequest) -> None:
    figure = plot(request.getfixturevalue(example), "")
    assert_apart(figure.axes[0].get_yticklabels(), figure)
    across = figure.axes[0].get_xticklabels()
    if across[0].get_rotation() == 0:  # boxes of slanted names overlap where the names do not
        assert_apart(across, figure)


def test_dollar_signs_in_names_are_not_read_as_mathematics(tmp_path: Path) -> None:
    logits = np.array([[2, 0], [0, 2]], dtype=np.float32)
    prices = score(Predictions(logits, np.array([0, 1])), ("$1^{", "$5$_"))
    for plot in PLOTS:
        save_figure(plot(prices, r"from $\nothing$"), tmp_path / "figure.png")


def test_learning_curves_show_both_splits_and_mark_the_best_epoch() -> None:
    figure = plot_learning_curves(history(6), best_epoch=4, title="digits")
    assert [ax.get_ylabel() for ax in figure.axes] == ["Loss (nats per image)", "Accuracy"]
    assert legend(figure) == ["training", "validation", "best epoch (4)"]
    training, validation, best = figure.axes[0].lines
    assert training.get_ydata().tolist() == pytest.approx([2 / epoch for epoch in range(1, 7)])
    assert validation.get_ydata().tolist() == pytest.approx([2.2 / epoch for epoch in range(1, 7)])
    assert set(best.get_xdata()) == {4}


def test_an_epoch_that_diverged_leaves_a_gap_and_is_named(tmp_path: Path) -> None:
    rows = history(6)
    rows[2] |= {"training.loss": nan, "validation.loss": inf}
    figure = plot_learning_curves(rows, best_epoch=2, title="digits")
    for line in figure.axes[0].lines[:2]:
        assert np.isnan(line.get_ydata()).tolist() == [False, False, True, False, False, False]
    assert "Not finite in epoch 3." in texts(figure)
    save_figure(figure, tmp_path / "figure.png")


def test_one_huge_loss_does_not_flatten_the_others() -> None:
    rows = history(6)
    assert plot_learning_curves(rows, best_epoch=6, title="").axes[0].get_yscale() == "linear"
    rows[2]["training.loss"] = 1e6
    assert plot_learning_curves(rows, best_epoch=6, title="").axes[0].get_yscale() == "log"


def test_a_history_without_a_finite_value_is_drawn_without_a_best_epoch(tmp_path: Path) -> None:
    rows = [{**history(1)[0], "training.loss": nan, "validation.loss": nan}]
    figure = plot_learning_curves(rows, best_epoch=0, title="digits")
    assert legend(figure) == ["training", "validation"]
    save_figure(figure, tmp_path / "figure.png")


def test_a_single_epoch_has_a_single_whole_tick() -> None:
    for figure in (plot_learning_curves(history(1), 1, "digits"), plot_function_evaluations(history(1), "digits")):
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


def test_a_history_without_epochs_or_evaluations_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no epochs"):
        plot_learning_curves([], best_epoch=0, title="")
    with pytest.raises(InvalidInput, match=r"solver\.nfe_forward"):
        plot_function_evaluations([{"epoch": 1, "training.loss": 1.0}], "")


def test_drawing_in_threads_gives_the_same_pictures_and_leaves_pyplot_empty(digits: Evaluation, tmp_path: Path) -> None:
    def draw(name: str) -> bytes:
        path = tmp_path / name
        save_figure(plot_roc(digits, "digits"), path)
        return path.read_bytes()

    alone = draw("alone.png")
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(draw, [f"{k}.png" for k in range(4)]))
    assert together == [alone] * 4
    assert plt.get_fignums() == []


def test_a_figure_that_cannot_be_written_leaves_nothing_and_is_told_in_a_sentence(tmp_path: Path) -> None:
    figure = plot_function_evaluations(history(2), "digits")
    (tmp_path / "taken.png").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "taken.png", tmp_path / "missing" / "a.png", tmp_path / "file" / "a.png"):
        with pytest.raises(OdenetError, match="cannot write the figure") as raised:
            save_figure(figure, path)
        assert str(path) in str(raised.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "taken.png"]
