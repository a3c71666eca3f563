"""`odenet predict`: what a trained model of series says of a user's own."""

import csv
import sys
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from odenet.arguments import JSON, PATH, PLUGINS, RUN_ID, examples
from odenet.output import print_json
from pipeline.util.errors import InvalidInput
from pipeline.util.printable import inert

if TYPE_CHECKING:
    from pipeline.tasks.series.forecast import Forecast

MOST_TIMES = 100_000


def _times(_: click.Context, __: click.Parameter, text: str) -> list[float]:
    """`start:stop:step`, the stop included, or times with commas between them."""
    try:
        if ":" not in text:
            found = [float(word) for word in text.split(",")]
        else:
            start, stop, step = map(Decimal, text.split(":"))  # whose sums and products are those that one expects
            count = (stop - start) / step
            if count >= MOST_TIMES:
                raise click.BadParameter(f"{text!r} names more than {MOST_TIMES:,} times: take a longer step")
            if not count >= 0:
                raise ValueError
            found = [float(start + k * step) for k in range(int(count + Decimal("1e-9")) + 1)]
            if len(set(found)) < len(found):
                raise click.BadParameter(f"{text!r} names times that are too near to be told apart: take a longer step")
        if not all(map(isfinite, found)):
            raise ValueError
    except (ValueError, ArithmeticError):
        raise click.BadParameter(f"{text!r} names no times; write them as 0:10:0.1, or as 0,2.5,10") from None
    return found


@click.command(
    short_help="Means and bands of a trained model of series.",
    epilog=examples("odenet predict 3 --series mine.csv --times 0:10:0.1"),
)
@RUN_ID
@click.option("--series", "file", type=PATH, required=True, metavar="FILE", help="a .csv, .parquet or .npz of series")
@click.option("--times", callback=_times, required=True, metavar="FROM:TO:STEP", help="for all series, or T,T,…")
@PLUGINS
@JSON
def predict(run_id: int, file: Path, times: list[float], as_json: bool) -> None:
    """Means and bands of the observations of your own series at any times, as CSV, in the unit of the data."""
    from pipeline.runs.query import Runs

    run = Runs().get(run_id)
    if run.task != "series":
        raise InvalidInput(
            f"run {run_id} is of the task {run.task}, which knows no series: name one of a model of series"
        )
    from pipeline.data.long_format import read_long_format

    found = read_long_format(file, may_lack_channels=True)
    import numpy as np

    from experiments.evaluate import load_trained
    from pipeline.tasks.series.forecast import forecast

    _, trained, device = load_trained(run_id)
    model: Any = trained
    said = forecast(model, found, np.array(times), device)
    if as_json:
        rows = [dict(zip(_header(model.channels), row, strict=True)) for row in _rows(said)]
        print_json({"run_id": run_id, "rows": rows})
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(inert, _header(model.channels)))
    writer.writerows([inert(name), *numbers] for name, *numbers in _rows(said))


def _header(channels: tuple[str, ...]) -> list[str]:
    kinds = ("mean", "lower 50 %", "upper 50 %", "lower 90 %", "upper 90 %")
    return ["series", "time", *(f"{channel} {kind}" for channel in channels for kind in kinds)]


def _rows(said: "list[Forecast]") -> Iterator[list[Any]]:
    for one in said:
        for k, time in enumerate(one.times):
            numbers = [
                float(column[k, channel])
                for channel in range(one.mean.shape[1])
                for column in (one.mean, *(end for band in one.bands.values() for end in band))
            ]
            yield [one.name, float(time), *numbers]
