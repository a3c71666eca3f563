"""The figures of a classifier's answers to the test images."""

from collections.abc import Sequence
from math import ceil, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.reporting.figure_style import FAINT, INK, PALETTE, add_grid, despine, new_figure, write_caption
from pipeline.util.array_types import FloatArray, IntArray
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:  # imports torch, which takes seconds and a comparison of stored runs does not need
    from pipeline.tasks.classification.evaluation import Evaluation, Predictions

UNDEFINED = "0.85"
"""The grey of a heat map's cells without a value."""
LONGEST_NAME = 20
"""Characters of a class name that a figure shows."""
LONGEST_NAME_OF_AN_IMAGE = 13
"""Characters of a class name above an image."""
CELLS_WITH_NUMBERS = 15
"""A confusion matrix of more classes than this has no room for numbers in its cells."""
TICKS = 25
"""Class names along one side of a confusion matrix."""
ROWS_WITH_NUMBERS = 120
"""A classification report of more classes than this has no readable row for each."""
IMAGES_A_ROW = 8
"""Images in a row of the figure of hard images."""

ByteArray = npt.NDArray[np.uint8]
Curve = tuple[FloatArray, FloatArray, float]
"""x, y and the score that the legend shows."""


def plot_confusion_matrix(evaluation: "Evaluation", title: str) -> Figure:
    """The number of test images by true and predicted class, coloured by their share of the true class."""
    figure, (ax,) = new_figure(9, 8, title)
    _draw_confusion(ax, evaluation.confusion, evaluation.classes)
    write_caption(figure, [_summary(evaluation), *_absent_classes(evaluation, "in grey")])
    return figure


def plot_confusion_counts(counts: IntArray, classes: Sequence[str], title: str) -> Figure:
    """A smaller confusion matrix of counts alone, such as the sum of several runs.

    Args:
        counts: shape (true class, predicted class).
    """
    figure, (ax,) = new_figure(7, 6.2, title)
    _draw_confusion(ax, counts, classes)
    write_caption(figure, [f"Test images: {counts.sum():,}, right: {np.trace(counts) / counts.sum():.2%}."])
    return figure


def plot_classification_report(evaluation: "Evaluation", title: str) -> Figure:
    """A heat map of the precision, recall and F1 of each class, with its number of test images."""
    scores = evaluation.per_class
    names = _short_names(evaluation.classes)
    rows = [f"{name} ({support:,})" for name, support in zip(names, scores.support, strict=True)]
    table = pd.DataFrame({"Precision": scores.precision, "Recall": scores.recall, "F1": scores.f1}, index=rows)
    return _draw_report(table, title, [_summary(evaluation)])


def plot_report_of_counts(counts: IntArray, classes: Sequence[str], title: str) -> Figure:
    """The same of counts of test images, shape (true class, predicted class), as of several runs summed."""
    right, of_class, predicted = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        precision, recall = right / predicted, right / of_class
        f1 = 2 * right / (of_class + predicted)
    rows = [f"{name} ({support:,})" for name, support in zip(_short_names(classes), of_class, strict=True)]
    table = pd.DataFrame({"Precision": precision, "Recall": recall, "F1": f1}, index=rows)
    return _draw_report(table, title, [])


def _draw_report(table: pd.DataFrame, title: str, captions: Sequence[str]) -> Figure:
    rows = table.index
    numbered = len(rows) <= ROWS_WITH_NUMBERS
    font_size, row_height = (10.0, 0.45) if len(rows) <= 20 else (7.5, 0.17)
    height = 2 + row_height * min(len(rows), ROWS_WITH_NUMBERS)

    figure, (ax,) = new_figure(9, height, title)
    _draw_heat_map(
        ax,
        table,
        annot=numbered,
        fmt=".3f",
        annot_kws={"fontsize": font_size},
        linewidths=0.5 if numbered else 0,
        yticklabels=ceil(len(rows) / ROWS_WITH_NUMBERS),
        cbar_kws={"label": "Score", "aspect": 4 * height},
    )
    ax.set_ylabel("Class (test images)")
    ax.tick_params(axis="y", rotation=0, labelsize=font_size, length=0)
    ax.tick_params(axis="x", labeltop=True, labelbottom=False, length=0)
    undefined = table.isna().to_numpy().any()
    note = ["Grey: undefined, as the class has no test images or was never predicted."] if undefined else []
    write_caption(figure, [*captions, *note])
    return figure


def plot_precision_recall(evaluation: "Evaluation", title: str) -> Figure:
    """Precision over recall for each class, and micro-averaged over all classes."""
    curves = evaluation.precision_recall
    micro = curves.micro
    figure, (ax,) = new_figure(9, 6, title)
    _draw_curves(
        ax,
        evaluation.classes,
        [(c.recall, c.precision, c.average_precision) if c else None for c in curves.per_class],
    )
    _draw_mean(ax, "all decisions pooled", (micro.recall, micro.precision, micro.average_precision))
    ax.plot([], [], " ", label=f"{curves.macro_average_precision:.3f}  mean of classes")
    _finish_curves(ax, "Average precision")
    ax.set(xlabel="Recall", ylabel="Precision")
    write_caption(figure, [_summary(evaluation), *_absent_classes(evaluation, "without a curve")])
    return figure


def plot_roc(evaluation: "Evaluation", title: str) -> Figure:
    """The ROC curve of each class and their mean."""
    curves = evaluation.roc
    macro = curves.macro
    figure, (ax,) = new_figure(9, 6, title)
    _draw_curves(
        ax,
        evaluation.classes,
        [(c.false_positive_rate, c.true_positive_rate, c.area) if c else None for c in curves.per_class],
    )
    if macro is not None:
        _draw_mean(ax, "mean of classes", (macro.false_positive_rate, macro.true_positive_rate, macro.area))
    ax.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="0.500  chance")
    _finish_curves(ax, "Area under the curve")
    ax.set(xlabel="False positive rate", ylabel="True positive rate")
    write_caption(figure, [_summary(evaluation), *_absent_classes(evaluation, "without a curve")])
    return figure


def plot_hard_images(pixels: ByteArray, predictions: "Predictions", classes: Sequence[str], title: str) -> Figure:
    """The images that took the fewest and the most function evaluations, and a histogram of the evaluations.

    Args:
        pixels: shape (n, channels, height, width), from 0 to 255.
        predictions: of the same images, with `nfe_per_image`.

    Raises:
        InvalidInput: the predictions have no `nfe_per_image`.
    """
    counts, labels = np.array(predictions.nfe_per_image), predictions.labels
    if counts.size == 0:
        raise InvalidInput("the images' evaluations are not known: solve with solver.control=sample")
    predicted, names = predictions.logits.argmax(axis=1), _short_names(classes, LONGEST_NAME_OF_AN_IMAGE)
    right = predicted == labels
    figure, (whole,) = new_figure(9, 5.6, title)
    whole.remove()
    grid = figure.add_gridspec(3, IMAGES_A_ROW)
    _draw_counts(figure.add_subplot(grid[0, :]), counts)
    for row, order in ((1, counts.argsort(kind="stable")), (2, (-counts).argsort(kind="stable"))):
        for column, k in enumerate(order[:IMAGES_A_ROW]):
            ax = figure.add_subplot(grid[row, column])
            ax.axis("off")
            image = pixels[k].transpose(1, 2, 0)  # (height, width, channels)
            ax.imshow(image, cmap="gray" if image.shape[2] == 1 else None, vmin=0, vmax=255)
            name = names[labels[k]] if right[k] else f"{names[labels[k]]}\n→ {names[predicted[k]]}"
            ax.set_title(f"{counts[k]}\n{name}", fontsize=8, color=INK if right[k] else PALETTE[3])
    write_caption(
        figure,
        [
            f"Images: {len(counts):,}, evaluations of an image: {counts.mean():.1f} on average, {counts.min()} to "
            f"{counts.max()}.",
            "Above those with the fewest, below those with the most, and their class"
            + ("." if right.all() else "; behind an arrow the other that one is taken for."),
        ],
    )
    return figure


def _draw_counts(ax: Axes, counts: IntArray) -> None:
    values, images = np.unique(counts, return_counts=True)
    bars = ax.bar(values, images, width=0.5 * np.diff(values, append=values[-1] + 2).min(), color=PALETTE[0])
    ax.set(xlabel="Evaluations of an image", ylabel="Images")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(values) <= CELLS_WITH_NUMBERS:
        ax.set_xticks(values)
        ax.bar_label(bars, fmt="{:,.0f}", fontsize=9)
        ax.margins(y=0.2)
    despine(ax)


def _summary(evaluation: "Evaluation") -> str:
    images = int(evaluation.per_class.support.sum())
    return f"Accuracy {evaluation.accuracy:.2%}, loss {evaluation.loss:.4g} nats, test images: {images:,}."


def _short_names(classes: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    return [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in classes]


def _draw_confusion(ax: Axes, counts: IntArray, classes: Sequence[str]) -> None:
    names = _short_names(classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, nan), where=totals > 0)
    numbered = len(names) <= CELLS_WITH_NUMBERS
    step = ceil(len(names) / TICKS)
    _draw_heat_map(
        ax,
        pd.DataFrame(shares, index=names, columns=names),
        square=True,
        annot=_cell_texts(counts, shares) if numbered else None,
        fmt="",
        annot_kws={"fontsize": np.clip(90 / len(names), 7, 14)},
        linewidths=0.5 if numbered else 0,
        xticklabels=step,
        yticklabels=step,
        cbar_kws={"format": PercentFormatter(1), "label": "Share of the true class", "shrink": 0.8},
    )
    ax.set(xlabel="Predicted class", ylabel="True class")
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)
    if sum(len(name) for name in names[::step]) > 60:
        ax.set_xticks(ax.get_xticks(), names[::step], rotation=45, ha="right", rotation_mode="anchor")


def _draw_heat_map(ax: Axes, shares: pd.DataFrame, **look: Any) -> None:
    """Of numbers from 0 to 1; cells without one are grey."""
    import seaborn as sns  # which other figures do not wait for

    sns.heatmap(shares, ax=ax, vmin=0, vmax=1, cmap="Blues", **look)
    ax.set_facecolor(UNDEFINED)


def _cell_texts(counts: IntArray, shares: FloatArray) -> npt.NDArray[np.str_]:
    """Count and percentage of each cell; empty for a count of zero, so that confusions stand out."""
    texts = [
        f"{count:,}\n{share:.1%}" if count else "" for count, share in zip(counts.ravel(), shares.ravel(), strict=True)
    ]
    return np.array(texts).reshape(counts.shape)


def _draw_curves(ax: Axes, classes: Sequence[str], curves: Sequence[Curve | None]) -> None:
    """A curve for each class, in a colour of its own if the palette is large enough, else all in a faint one."""
    if len(curves) <= len(PALETTE):
        for k, (name, curve) in enumerate(zip(_short_names(classes), curves, strict=True)):
            if curve is not None:
                x, y, value = curve
                style = "-" if k % 2 == 0 else (0, (4, 1.5))
                ax.plot(x, y, color=PALETTE[k], linestyle=style, label=f"{value:.3f}  {name}")
        return
    drawn = [curve for curve in curves if curve is not None]
    for x, y, _ in drawn:
        ax.plot(x, y, color=PALETTE[0], linewidth=0.7, alpha=0.3)
    values = [value for _, _, value in drawn]
    if values:
        label = f"{min(values):.3f} to {max(values):.3f}  {len(values)} classes"
        ax.plot([], [], color=PALETTE[0], linewidth=0.7, label=label)


def _draw_mean(ax: Axes, name: str, curve: Curve) -> None:
    x, y, value = curve
    ax.plot(x, y, color=INK, linewidth=3, label=f"{value:.3f}  {name}")


def _finish_curves(ax: Axes, legend_title: str) -> None:
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    add_grid(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), title=legend_title, alignment="left", frameon=False)


def _absent_classes(evaluation: "Evaluation", shown: str) -> list[str]:
    names = _short_names(evaluation.classes)
    absent = [name for name, n in zip(names, evaluation.per_class.support, strict=True) if n == 0]
    if not absent:
        return []
    if len(absent) > 3:
        return [f"{len(absent)} classes have no test images ({shown})."]
    return [f"No test images ({shown}): {', '.join(absent)}."]
