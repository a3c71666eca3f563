"""Arguments and options that several commands have, and the ends of their helps."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from odenet.completion import complete_words
from pipeline.plugins import load_plugins
from pipeline.util.errors import LONGEST_VALUE, InvalidInput, brief, shortened
from pipeline.util.paths import named_path

F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N", int, float)
MOST = 2**31 - 1
"""Of what is counted."""
LONGEST_PATH = 200
"""Characters up to which a file can have any name."""


def _number(kind: Callable[[str], N], words: str, smallest: int = 0, most: float = 2**63 - 1) -> Callable[[str], N]:
    """The type of a parameter that is such a number."""

    def parse(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            raise click.BadParameter(f"must be {words}, not {brief(text)}") from None
        if value > most:
            raise click.BadParameter(f"must be at most {most:,}, not {shortened(text, LONGEST_VALUE)}")
        if not smallest <= value:
            raise click.BadParameter(f"must be at least {smallest}, not {shortened(text, LONGEST_VALUE)}")
        return value

    return parse


whole_number = _number(int, "a whole number")
count = _number(int, "a whole number", most=MOST)
at_least_one = _number(int, "a whole number", smallest=1, most=MOST)
number = _number(float, "a number", most=1_000_000)
port_number = _number(int, "a port", smallest=1, most=65_535)


def seeds_of(text: str) -> tuple[int, ...]:
    words = text.split(",")
    seeds = tuple(int(word) if word.strip().isdecimal() else None for word in words)
    if None in seeds:
        raise click.BadParameter(f"{text!r} is not a list of seeds such as 0,1,2")
    if twice := [seed for place, seed in enumerate(seeds) if seed in seeds[:place]]:
        raise click.BadParameter(f"{text!r} names the seed {twice[0]} twice: name each once")
    return tuple(seed for seed in seeds if seed is not None)


def any_run_id(text: str) -> int | str:
    """A run's number, or the text that another program has given a run instead of one."""
    return whole_number(text) if text.lstrip("+-").isdecimal() else text


class _Path(click.ParamType[Path]):
    """A path that can be one; `~` is a home folder's, where a shell has left it there."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002
        text = os.fspath(value)
        if not text.strip():
            raise click.BadParameter("must be a path, not nothing", param=param)
        path = Path(text)
        if text.startswith("~") or "\0" in text or len(text) > LONGEST_PATH:
            return named_path(path, "a path of the command")
        return path

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


WORKERS = click.option(
    "--workers",
    type=at_least_one,
    metavar="N",
    help="processes that train together, each on a share of a batch",
)
PATH = _Path()
RUN_ID = click.argument("run_id", type=whole_number, metavar="ID")
ANY_RUN_ID = click.argument("run_id", type=any_run_id, metavar="ID")
ANY_RUN_IDS = click.argument("run_ids", type=any_run_id, metavar="ID...", nargs=-1, required=True)
RUN_IDS = click.argument("run_ids", type=whole_number, metavar="ID...", nargs=-1, required=True)
FILTERS = click.argument(
    "filters", metavar="[FILTER]...", nargs=-1, help="as in data=digits, 'result>=0.9', status!=FAILED, since=2d"
)


def _alone(context: click.Context, _parameter: click.Parameter, as_json: bool) -> bool:
    if as_json:
        from odenet.output import document_alone  # here, as completion waits for no tables

        context.with_resource(document_alone())
    return as_json


JSON = click.option("--json", "as_json", is_flag=True, callback=_alone, help="one JSON document on standard output")
LIMIT = click.option("--limit", type=count, metavar="N", default=20, help="at most so many; 0 for all (default 20)")


def _board_address(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and not text.startswith(("http://", "https://")):
        raise InvalidInput(f"--board wants the address that `odenet board` shows, http://…, not {brief(text)}")
    return text


BOARD = click.option(
    "--board", metavar="URL", callback=_board_address, help="of an Omniboard, for the page's links to runs"
)


def overrides_argument(text: str, takes_names: bool = True) -> Callable[[F], F]:
    """Sacred's `with` syntax; `text` says what may follow, named configurations only if it `takes_names`."""
    completed = partial(complete_words, takes_names)
    return click.argument(
        "overrides", metavar="[with …]", nargs=-1, help=f"`with` and then {text}", shell_complete=completed
    )


def _load_plugins(context: click.Context, _: click.Parameter, specs: tuple[str, ...]) -> None:
    if not context.resilient_parsing:
        load_plugins(specs)


PLUGINS = click.option(
    "--plugin",
    metavar="FILE|MODULE",
    multiple=True,
    expose_value=False,  # they are loaded before the command begins
    callback=_load_plugins,
    help="models, data sets and other parts of your own; may be repeated",
)


def examples(*lines: str) -> str:
    """The end of a command's help. A message about wrong use shows the first."""
    return "\n".join(("\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)))


def first_example(command: click.Command) -> str | None:
    return command.epilog.splitlines()[2].strip() if command.epilog else None


class ConfigurationCommand(click.Command):
    """A command whose help names the named configurations."""

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from experiments.presets import presets

        super().format_help_text(context, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Named configurations: {', '.join(presets())}.")
