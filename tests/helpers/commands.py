"""`odenet` commands as the tests run them: real processes with a home of their own.

A run spends most of its first seconds on imports, so the processes are forked from one that has made them; what is
about the start of a process or about its standard streams uses `run_command`, which starts an interpreter.

Most of what a short run computes is its figures. What the tests start draws none, and stores one pixel in the place of
each, unless a test asks for them: of every task there is a test that does.
"""

import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psutil
from pymongo.database import Database

from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.run_log import RunLog
from pipeline.tracking.store import connect
from tests.helpers.no_figures import sitecustomize
from tests.helpers.no_figures.sitecustomize import store_pixel
from tests.helpers.waiting import run, wait_until

os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait for a core which another run has cost seconds a step
# Ray's workers stand back (nice 15) for whatever else runs: beside busy processes they get a hundredth of a core.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray writes it
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    [
        *("experiments.classification", "odenet.main", "pipeline.runs.tables"),
        # What commands import no sooner than they need it.
        *("sklearn.datasets", "sklearn.model_selection", "torch._dynamo"),
        *("pipeline.reporting.training_figures", "pipeline.tasks.classification.solver_figures"),
        *("pipeline.tasks.classification.task", "pipeline.tasks.classification.hard_images"),
        "tests.helpers.preloaded_ray",
    ]
)

QUICK = (
    *("with", "odenet_simple", "digits", "data.subset=200", "model.channels=16", "solver.method=euler"),
    *("training.device=cpu", "training.patience=None", "training.compile=False"),
)
"""A run of a moment: add training.max_epochs."""
SLOW = (*QUICK, "solver.method=rk4", "solver.steps=4", "training.batch_size=8")
"""The same with epochs of a tenth of a second, so that something can happen between them."""


def without_figures(path: str | None = None) -> str:
    """PYTHONPATH of an interpreter whose runs draw none: what it is to have, by default that of here, and one more."""
    given = os.environ.get("PYTHONPATH") if path is None else path
    return os.pathsep.join(filter(None, (str(Path(sitecustomize.__file__).parent), given)))


draw_figure = RunLog.add_figure
"""As it is without tests."""


@dataclass
class Command:
    """A command that may still be running, and what it has printed."""

    process: ForkServerProcess
    folder: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.stdout)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status; negative for the signal that ended it."""
        try:
            wait_until(lambda: self.process.exitcode is not None)
        except AssertionError:
            raise AssertionError(f"still running:\n{self.stderr}") from None
        assert self.process.exitcode is not None
        return self.process.exitcode


def start_command(home: Path, *arguments: str, draws_figures: bool = False, **environment: str) -> Command:
    """`odenet arguments`, with `home` as its home folder."""
    return _start(_odenet, home, arguments, environment, draws_figures)


def start_script(home: Path, script: Path, *arguments: str, draws_figures: bool = False, **environment: str) -> Command:
    """`python script arguments`, likewise."""
    return _start(_script, home, (str(script), *arguments), environment, draws_figures)


def start_module(home: Path, module: str, *arguments: str, **environment: str) -> Command:
    """`python -m module arguments`, likewise."""
    return _start(_module, home, (module, *arguments), environment)


def _start(
    target: Callable[[tuple[str, ...]], int],
    home: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    draws_figures: bool = False,
) -> Command:
    folder = Path(tempfile.mkdtemp(dir=home.parent))
    process = FORKSERVER.Process(target=_main, args=(target, home, folder, arguments, environment, draws_figures))
    process.start()
    return Command(process, folder)


def _odenet(arguments: tuple[str, ...]) -> int:
    from odenet.main import main

    return main(arguments)


def _script(arguments: tuple[str, ...]) -> int:
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


def _module(arguments: tuple[str, ...]) -> int:
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    return 0


def _main(
    target: Callable[[tuple[str, ...]], int],
    home: Path,
    folder: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    draws_figures: bool,
) -> None:
    if not draws_figures:
        RunLog.add_figure = store_pixel  # type: ignore[method-assign]
    os.environ.pop("ODENET_MONGO_URL", None)
    os.environ.update({"COLUMNS": "80", "ODENET_HOME": str(home), **environment})
    tempfile.tempdir = str(folder)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    if "PYTHONPATH" in environment:  # which an interpreter looks at when it starts
        sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    if not draws_figures:
        os.environ["PYTHONPATH"] = without_figures()
    sys.exit(target(arguments))


def run_command(
    home: Path, *arguments: str, options: tuple[str, ...] = (), draws_figures: bool = False, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """`odenet arguments` in an interpreter of its own, to its end."""
    kept = {name: value for name, value in os.environ.items() if name != "ODENET_MONGO_URL"}
    settings = {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "ODENET_HOME": str(home), **environment}
    if not draws_figures:
        settings["PYTHONPATH"] = without_figures(settings.get("PYTHONPATH", ""))
    return run([sys.executable, *options, "-m", "odenet.main", *arguments], env=settings)


def database_of(home: Path) -> Database[dict[str, Any]]:
    """The home's embedded store."""
    return connect(EmbeddedStore(home).start())


def records(home: Path) -> list[Path]:
    """Folders of the records that wait in the home, those of live runs included."""
    return [path.parent for path in (home / "runs").glob("*/record.json")]


def epochs_on_disk(home: Path) -> dict[str, list[int]]:
    """Metric -> the epochs of it, in the home's one record."""
    epochs: dict[str, list[int]] = {}
    for path in (home / "runs").glob("*/metrics.jsonl"):
        for line in path.read_text().splitlines()[1:]:
            point = json.loads(line)
            epochs.setdefault(point["name"], []).append(point["step"])
    return epochs


def last_epoch(home: Path) -> int:
    """The last epoch in the home's one record, 0 before the first."""
    try:
        return max(epochs_on_disk(home).get("memory.peak_mb", [0]))
    except ValueError:  # a line that is being written
        return 0


def workers_of(command: Command) -> list[psutil.Process]:
    """The processes that do trials."""
    return [child for child in children_of(command) if "ray::ResourceTrainable" in " ".join(child.cmdline())]


def children_of(command: Command) -> list[psutil.Process]:
    """All that it has started, and what that has started."""
    return psutil.Process(command.pid).children(recursive=True)
