"""Numbers become pictures: seaborn on figures of their own, without pyplot's global state."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, nan, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.util.array_types import FloatArray, IntArray
from pipeline.util.errors import InvalidInput
from pipeline.util.whole_file import whole_file

if TYPE_CHECKING:  # these import torch, which takes seconds and a page of stored runs does not need
    from pipeline.tasks.classification.metrics import Evaluation, Predictions
    from pipeline.tasks.classification.solver_grid import Row

PALETTE = sns.color_palette("colorblind")
INK, FAINT, UNDEFINED = "0.15", "0.6", "0.85"
DPI = 150
LONGEST_NAME = 20
"""Characters of a class name that a figure shows."""
LONGEST_NAME_OF_AN_IMAGE = 13
"""The same of one that stands above an image."""
CELLS_WITH_NUMBERS = 15
"""Classes up to which a confusion matrix has room for numbers in its cells."""
TICKS = 25
"""Class names along one side of a confusion matrix."""
ROWS_WITH_NUMBERS = 120
"""Classes up to which the classification report has a readable row for each."""
LOG_SCALE_SPAN = 100
"""Ratio of the largest to the smallest loss from which the axis is logarithmic."""
HorizontalSide = Literal["left", "center", "right"]
VerticalSide = Literal["bottom", "top"]
IMAGES_A_ROW = 8
"""Of the fewest evaluations, and of the most."""
SOLVER_MARKERS = "osD^vP"
LABEL_SIDES: tuple[tuple[tuple[int, int], HorizontalSide, VerticalSide], ...] = (
    ((0, 9), "center", "bottom"),
    ((0, -9), "center", "top"),
    ((-6, 6), "right", "bottom"),
    ((6, -6), "left", "top"),
)
"""Offset in points from a point to its label, and the label's alignment."""

ByteArray = npt.NDArray[np.uint8]
Curve = tuple[FloatArray, FloatArray, float]
"""x, y and the score that the legend shows."""


@dataclass(frozen=True, eq=False)
class RunCurve:
    """One run among others."""

    group: str
    """What the legend calls it; runs of one group have one colour."""
    history: pd.DataFrame
    """Metrics in columns, epochs as index."""
    best_epoch: int | None
    completed: bool


def plot_confusion_matrix(evaluation: "Evaluation", title: str) -> Figure:
    """Counts of true against predicted class, coloured by their share of the true class."""
    figure, (ax,) = new_figure(9, 8, title)
    _draw_confusion(ax, evaluation.confusion, evaluation.classes)
    write_caption(figure, [_summary(evaluation), *_absent_classes(evaluation, "in grey")])
    return figure


def plot_confusion_counts(counts: IntArray, classes: Sequence[str], title: str) -> Figure:
    """The same, a little smaller, of counts of shape (true class, predicted class), as those of several runs summed."""
    figure, (ax,) = new_figure(7, 6.2, title)
    _draw_confusion(ax, counts, classes)
    write_caption(figure, [f"Test images: {counts.sum():,}, right: {np.trace(counts) / counts.sum():.2%}."])
    return figure


def plot_classification_report(evaluation: "Evaluation", title: str) -> Figure:
    """Precision, recall and F1 of each class as a heat map, with its number of test images."""
    scores = evaluation.per_class
    names = _short_names(evaluation.classes)
    rows = [f"{name} ({support:,})" for name, support in zip(names, scores.support, strict=True)]
    table = pd.DataFrame({"Precision": scores.precision, "Recall": scores.recall, "F1": scores.f1}, index=rows)
    numbered = len(rows) <= ROWS_WITH_NUMBERS
    font_size, row_height = (10.0, 0.45) if len(rows) <= 20 else (7.5, 0.17)
    height = 2 + row_height * min(len(rows), ROWS_WITH_NUMBERS)

    figure, (ax,) = new_figure(9, height, title)
    sns.heatmap(
        table,
        ax=ax,
        vmin=0,
        vmax=1,
        cmap="Blues",
        annot=numbered,
        fmt=".3f",
        annot_kws={"fontsize": font_size},
        linewidths=0.5 if numbered else 0,
        yticklabels=ceil(len(rows) / ROWS_WITH_NUMBERS),
        cbar_kws={"label": "Score", "aspect": 4 * height},
    )
    ax.set_facecolor(UNDEFINED)
    ax.set_ylabel("Class (test images)")
    ax.tick_params(axis="y", rotation=0, labelsize=font_size, length=0)
    ax.tick_params(axis="x", labeltop=True, labelbottom=False, length=0)
    undefined = table.isna().to_numpy().any()
    note = ["Grey: undefined, as the class has no test images or was never predicted."] if undefined else []
    write_caption(figure, [_summary(evaluation), *note])
    return figure


def plot_precision_recall(evaluation: "Evaluation", title: str) -> Figure:
    """Precision over recall for each class and for all decisions pooled."""
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
    """True over false positive rate for each class and their mean."""
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


def plot_learning_curves(history: Sequence[Mapping[str, float]], best_epoch: int, title: str) -> Figure:
    """Loss and accuracy on training and validation images over epochs, the best epoch marked.

    Args:
        history: one row an epoch with the keys epoch, training.loss, validation.loss,
            training.accuracy and validation.accuracy; what is not finite leaves a gap and is noted.

    Raises:
        InvalidInput: a history without epochs.
    """
    columns = ["training.loss", "validation.loss", "training.accuracy", "validation.accuracy"]
    table = _history_table(history, columns)
    figure, panels = new_figure(9, 4.4, title, columns=2)
    for ax, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        _draw_epochs(ax, table, f"training.{quantity}", "training", PALETTE[0])
        _draw_epochs(ax, table, f"validation.{quantity}", "validation", PALETTE[1])
        if best_epoch in table["epoch"].to_numpy():
            ax.axvline(best_epoch, color=FAINT, linestyle="--", zorder=0, label=f"best epoch ({best_epoch})")
        _finish_epochs(ax, table)
    panels[0].set_ylabel("Loss (nats per image)")
    panels[1].set_ylabel("Accuracy")
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    losses = table[["training.loss", "validation.loss"]].to_numpy()
    losses = losses[np.isfinite(losses)]
    if losses.size and losses.max() > LOG_SCALE_SPAN * losses.min() > 0:
        panels[0].set_yscale("log")
    write_caption(figure, _gaps(table))
    return figure


def plot_function_evaluations(history: Sequence[Mapping[str, float]], title: str) -> Figure:
    """The solver's mean function evaluations per batch over epochs, forward and, where counted, backward.

    Args:
        history: one row an epoch with the keys epoch, solver.nfe_forward and, with the adjoint,
            solver.nfe_backward.

    Raises:
        InvalidInput: a history without epochs or without function evaluations.
    """
    passes = {"solver.nfe_forward": "forward pass", "solver.nfe_backward": "backward pass"}
    counted = [column for column in passes if any(row.get(column) is not None for row in history)]
    if "solver.nfe_forward" not in counted:
        raise InvalidInput("the history has no solver.nfe_forward: only ODE-Nets evaluate a function")
    table = _history_table(history, counted)
    figure, (ax,) = new_figure(9, 4.4, title)
    for column, colour in zip(counted, PALETTE, strict=False):
        _draw_epochs(ax, table, column, passes[column], colour)
    _finish_epochs(ax, table)
    ax.set_ylabel("Mean function evaluations per batch")
    ax.set_ylim(bottom=0)
    write_caption(figure, _gaps(table))
    return figure


def plot_step_sizes(
    first_solves: Sequence[Sequence[Mapping[str, Any]]],
    last_solves: Sequence[Sequence[Mapping[str, Any]]],
    title: str,
) -> Figure:
    """The solver's steps over time, of the first and the last batch of a training, a panel an ODE block.

    Args:
        first_solves, last_solves: each block's attempted steps with the keys t, dt and accepted, times in the ODE's
            own.
    """
    blocks = list(zip(first_solves, last_solves, strict=True))
    figure, axes = new_figure(9, 3.6 * len(blocks), title, rows=len(blocks))
    for number, (ax, solves) in enumerate(zip(axes, blocks, strict=True), start=1):
        for steps, label, colour in zip(solves, ("first batch", "last batch"), PALETTE, strict=False):
            _draw_steps(ax, steps, label, colour)
        if len(blocks) > 1:
            ax.set_title(f"Block {number}", loc="left")
        ax.set(xlabel="t", ylabel="Step size dt", ylim=(0, None))
        ax.legend(frameon=False)
    rejected = any(not step["accepted"] for steps in (*first_solves, *last_solves) for step in steps)
    write_caption(figure, ["A line covers the time of its step.", *["Crosses: rejected steps."] * rejected])
    return figure


def _draw_steps(ax: Axes, steps: Sequence[Mapping[str, Any]], label: str, colour: tuple[float, float, float]) -> None:
    accepted = [step for step in steps if step["accepted"]]
    rejected = [step for step in steps if not step["accepted"]]
    edges = [step["t"] for step in accepted] + [accepted[-1]["t"] + accepted[-1]["dt"]]
    ax.stairs([step["dt"] for step in accepted], edges, baseline=None, color=colour, linewidth=2, label=label)
    ax.plot([step["t"] for step in rejected], [step["dt"] for step in rejected], "x", color=colour)


def plot_solvers(rows: Sequence["Row"], images: int, title: str) -> Figure:
    """Accuracy over forward evaluations, a line a method; the setting of the training ringed, twice its error shaded.

    Args:
        rows: that of the training first, as `reevaluate` gives them; a failed one is named below.
        images: how many the accuracies are over.

    Raises:
        InvalidInput: no row with evaluations.
    """
    drawn = [row for row in rows if row.nfe_forward is not None]
    if not drawn:
        raise InvalidInput("no setting has evaluations to draw: only ODE-Nets evaluate a function")
    table = pd.DataFrame([asdict(row) | {"label": f"{row.steps or row.rtol:g}"} for row in drawn])
    several_times = table["final_time"].nunique() > 1

    figure, (ax,) = new_figure(9, 5.5, title)
    lines = table.groupby(["method", "control", "final_time"], sort=False)
    for k, ((method, control, final_time), settings) in enumerate(lines):
        name = f"{method}, by sample" if control == "sample" else str(method)
        name += f", T = {final_time:g}" if several_times else ""
        _draw_solver(ax, settings.sort_values("nfe_forward"), name, k)
    _mark_trained(ax, rows[0], images)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(xlabel="Mean forward evaluations per batch", ylabel="Accuracy on the test images")
    ax.margins(x=0.08, y=0.12)
    ax.grid(color="0.92")
    sns.despine(ax=ax)
    ax.legend(framealpha=0.9, edgecolor="none")
    write_caption(
        figure,
        [
            "At the points: steps of a fixed-step method, rtol of an adaptive one.",
            f"Grey: within twice the standard error of the accuracy as trained, test images: {images:,}.",
            *(f"Failed ({row.status}): {row.label}." for row in rows if row.nfe_forward is None),
        ],
    )
    return figure


def plot_run_curves(curves: Sequence[RunCurve], title: str) -> Figure:
    """Loss, accuracy and, of runs that have them, function evaluations of several runs over their epochs.

    Solid lines are of the validation split, dotted ones of the training split; a run that did not complete ends in
    a cross.

    Raises:
        InvalidInput: no run has an epoch to draw.
    """
    drawn = [curve for curve in curves if len(curve.history)]
    if not drawn:
        raise InvalidInput("the runs have no epochs to draw; compare runs that trained for at least one")
    panels = {"Loss (nats per image)": ("validation.loss", "training.loss")}
    panels["Accuracy"] = ("validation.accuracy", "training.accuracy")
    if any("solver.nfe_forward" in curve.history for curve in drawn):
        panels["Evaluations per batch, forward"] = ("solver.nfe_forward", "")
    groups = list(dict.fromkeys(curve.group for curve in curves))
    colours = dict(zip(groups, sns.color_palette(PALETTE, len(groups)), strict=True))
    figure, axes = new_figure(4.4 * len(panels), 4.8, title, columns=len(panels))
    for ax, (name, (solid, dotted)) in zip(axes, panels.items(), strict=True):
        for curve in drawn:
            _draw_run(ax, curve, solid, dotted, colours[curve.group])
        ax.set(xlabel="Epoch", ylabel=name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(color="0.92")
        sns.despine(ax=ax)
    axes[0].set_yscale("log")
    axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    validated = [
        curve.history["validation.accuracy"].min() for curve in drawn if "validation.accuracy" in curve.history
    ]
    if validated:  # training's first epochs, far below, would flatten what is to be compared
        axes[1].set_ylim(min(validated) - 0.02, 1.005)
    for ax in axes[2:]:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(handles=_run_legend(colours, drawn), loc="outside lower left", ncols=3, frameon=False)
    return figure


def plot_hard_images(pixels: ByteArray, predictions: "Predictions", classes: Sequence[str], title: str) -> Figure:
    """The images that took the fewest and the most evaluations, and how many took how many.

    Args:
        pixels: shape (n, channels, height, width), as they are stored.
        predictions: of the same images, with the evaluations of each.

    Raises:
        InvalidInput: predictions that do not know the evaluations of each image.
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
            ax.imshow(image, cmap="gray" if image.shape[2] == 1 else None)
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
    sns.despine(ax=ax)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    with whole_file(path, "figure") as part:
        figure.savefig(part, format="png", dpi=DPI, bbox_inches="tight")


def new_figure(width: float, height: float, title: str, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row; sizes in inches, for about 100 pixels an inch on a screen."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # seaborn measures labels while it draws
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK, parse_math=False)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def _summary(evaluation: "Evaluation") -> str:
    images = int(evaluation.per_class.support.sum())
    return f"Accuracy {evaluation.accuracy:.2%}, loss {evaluation.loss:.4g} nats, test images: {images:,}."


def _short_names(classes: Sequence[str], longest: int = LONGEST_NAME) -> list[str]:
    cut = [name if len(name) <= longest else f"{name[: longest - 1]}…" for name in classes]
    return [name.replace("$", r"\$") for name in cut]  # a pair of dollars would start mathematics


def _draw_confusion(ax: Axes, counts: IntArray, classes: Sequence[str]) -> None:
    names = _short_names(classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, nan), where=totals > 0)
    numbered = len(names) <= CELLS_WITH_NUMBERS
    step = ceil(len(names) / TICKS)
    sns.heatmap(
        pd.DataFrame(shares, index=names, columns=names),
        ax=ax,
        vmin=0,
        vmax=1,
        cmap="Blues",
        square=True,
        annot=_cell_texts(counts, shares) if numbered else None,
        fmt="",
        annot_kws={"fontsize": np.clip(90 / len(names), 7, 14)},
        linewidths=0.5 if numbered else 0,
        xticklabels=step,
        yticklabels=step,
        cbar_kws={"format": PercentFormatter(1), "label": "Share of the true class", "shrink": 0.8},
    )
    ax.set_facecolor(UNDEFINED)
    ax.set(xlabel="Predicted class", ylabel="True class")
    ax.tick_params(length=0)
    ax.tick_params(axis="y", rotation=0)
    if sum(len(name) for name in names[::step]) > 60:
        ax.set_xticks(ax.get_xticks(), names[::step], rotation=45, ha="right", rotation_mode="anchor")


def _cell_texts(counts: IntArray, shares: FloatArray) -> npt.NDArray[np.str_]:
    """Count over percentage; nothing where nothing was counted, so that confusions stand out."""
    texts = [
        f"{count:,}\n{share:.1%}" if count else "" for count, share in zip(counts.ravel(), shares.ravel(), strict=True)
    ]
    return np.array(texts).reshape(counts.shape)


def _draw_curves(ax: Axes, classes: Sequence[str], curves: Sequence[Curve | None]) -> None:
    """Each class's curve, named while there are colours enough; otherwise all faint under one name."""
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
    ax.grid(color="0.92")
    sns.despine(ax=ax)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), title=legend_title, alignment="left", frameon=False)


def _history_table(history: Sequence[Mapping[str, float]], columns: Sequence[str]) -> pd.DataFrame:
    """The epochs and those columns, a row an epoch; NaN for what is missing or not finite."""
    if not history:
        raise InvalidInput("the history has no epochs to draw; train for at least one")
    table = pd.DataFrame(list(history), columns=["epoch", *columns], dtype=float)
    return table.replace([np.inf, -np.inf], nan)


def _draw_epochs(ax: Axes, table: pd.DataFrame, column: str, label: str, colour: tuple[float, float, float]) -> None:
    ax.plot(table["epoch"], table[column], color=colour, marker="o", markersize=4, label=label)


def _finish_epochs(ax: Axes, table: pd.DataFrame) -> None:
    ax.set_xlabel("Epoch")
    ax.set_xlim(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(color="0.92")
    sns.despine(ax=ax)
    ax.legend(framealpha=0.9, edgecolor="none")


def _draw_run(ax: Axes, curve: RunCurve, solid: str, dotted: str, colour: tuple[float, float, float]) -> None:
    history = curve.history.replace([np.inf, -np.inf], nan)
    if dotted in history:
        ax.plot(history.index, history[dotted], color=colour, linewidth=1.2, linestyle=":")
    if solid not in history:
        return
    ax.plot(history.index, history[solid], color=colour, linewidth=1.5)
    best = history.loc[history.index == curve.best_epoch, solid]
    ax.plot(best.index, best, color=colour, marker="o", markersize=6)
    if not curve.completed:
        ax.plot(history.index[-1:], history[solid].iloc[-1:], color=colour, marker="X", markersize=9)


def _run_legend(colours: Mapping[str, tuple[float, float, float]], curves: Sequence[RunCurve]) -> list[Line2D]:
    entries = [Line2D([], [], color=colour, label=group, linewidth=3) for group, colour in colours.items()]
    entries.append(Line2D([], [], color=INK, label="validation"))
    entries.append(Line2D([], [], color=INK, label="training", linestyle=":"))
    entries.append(Line2D([], [], color=INK, label="best epoch", marker="o", linestyle=""))
    if not all(curve.completed for curve in curves):
        entries.append(Line2D([], [], color=INK, label="did not complete", marker="X", linestyle="", markersize=8))
    return entries


def _draw_solver(ax: Axes, settings: pd.DataFrame, name: str, k: int) -> None:
    """One method's settings, labelled at a side of its own, so that neighbours' labels stay apart."""
    colour, marker = PALETTE[k % len(PALETTE)], SOLVER_MARKERS[k % len(SOLVER_MARKERS)]
    ax.plot(settings["nfe_forward"], settings["accuracy"], color=colour, marker=marker, markersize=7, label=name)
    offset, across, up = LABEL_SIDES[k % len(LABEL_SIDES)]
    for x, y, label in zip(settings["nfe_forward"], settings["accuracy"], settings["label"], strict=True):
        ax.annotate(
            label,
            (x, y),
            xytext=offset,
            textcoords="offset points",
            ha=across,
            va=up,
            fontsize=8,
            color=colour,
        )


def _mark_trained(ax: Axes, trained: "Row", images: int) -> None:
    if trained.nfe_forward is None or trained.accuracy is None:
        return
    error = sqrt(trained.accuracy * (1 - trained.accuracy) / images)
    ax.axhspan(trained.accuracy - 2 * error, trained.accuracy + 2 * error, color="0.93", zorder=0)
    ax.scatter(
        [trained.nfe_forward],
        [trained.accuracy],
        s=220,
        facecolors="none",
        edgecolors=INK,
        linewidths=1.5,
        zorder=3,
        label=f"as trained: {trained.label}",
    )


def _gaps(table: pd.DataFrame) -> list[str]:
    epochs = table.loc[table.isna().any(axis=1), "epoch"].astype(int)
    if len(epochs) == 0:
        return []
    if len(epochs) == 1:
        return [f"Not finite in epoch {epochs.iloc[0]}."]
    return [f"Not finite in {len(epochs)} epochs, first in epoch {epochs.iloc[0]}."]


def _absent_classes(evaluation: "Evaluation", shown: str) -> list[str]:
    names = _short_names(evaluation.classes)
    absent = [name for name, n in zip(names, evaluation.per_class.support, strict=True) if n == 0]
    if not absent:
        return []
    if len(absent) > 3:
        return [f"{len(absent)} classes have no test images ({shown})."]
    return [f"No test images ({shown}): {', '.join(absent)}."]


def write_caption(figure: Figure, sentences: Sequence[str]) -> None:
    if sentences:
        figure.supxlabel("\n".join(sentences), x=0.01, ha="left", fontsize=9, color="0.35")
