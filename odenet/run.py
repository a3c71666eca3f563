"""`odenet run` and `odenet describe`."""

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from odenet.arguments import JSON, PLUGINS, ConfigurationCommand, examples, overrides_argument
from odenet.output import finish_run, print_json
from pipeline.config.config import OPTIONS
from pipeline.util.nested import flatten

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.config.presets import Resolved

WORDS = overrides_argument("named configurations and key=value")


@click.command(
    cls=ConfigurationCommand,
    epilog=examples(
        "odenet run with odenet_simple digits seed=1",
        "odenet run with resnet_small fashion_mnist data.subset=10000 training.lr=5e-4",
    ),
)
@WORDS
@PLUGINS
@JSON
def run(overrides: tuple[str, ...], as_json: bool) -> int:
    """Train and evaluate, tracked."""
    from experiments.presets import resolve
    from pipeline.config.overrides import parse_with

    names, updates = parse_with(overrides)
    resolved = resolve(names, updates)  # what is wrong is told before torch and its like take seconds to import
    from experiments.tracked import prepare, run_tracked

    return finish_run(run_tracked(prepare(resolved.task, resolved.config), names), as_json)


@click.command(cls=ConfigurationCommand, epilog=examples("odenet describe with odenet_simple fashion_mnist"))
@WORDS
@PLUGINS
@JSON
def describe(overrides: tuple[str, ...], as_json: bool) -> None:
    """Layers, parameters and multiply-adds of a model."""
    from experiments.presets import resolve
    from pipeline.config.overrides import parse_with

    resolved = resolve(*parse_with(overrides))
    if resolved.task != "classification":
        _describe_facts(resolved, as_json)
        return
    from pipeline.data.shapes import network_input
    from pipeline.models.describe import describe as describe_model
    from pipeline.runs.tables import print_description

    config: Any = resolved.config
    description = describe_model(config.model, *network_input(config.data))
    if as_json:
        print_json(description.to_dict() | {"options": _options(config)})
        return
    print_description(description, Console())
    _print_options(config)


def _describe_facts(resolved: "Resolved", as_json: bool) -> None:
    """What a task records of its data and its model before it trains."""
    from experiments.tracked import prepare

    facts = dict(prepare(resolved.task, resolved.config).facts)
    if as_json:
        print_json(facts | {"options": _options(resolved.config)})
        return
    for key, value in flatten(facts).items():
        print(f"{key}: {value}")
    _print_options(resolved.config)


def _options(config: "Config") -> dict[str, Any]:
    """Key -> value of the options of plug-ins' parts."""
    found: dict[str, Any] = {}
    for key in OPTIONS:
        section, _, name = key.partition(".")
        found |= {f"{key}.{option}": value for option, value in getattr(getattr(config, section), name).items()}
    return found


def _print_options(config: "Config") -> None:
    if options := _options(config):
        print("options:", ", ".join(f"{key}={value!r}" for key, value in options.items()))
