"""`odenet run` and `odenet describe`."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from experiments.presets import resolve
from odenet.arguments import JSON, PLUGINS, WORKERS, ConfigurationCommand, examples, overrides_argument, seeds_of
from odenet.output import Printed, answer, finish_run, finish_runs
from pipeline.config.config import OPTIONS
from pipeline.config.overrides import parse_with
from pipeline.util.errors import InvalidInput
from pipeline.util.nested import flatten
from pipeline.util.torchrun import is_under_torchrun, torchrun_rank, workers_asked

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.config.presets import Resolved

WORDS = overrides_argument("named configurations and key=value")


@click.command(
    cls=ConfigurationCommand,
    epilog=examples(
        "odenet run with odenet_simple digits seed=1",
        "odenet run with resnet_small fashion_mnist data.subset=10000 training.lr=5e-4",
        'odenet run --name "wide field" --tag paper with odenet_simple digits model.channels=96',
        "odenet run --seeds 0,1,2 with odenet_simple digits",
        "odenet run --workers 4 with odenet_simple cifar10 training.batch_size=512",
    ),
)
@WORDS
@PLUGINS
@click.option("--name", metavar="TEXT", help="of the run, in lists and in Omniboard")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="of the run; may be repeated")
@click.option("--note", metavar="TEXT", help="of the run")
@click.option("--seeds", type=seeds_of, metavar="LIST", help="as 0,1,2: a run with each, and the mean of them")
@WORKERS
@JSON
def run(
    overrides: tuple[str, ...],
    name: str | None,
    tags: tuple[str, ...],
    note: str | None,
    seeds: tuple[int, ...] | None,
    workers: int | None,
    as_json: bool,
) -> int:
    """Train and evaluate, tracked."""
    if torchrun_rank():
        from experiments.worker import follow_torchrun

        return follow_torchrun()
    size = workers_asked(workers)
    names, updates = parse_with(overrides)
    resolved = resolve(names, updates)  # what is wrong is told before torch and its like take seconds to import
    from pipeline.runs.annotations import annotations

    marks = annotations(name, tags, note)
    if seeds is not None and is_under_torchrun():
        raise InvalidInput("--seeds are several runs, and torchrun is for one: start it once for each seed")
    if seeds is not None and "seed" in updates:
        raise InvalidInput(f"--seeds and seed={updates['seed']} both say which: leave one out")
    from experiments.prepare import prepare
    from experiments.tracked import run_tracked

    if seeds is None:
        prepared = prepare(resolved.task, resolved.config, workers=size)
        return finish_run(run_tracked(prepared, names, changed=updates, annotations=marks), as_json)
    outcomes = []
    for seed in seeds:
        prepared = prepare(resolved.task, replace(resolved.config, seed=seed), workers=size)
        outcomes.append(run_tracked(prepared, names, changed={**updates, "seed": seed}, annotations=marks))
        if outcomes[-1].status == "INTERRUPTED":  # whoever ends one has no wish for the others
            break
    return finish_runs(outcomes, as_json)


@click.command(cls=ConfigurationCommand, epilog=examples("odenet describe with odenet_simple fashion_mnist"))
@WORDS
@PLUGINS
@JSON
def describe(overrides: tuple[str, ...], as_json: bool) -> None:
    """Parameters of a model; for images its layers, too."""
    resolved = resolve(*parse_with(overrides))
    document, printed = _network(resolved.config) if resolved.task == "classification" else _facts(resolved)
    options = _options(resolved.config)
    answer(as_json, document | {"options": options}, printed)
    if options and not as_json:
        print("options:", ", ".join(f"{key}={value!r}" for key, value in options.items()))


def _network(config: Any) -> tuple[dict[str, Any], Printed]:
    """The layers of an image classifier, as a document and printed."""
    from pipeline.data.shapes import network_input
    from pipeline.models.describe import describe as describe_model
    from pipeline.runs.tables import print_description

    description = describe_model(config.model, *network_input(config.data))
    return description.to_dict(), partial(print_description, description)


def _facts(resolved: "Resolved") -> tuple[dict[str, Any], Printed]:
    """What a task records of its data and its model before it trains, likewise."""
    from experiments.prepare import prepare

    facts = dict(prepare(resolved.task, resolved.config).facts)
    return facts, "\n".join(f"{key}: {value}" for key, value in flatten(facts).items())


def _options(config: "Config") -> dict[str, Any]:
    """Key -> value of the options of plug-ins' parts."""
    return {key: value for key, value in flatten(config.to_dict()).items() if key.rpartition(".")[0] in OPTIONS}
