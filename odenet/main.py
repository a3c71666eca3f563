"""`odenet`: the commands and how failures end them."""

from pipeline.util import early_signals

# isort: split

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from odenet import completion
from odenet.arguments import examples
from odenet.output import fail
from odenet.wrong_use import sentence
from pipeline.device.out_of_memory import naming_lack_of_memory
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.util.crash_report import describe_unforeseen
from pipeline.util.early_signals import INTERRUPTED
from pipeline.util.errors import OdenetError
from pipeline.util.interruption import hides_interruption, terminable
from pipeline.util.streams import is_left, lost_output, standard_streams
from pipeline.util.user_warnings import warnings_in_a_line

MODULES = {
    "run": ("run", "describe"),
    "sweep": ("sweep",),
    "sweeps": ("sweeps",),
    "paper": ("paper",),
    "rerun": ("rerun", "resume"),
    "evaluate": ("evaluate",),
    "predict": ("predict",),
    "sample": ("sample",),
    "logprob": ("logprob",),
    "runs": ("runs", "show"),
    "going": ("watch", "logs", "stop"),
    "board": ("board",),
    "compare": ("compare",),
    "report": ("report",),
    "housekeeping": ("rename", "tag", "note", "attach", "export", "rm", "gc"),
    "backup": ("backup", "restore"),
    "models": ("promote", "models"),
    "data": ("data",),
    "store": ("store", "sync"),
    "notify": ("notify",),
    "doctor": ("doctor",),
}
"""Module of this package -> its commands."""
COMMANDS = {name: module for module, names in MODULES.items() for name in names}


class Commands(click.Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"odenet.{COMMANDS[name]}"), name)
        return command


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("odenet run with odenet_simple digits seed=1", "odenet run --help"),
)
@click.version_option(package_name="odenet-pipeline", message="odenet %(version)s")
@click.pass_context
def odenet(context: click.Context) -> None:
    """Tracked experiments with continuous-depth networks: images, densities, time series and trajectories."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted, 141 its reader has left.

    Without arguments, those of this process, which then is the command's alone and ends with it.
    """
    with standard_streams():
        try:
            with terminable():
                status = _carry_out(list(sys.argv[1:] if arguments is None else arguments))
        except KeyboardInterrupt:  # while the end was being told
            status = INTERRUPTED
    if arguments is None:
        early_signals.end_with(status)
    return status


def _carry_out(arguments: list[str]) -> int:
    """The exit status, whatever happens: no traceback reaches a person."""
    try:
        with warnings_in_a_line(), naming_plugin_failures(), naming_lack_of_memory():
            return _end(_run(arguments))
    except click.ClickException as error:
        return fail(sentence(error), error.exit_code)
    except OdenetError as error:
        return fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except Exception as error:
        if hides_interruption(error):
            return fail("interrupted", INTERRUPTED)
        return fail(describe_unforeseen(error), 1)


def _end(status: int) -> int:
    """The exit status of a command that is over; another one where what it printed could not be written to the end."""
    lost = lost_output()
    if lost is None or status != 0:
        return status
    if is_left(lost):  # `head`, say, has enough: no failure, and told as a shell tells SIGPIPE
        return 128 + signal.SIGPIPE
    return fail(f"standard output could not be written to the end ({lost.strerror})", 1)


def _run(arguments: list[str]) -> int:
    """What `odenet.main` of click does, which would handle interrupts and closed pipes in ways of its own."""
    if instruction := os.environ.get(completion.VARIABLE):
        return completion.complete(odenet, instruction)
    try:
        with odenet.make_context("odenet", arguments) as context:
            return odenet.invoke(context) or 0
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code


if __name__ == "__main__":
    sys.exit(main())
