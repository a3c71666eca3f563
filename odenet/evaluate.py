"""`odenet evaluate`: a trained network under other solvers, on other data, on a user's own images."""

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from odenet.arguments import JSON, PATH, PLUGINS, RUN_ID, count, examples
from odenet.output import finish, print_json
from pipeline.util.errors import InvalidInput, in_a_line
from pipeline.util.printable import inert

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.evaluate import Reevaluation
    from pipeline.reporting.metric_spec import MetricSpec
    from pipeline.runs.listing import ListColumn
    from pipeline.tasks.solver_grid import Row

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
        terminal = Terminal()
        terminal.print(_table(done, terminal.width))
        for row in done.rows:
            if counts := row.nfe_per_image:
                span = f"{counts['smallest']} to {counts['largest']}"
                print(f"{row.label}: an image takes {span} evaluations, {counts['mean']:.1f} on average")
        for row in done.rows:
            if row.failure is not None:
                print(f"{row.label} {row.status}: {row.failure}")
        has_figure = any(artifact["name"].endswith(".png") for artifact in done.document["artifacts"])
        figure = ", or odenet board for the figure" if has_figure else ""
        print(f"run {done.run_id} holds this; odenet show {done.run_id}{figure}")
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
    images = read_images(paths, shape, any_size=model.preprocessing.takes_any_size)
    if images.resized:
        size = f"{shape[1]} × {shape[2]}"
        print(f"{images.resized} of {len(images.names)} images were resized to {size}", file=sys.stderr)
    if images.notes:
        print(in_a_line(f"{paths[0]}: {'; '.join(images.notes)}"), file=sys.stderr)
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


def _table(done: "Reevaluation", width: int) -> "Table":
    """A line for each setting; in a narrow terminal the first scores are those that stay."""
    from pipeline.runs.listing import fitted_table
    from pipeline.tracking.run_document import RunInfo, test_specs

    facts = done.document["info"]["reevaluation"]
    info = RunInfo.read(done.document)
    items, things = info.sizes.get("test", (facts["images"], "items"))
    known = {name for row in done.rows for name, value in row.scores.items() if value is not None}
    specs = [spec for spec in test_specs(done.document) if spec.quantity in known]
    table = fitted_table(_columns(done.rows, specs, things.removesuffix("s")), width)
    table.title = (
        f"run {done.document['info']['parent']} on {info.tested or f'{items:,}'} test {things} of {facts['data']}, "
        f"batches of {facts['batch_size']}, {facts['device']}"
    )
    table.caption = "* as trained" if table.caption is None else f"* as trained; {table.caption}"
    table.title_justify = table.caption_justify = "left"
    return table


def _columns(rows: "Sequence[Row]", specs: "Sequence[MetricSpec]", item: str) -> "list[ListColumn]":
    """What a failed solve has not is empty."""
    from pipeline.reporting.text_table import NOTHING, shown
    from pipeline.runs.listing import UNMISSED, ListColumn

    def words(heading: str, cell: "Callable[[Row], str]") -> ListColumn:
        return ListColumn(heading, tuple(map(cell, rows)), None)

    def number(heading: str, value: "Callable[[Row], float | None]", form: str, worth: int | None) -> ListColumn:
        cells = tuple(NOTHING if row.failure is not None else shown(value(row), form) for row in rows)
        return ListColumn(heading, cells, worth, is_number=True)

    scores = [
        number(
            spec.heading,
            lambda row, name=name: row.scores[name],  # type: ignore[misc]
            spec.format,
            None if place == 0 else UNMISSED + 1 + len(specs) - place,
        )
        for place, (name, spec) in enumerate((spec.name.removeprefix("test."), spec) for spec in specs)
    ]
    timing, changed = UNMISSED + 2 + len(specs), UNMISSED + 3 + len(specs)
    return [
        words("setting", lambda row: f"{row.label} *" if row.trained else row.label),
        *([words("ended", lambda row: row.status)] if any(row.failure is not None for row in rows) else []),
        ListColumn("T", tuple(shown(row.final_time, "g") for row in rows), UNMISSED + 1, is_number=True),
        *scores,
        number("evaluations", lambda row: row.nfe_forward, ".1f", None),
        number(f"ms/{item}", lambda row: row.milliseconds_per_image, ".3f", timing),
        *(
            [number("changed", lambda row: row.changed, ".2%", changed)]
            if any(row.changed is not None for row in rows)
            else []
        ),
    ]
