"""`odenet evaluate`: a trained network under other solvers, on other data, on a user's own images."""

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from odenet.arguments import JSON, PATH, PLUGINS, RUN_ID, count, examples
from odenet.output import finish, print_json
from pipeline.util.errors import InvalidInput
from pipeline.util.printable import inert

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.evaluate import Reevaluation

T = TypeVar("T")


def _listed(kind: Callable[[str], T], example: str) -> Callable[[str], tuple[T, ...]]:
    """Comma-separated values, as the type of a parameter."""

    def parse(text: str) -> tuple[T, ...]:
        try:
            return tuple(kind(word.strip()) for word in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a list such as {example}") from None

    return parse


NAMES, COUNTS, NUMBERS = _listed(str, "euler,rk4"), _listed(int, "1,2,4"), _listed(float, "1e-1,1e-3")


@click.command(
    short_help="A trained network under other solvers, or on other images.",
    epilog=examples(
        "odenet evaluate 3 --solver euler,rk4,dopri5 --steps 1,2,4 --tol 1e-1,1e-3",
        "odenet evaluate 3 --control sample",
        "odenet evaluate 3 --tol 1e-3,1e-5,1e-7 --limit 1000",
        "odenet evaluate 3 --predict shirt.png photos/",
    ),
)
@RUN_ID
@click.argument("more_images", type=PATH, metavar="[IMAGES]...", nargs=-1, help="after --predict IMAGES")
@click.option(
    "--solver",
    "methods",
    type=NAMES,
    metavar="LIST",
    help="methods (default euler,midpoint,rk4,dopri5; dopri5 for a density)",
)
@click.option("--steps", type=COUNTS, metavar="LIST", help="of euler, midpoint and rk4 (default 1,2,4)")
@click.option(
    "--tol",
    "tolerances",
    type=NUMBERS,
    metavar="LIST",
    help="rtol and atol of the others (default 1e-1,1e-3,1e-5; of a density 1e-3 to 1e-6)",
)
@click.option("--T", "final_times", type=NUMBERS, metavar="LIST", help="final times (default: that of the training)")
@click.option(
    "--control",
    type=click.Choice(["batch", "sample"]),
    help="whether an adaptive method chooses its steps for a batch or for every image (default: as in the training)",
)
@click.option("--data", metavar="NAME|FILE", help="the test images of another data set, file or folder")
@click.option(
    "--limit",
    type=count,
    metavar="N",
    help="so many of the test images, always the same; 0 for all (default: as many as the run was tested on)",
)
@click.option(
    "--predict",
    type=PATH,
    metavar="IMAGES...",
    multiple=True,
    help="class probabilities of your own images, as CSV: PNG or JPEG files, folders of them, or an .npz with x",
)
@PLUGINS
@JSON
def evaluate(
    run_id: int, more_images: tuple[Path, ...], predict: tuple[Path, ...], as_json: bool, **settings: Any
) -> int:
    """Put a trained network under other solvers, on other data, or on images of your own."""
    from pipeline.runs.query import Runs

    given = {name: value for name, value in settings.items() if value is not None}
    if predict and given:
        options = [option.opts[0] for option in click.get_current_context().command.params if option.name in given]
        raise InvalidInput(f"--predict answers with the solver of the training: leave out {', '.join(options)}")
    if more_images and not predict:
        raise InvalidInput(f"{more_images[0]} is one word too many: one run is evaluated, and images follow --predict")
    run = Runs().get(run_id)  # that it is not there is told before torch and its like take seconds to import
    if predict:
        _predict(run_id, predict + more_images, as_json)
        return 0
    from experiments.evaluate import reevaluate_tracked
    from pipeline.reporting.terminal import Terminal
    from pipeline.runs.stored_parts import load_plugins_of
    from pipeline.tasks.solver_grid import Grid, grid_of

    load_plugins_of(run)  # of which the task may be
    data, limit = given.pop("data", None), given.pop("limit", None)
    done = reevaluate_tracked(run_id, Grid(**{**grid_of(run.task), **given}), data, limit)
    if as_json:
        print_json(done.to_dict())
    else:
        Terminal().print(_table(done))
        for row in done.rows:
            if counts := row.nfe_per_image:
                span = f"{counts['smallest']} to {counts['largest']}"
                print(f"{row.label}: an image takes {span} evaluations, {counts['mean']:.1f} on average")
        print(f"run {done.run_id} holds this; odenet show {done.run_id}, or odenet board for the figure")
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return finish(done)


def _predict(run_id: int, paths: Sequence[Path], as_json: bool) -> None:
    from experiments.evaluate import load_trained
    from pipeline.data.image_files import read_images
    from pipeline.tasks.classification.task import class_probabilities

    run, trained, device = load_trained(run_id)
    model: Any = trained
    if run.task != "classification":
        raise InvalidInput(f"run {run_id} is of the task {run.task}, which takes no images: leave out --predict")
    shape = model.preprocessing.output_shape
    images = read_images(paths, shape)
    if images.resized:
        size = f"{shape[1]} × {shape[2]}"
        print(f"{images.resized} of {len(images.names)} images were resized to {size}", file=sys.stderr)
    probabilities = class_probabilities(model, images.pixels.to(device))
    answers = [
        {"image": name, "predicted": model.classes[row.argmax()], "probabilities": row.tolist()}
        for name, row in zip(images.names, probabilities, strict=True)
    ]
    if as_json:
        print_json({"run_id": run_id, "classes": model.classes, "images": answers})
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "predicted", *map(inert, model.classes)])
    writer.writerows(
        [inert(str(answer["image"])), inert(answer["predicted"]), *answer["probabilities"]] for answer in answers
    )


def _table(done: "Reevaluation") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from pipeline.reporting.terminal import styled
    from pipeline.reporting.text_table import shown
    from pipeline.tracking.run_document import RunInfo, test_specs

    facts = done.document["info"]["reevaluation"]
    info = RunInfo.read(done.document)
    items, things = info.sizes.get("test", (facts["images"], "items"))
    number = info.tested or f"{items:,}"
    table = Table(
        title=f"run {done.document['info']['parent']} on {number} test {things} of {facts['data']}, "
        f"batches of {facts['batch_size']}, {facts['device']}",
        caption="* as trained",
        caption_justify="left",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("setting", no_wrap=True)
    known = {name for row in done.rows for name, value in row.scores.items() if value is not None}
    specs = [spec for spec in test_specs(done.document) if spec.quantity in known]
    table.add_column("T", justify="right", no_wrap=True)
    for spec in specs:
        table.add_column(spec.heading, justify="right", overflow="fold")
    changes = any(row.changed is not None for row in done.rows)
    for heading in ("evaluations", f"ms/{things.removesuffix('s')}", *(["changed"] if changes else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in done.rows:
        setting = f"{row.label} *" if row.trained else row.label, shown(row.final_time, "g")
        if row.failure is not None:
            table.add_row(*setting, styled((row.status, "red")))
            continue
        scores = [shown(row.scores[spec.name.removeprefix("test.")], spec.format) for spec in specs]
        milliseconds = shown(row.milliseconds_per_image, ".3f")
        changed = [shown(row.changed, ".2%")] if changes else []
        table.add_row(*setting, *scores, shown(row.nfe_forward, ".1f"), milliseconds, *changed)
    return table
