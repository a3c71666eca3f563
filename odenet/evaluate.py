"""`odenet evaluate`: a trained network under other solvers, on other data, on a user's own images."""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from odenet.arguments import add_command
from odenet.output import INTERRUPTED, fail, print_json
from pipeline.util.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.evaluate import Reevaluation
    from pipeline.tasks.classification.solver_grid import Row

T = TypeVar("T")
GRID_OPTIONS = ("solver", "steps", "tol", "T", "control", "data")


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "a trained network under other solvers, on other data, or on images of your own"
    command = add_command(commands, "evaluate", evaluate, text)
    command.add_argument("run_id", type=int, metavar="ID", help="the run that trained it")
    command.add_argument("--solver", type=_listed(str), help="(default euler,midpoint,rk4,dopri5)")
    command.add_argument("--steps", type=_listed(int), help="of euler, midpoint and rk4 (default 1,2,4)")
    command.add_argument("--tol", type=_listed(float), help="rtol and atol of the others (default 1e-1,1e-3,1e-5)")
    command.add_argument("--T", type=_listed(float), help="final times (default: that of the training)")
    text = "whether an adaptive method chooses its steps for a batch or for every image (default: as in the training)"
    command.add_argument("--control", choices=("batch", "sample"), help=text)
    command.add_argument("--data", metavar="NAME|FILE", help="the test images of another data set or .npz")
    command.add_argument(
        "--predict",
        type=Path,
        nargs="+",
        metavar="IMAGES",
        help="class probabilities of your own images, as CSV: PNG files, folders of them, or an .npz with x",
    )


def evaluate(arguments: argparse.Namespace) -> int:
    from pipeline.runs.query import Runs

    Runs().get(arguments.run_id)  # that it is not there is told before torch and its like take seconds to import
    if arguments.predict:
        return _predict(arguments)
    from rich.console import Console

    from experiments.evaluate import reevaluate_tracked
    from pipeline.tasks.classification.solver_grid import Grid

    chosen = {
        "methods": arguments.solver,
        "steps": arguments.steps,
        "tolerances": arguments.tol,
        "final_times": arguments.T,
        "control": arguments.control,
    }
    grid = Grid(**{name: values for name, values in chosen.items() if values is not None})
    done = reevaluate_tracked(arguments.run_id, grid, arguments.data)
    if arguments.json:
        print_json(done.to_dict())
    else:
        Console().print(_table(done))
        for row in done.rows:
            if counts := row.nfe_per_image:
                span = f"{counts['smallest']} to {counts['largest']}"
                print(f"{row.label}: an image takes {span} evaluations, {counts['mean']:.1f} on average")
        print(f"run {done.run_id} holds this; odenet show {done.run_id}, or odenet board for the figure")
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if done.error is None:
        return 0
    return fail(f"run {done.run_id} {done.status}: {done.error}", INTERRUPTED if done.status == "INTERRUPTED" else 1)


def _predict(arguments: argparse.Namespace) -> int:
    from experiments.evaluate import load_trained
    from pipeline.data.image_files import read_images
    from pipeline.tasks.classification.solver_grid import class_probabilities

    given = [f"--{name}" for name in GRID_OPTIONS if getattr(arguments, name) is not None]
    if given:
        raise InvalidInput(f"--predict answers with the solver of the training: leave out {', '.join(given)}")
    _, model, device = load_trained(arguments.run_id)
    shape = model.preprocessing.output_shape
    images = read_images(arguments.predict, shape)
    if images.resized:
        size = f"{shape[1]} × {shape[2]}"
        print(f"{images.resized} of {len(images.names)} images were resized to {size}", file=sys.stderr)
    probabilities = class_probabilities(model, images.pixels.to(device))
    answers = [
        {"image": name, "predicted": model.classes[row.argmax()], "probabilities": row.tolist()}
        for name, row in zip(images.names, probabilities, strict=True)
    ]
    if arguments.json:
        print_json({"run_id": arguments.run_id, "classes": model.classes, "images": answers})
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "predicted", *model.classes])
    writer.writerows([answer["image"], answer["predicted"], *answer["probabilities"]] for answer in answers)
    return 0


def _listed(kind: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Comma-separated values."""

    def parse(text: str) -> tuple[T, ...]:
        try:
            return tuple(kind(word.strip()) for word in text.split(","))
        except ValueError:
            example = "1,2,4" if kind is int else "1e-1,1e-3"
            raise argparse.ArgumentTypeError(f"{text!r} is not a list such as {example}") from None

    return parse


def _table(done: "Reevaluation") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    facts = done.document["info"]["reevaluation"]
    table = Table(
        title=f"run {done.document['info']['parent']} on {facts['images']:,} test images of {facts['data']}, "
        f"batches of {facts['batch_size']}, {facts['device']}",
        caption="* as trained",
        caption_justify="left",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
    )
    table.add_column("setting")
    for heading in ("T", "accuracy", "loss", "evaluations", "ms/image", "changed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in done.rows:
        if row.failure is not None:
            table.add_row(_setting(row), _number(row.final_time, "g"), f"[red]{row.status}[/]")
            continue
        table.add_row(
            _setting(row),
            _number(row.final_time, "g"),
            _number(row.accuracy, ".2%"),
            _number(row.loss, ".4f"),
            _number(row.nfe_forward, ".1f"),
            _number(row.milliseconds_per_image, ".3f"),
            _number(row.changed, ".2%"),
        )
    return table


def _setting(row: "Row") -> str:
    return f"{row.label} *" if row.trained else row.label


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
