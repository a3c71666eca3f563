"""`odenet`: the commands and how failures end them."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from odenet import backup, compare, evaluate, housekeeping, machine, models, rerun, run, runs, sweep, sweeps
from odenet.output import INTERRUPTED, fail
from pipeline.device.out_of_memory import naming_lack_of_memory
from pipeline.util.errors import OdenetError
from pipeline.util.user_warnings import warnings_in_a_line

TAKE_WITH = ("run", "describe", "rerun", "resume", "sweep")
GROUPS = (run, sweep, sweeps, rerun, evaluate, runs, compare, housekeeping, backup, models, machine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    parsed = build_parser().parse_args(_flags_first(sys.argv[1:] if arguments is None else arguments))
    try:
        with warnings_in_a_line(), naming_lack_of_memory():
            status = int(parsed.handler(parsed))
        sys.stdout.flush()  # so that a reader who has left is noticed here, not at the interpreter's end
        return status
    except OdenetError as error:
        return fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return fail(f"the disk is full ({error.filename or 'no space left'}): make room or move ODENET_HOME", 1)


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """The same for argparse, which wants `ID with …` in one piece."""
    if not arguments or arguments[0] not in TAKE_WITH:
        return list(arguments)
    flags: list[str] = []
    words: list[str] = []
    for before, word in zip(("", *arguments[1:]), arguments[1:], strict=False):
        (flags if word.startswith("-") or before in sweep.VALUED else words).append(word)
    return [arguments[0], *flags, *words]


def build_parser() -> argparse.ArgumentParser:
    """Every command with its arguments."""
    parser = argparse.ArgumentParser(
        prog="odenet", description="Tracked experiments with ODE-Nets beside residual networks."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
