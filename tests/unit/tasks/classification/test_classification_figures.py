"""The figures of a classifier as a reader finds them: what is written and coloured, and that nothing overlaps."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pipeline.reporting.figure_style import save_figure
from pipeline.tasks.classification.evaluation import Evaluation, Predictions, score
from pipeline.tasks.classification.figures import (
    plot_classification_report,
    plot_confusion_matrix,
    plot_precision_recall,
    plot_roc,
)
from pipeline.tasks.lookup import get_task
from tests.helpers.figures import legend, texts

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


def test_figures_that_are_drawn_again_state_the_loss_of_the_test() -> None:
    """Which probabilities that have underflown do not have any more."""
    task = get_task("classification")
    answers = Predictions(np.array([[1000.0, 0.0], [0.0, 1.0]], dtype=np.float32), np.array([1, 1]))
    info = {"data": {"classes": ["cat", "dog"]}, "test": {"loss": score(answers, ("cat", "dog")).loss}}
    drawn = task.stored_figures(lambda _name: answers.to_npz(), info, "title").figures["roc.png"]()
    said = " ".join(text.get_text() for text in drawn.findobj(Text))
    assert "loss 500.2 nats" in said
