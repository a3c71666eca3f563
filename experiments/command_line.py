"""Sacred's own command line for the experiment of a task."""

import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Sequence

from experiments.recording import describe_failure
from experiments.sacred_options import check_sacred_options
from experiments.task_experiment import experiment_of
from experiments.tracked import FAILURES, observer_for
from pipeline.plugins import load_plugins
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.tracking.lean_sacred import SacredError
from pipeline.tracking.observer import StoreObserver
from pipeline.util import early_signals
from pipeline.util.crash_report import describe_unforeseen
from pipeline.util.early_signals import INTERRUPTED
from pipeline.util.errors import InvalidInput, in_a_line
from pipeline.util.interruption import hides_interruption, terminable
from pipeline.util.streams import standard_streams
from pipeline.util.user_warnings import warnings_in_a_line

_ALWAYS = ("--debug", "--force")
_ALREADY = (*_ALWAYS, "-d", "-f")
"""What is on whether it is given or not, and which Sacred's parser would refuse to be told twice."""


def main(task_name: str) -> int:
    """Sacred's command line, its exit status; `--plugin FILE` loads a plug-in before anything is parsed."""
    with standard_streams():
        try:
            with terminable():
                status = _carry_out(task_name)
        except KeyboardInterrupt:  # while the end was being told
            status = INTERRUPTED
    early_signals.end_with(status)
    return status


def _carry_out(task_name: str) -> int:
    observer: StoreObserver | None = None
    try:
        words = check_sacred_options(_load_named_plugins(sys.argv[1:]))
        experiment = experiment_of(task_name)
        experiment.add_named_configs()
        observer = observer_for(experiment.task)
        experiment.sacred.observers = [observer]
        with warnings_in_a_line(), naming_plugin_failures(), experiment.given(None, ()):
            # --debug hands failures on, rather than tracing them; --force: our own check knows every key, options too.
            asks_for_help = words[:1] in (["-h"], ["--help"], ["help"])  # which Sacred takes alone
            always = () if asks_for_help else _ALWAYS
            experiment.sacred.run_commandline([sys.argv[0], *always, *(word for word in words if word not in _ALREADY)])
    except SacredError as refused:
        return _fail(str(refused), InvalidInput.exit_status)
    except FAILURES as ended:
        is_interrupted = isinstance(ended, KeyboardInterrupt)
        if is_interrupted and (observer is None or not observer.has_started):
            return _fail("interrupted", INTERRUPTED)  # no run has begun, so no epoch of one is kept
        status = INTERRUPTED if is_interrupted else getattr(ended, "exit_status", 1)
        return _fail(describe_failure(ended), status)
    except (LookupError, TypeError, ValueError) as error:
        if observer is None or observer.has_started:
            return _fail(describe_unforeseen(error), 1)
        return _fail(f"Sacred takes an option otherwise ({error}): its --help tells how", InvalidInput.exit_status)
    except ModuleNotFoundError as error:
        if observer is None or observer.has_started or not _comes_from_sacred(error):
            return _fail(describe_unforeseen(error), 1)
        return _fail(
            f"an option of Sacred's needs the package {error.name}, which is not installed: install it, or leave the "
            "option out",
            InvalidInput.exit_status,
        )
    except Exception as error:
        if hides_interruption(error):
            return _fail("interrupted", INTERRUPTED)
        return _fail(describe_unforeseen(error), 1)
    return 0


def _load_named_plugins(words: Sequence[str]) -> list[str]:
    """Load what follows each `--plugin`; the other words.

    Raises:
        InvalidInput: nothing follows one, or what follows cannot be loaded.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--plugin", action="append", nargs="?", const="", default=[])
    named, others = parser.parse_known_args(words)
    if "" in named.plugin:
        raise InvalidInput("--plugin needs a file or a module, as in: --plugin my_net.py")
    load_plugins(named.plugin)
    return others


def _comes_from_sacred(error: BaseException) -> bool:
    """Whether Sacred's own code raised it, and not a part that it called."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "sacred"


def _fail(message: str, status: int) -> int:
    print(f"odenet: {in_a_line(message)}", file=sys.stderr)
    return status
