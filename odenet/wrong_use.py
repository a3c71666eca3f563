"""What click finds wrong with a command line, in one sentence that names the remedy."""

import click

from odenet.arguments import first_example
from pipeline.config import nearest
from pipeline.util.errors import brief


def sentence(error: click.ClickException) -> str:
    """As in: unknown command rnu (did you mean run?)."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return _in_a_sentence(error.message)
    command, path = context.command, context.command_path
    if isinstance(error, click.exceptions.NoSuchCommand) and isinstance(command, click.Group):
        known = command.list_commands(context)
        return _unknown("command", error.command_name, known, path)
    if isinstance(error, click.NoSuchOption):
        options = [option for parameter in command.get_params(context) for option in parameter.opts]
        return _unknown("option", error.option_name, [option for option in options if option[0] == "-"], path)
    example = f", as in: {first_example(command)}"
    if isinstance(error, click.MissingParameter):
        return f"{path} needs {_name(error)}{example}"
    if isinstance(error, click.BadParameter):
        return f"{_name(error)} {error.message.removesuffix('.')}"
    return f"{_in_a_sentence(error.message)}{example}"


def _unknown(kind: str, name: str, known: list[str], path: str) -> str:
    where = "" if path == "odenet" else f" of {path}"
    return f"unknown {kind} {name or brief(name)}{where}{nearest(name, known) or f'; `{path} --help` lists them'}"


def _name(error: click.BadParameter) -> str:
    parameter = error.param
    assert parameter is not None, error
    return parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name.strip("[].")


def _in_a_sentence(message: str) -> str:
    return (message[:1].lower() + message[1:]).removesuffix(".")
