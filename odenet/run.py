"""`odenet run` and `odenet describe`."""

import argparse

from rich.console import Console

from odenet.arguments import add_command, add_with
from odenet.output import finish_run, print_json

EXAMPLE = "named configurations and key=value, as in: with odenet_simple digits seed=1"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    add_with(add_command(commands, "run", run, "train and evaluate, tracked"), EXAMPLE)
    text = "layers, parameters and multiply-adds of a model"
    add_with(add_command(commands, "describe", describe_model, text), EXAMPLE)


def run(arguments: argparse.Namespace) -> int:
    from pipeline.config.presets import parse_with, resolve
    from pipeline.config.sections import Config

    names, updates = parse_with(arguments.with_)
    Config.from_dict(resolve(names, updates))  # what is wrong is told before torch and its like take seconds to import
    from experiments.classification import run_tracked

    return finish_run(run_tracked(names, updates), arguments.json)


def describe_model(arguments: argparse.Namespace) -> int:
    from pipeline.config.presets import parse_with, resolve
    from pipeline.config.sections import Config
    from pipeline.data.shapes import network_input
    from pipeline.models.describe import describe
    from pipeline.runs.tables import print_description

    config = Config.from_dict(resolve(*parse_with(arguments.with_)))
    description = describe(config, *network_input(config.data))
    if arguments.json:
        print_json(description.to_dict())
    else:
        print_description(description, Console())
    return 0
