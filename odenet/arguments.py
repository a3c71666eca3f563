"""Arguments that several commands have."""

import argparse
from collections.abc import Callable

Handler = Callable[[argparse.Namespace], int]


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    handler: Handler,
    text: str,
    as_json: bool = True,
) -> argparse.ArgumentParser:
    """Register a command that `handler` carries out."""
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(handler=handler)
    if as_json:
        add_json(command)
    return command


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON document on standard output")


def count(text: str) -> int:
    """A whole number that is not negative, for argparse."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {number}")
    return number


def add_with(command: argparse.ArgumentParser, words: str) -> None:
    """Sacred's `with` syntax; `words` says what may follow."""
    command.add_argument("with_", nargs="*", metavar="with …", help=f"`with` and then {words}")
