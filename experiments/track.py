"""A script or a notebook of one's own, recorded like a run.

import odenet
with odenet.track("lorenz", {"lr": 1e-3}) as run:
    for step in range(100):
        run.log(step=step, loss=loss)
    run.result = accuracy
"""

import argparse
import io
import operator
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from experiments.live_metrics import LiveRecorder
from experiments.printed_text import PrintedText, printed_text
from experiments.recording import describe_failure, recording_failure, recording_warnings
from pipeline.plugins import registry
from pipeline.runs.annotations import annotations
from pipeline.runs.notification import notify_of_end
from pipeline.tasks.lookup import NOT_TASKS
from pipeline.tracking import provenance
from pipeline.tracking.lean_sacred import IntervalTimer, get_host_info
from pipeline.tracking.observer import RESULT_ALONE, StoreObserver
from pipeline.tracking.record import Record
from pipeline.tracking.run_document import TRACKED, RunStatus
from pipeline.tracking.run_log import RunLog
from pipeline.util.errors import InvalidInput, brief
from pipeline.util.interruption import terminable
from pipeline.util.nested import nest_keys
from pipeline.util.paths import home
from pipeline.util.plain_values import plain
from pipeline.util.user_warnings import OdenetWarning

HEARTBEAT_SECONDS = 10.0
WRITTEN_SECONDS = 1.0
"""A point that comes so long after the last one is on the disk when `log` returns, others within ten seconds."""
MAX_STEP = 2**63 - 1
MOST_POINTS = 20_000
"""Of a metric: a series is one document of the store."""


class TrackedScript:
    """What a script says of itself while it runs; each method may be called from any thread."""

    def __init__(self, observer: StoreObserver, run_log: RunLog, recorder: LiveRecorder) -> None:
        self._record: Record = observer.record
        self._run_log, self._recorder = run_log, recorder
        self._written = 0.0
        self._next_step = 0
        self._steps: dict[str, set[int]] = {}
        self._mutex = threading.Lock()
        self._is_over = False
        self._result: float | None = None

    @property
    def run_id(self) -> int:
        """The run's number in the store."""
        return int(self._record.run_id)

    @property
    def result(self) -> float | None:
        """A number by which the run is listed and sorted, set whenever it is known; an array or tensor of one, too.

        Raises:
            InvalidInput: when it is set, to what is no number.
        """
        return self._result

    @result.setter
    def result(self, value: Any) -> None:
        self._refuse_over("set its result")
        self._result = None if value is None else _number("result", value)

    def log(self, metrics: Mapping[str, Any] | None = None, *, step: int | None = None, **more: Any) -> None:
        """One point for each metric: `run.log(step=3, loss=0.5)`, `run.log({"validation/loss": 0.5})`.

        Args:
            metrics, more: name -> a number, or an array or tensor of one.
            step: counts from anywhere, as epochs or batches; without it the one after the last.

        Raises:
            InvalidInput: a value is no number, the step is no whole one, or the run is over.
        """
        self._refuse_over()
        given = {**(metrics or {}), **more}
        for name in given:
            if not isinstance(name, str):
                raise InvalidInput(f"{brief(name)} is no name of a metric: name each by text, as in class_{name}")
        values = {name: _number(f"the metric {name}", value) for name, value in given.items()}
        with self._mutex:
            at = self._next_step if step is None else _whole(step)
            self._next_step = max(self._next_step, at + 1)
            for name, value in values.items():
                if self._is_new(name, at):
                    self._recorder.add(name, at, value)
            is_due = time.monotonic() - self._written >= WRITTEN_SECONDS
            if is_due:
                self._written = time.monotonic()
        if is_due:
            self._recorder.write_waiting()
        if self._run_log.is_asked_to_stop:
            raise KeyboardInterrupt

    def update_info(self, values: Mapping[str, Any]) -> None:
        """Facts that are neither configuration nor metrics, such as a number of parameters."""
        self._refuse_over()
        self._run_log.update_info(_storable("info", values))

    def add_figure(self, name: str, figure: Any) -> None:
        """A figure of matplotlib's, a PNG unless the name ends in .svg or .pdf; one of the same name is replaced."""
        self._refuse_over()
        file_name = name if Path(name).suffix in (".png", ".svg", ".pdf") else f"{name}.png"
        content = io.BytesIO()
        figure.savefig(content, format=Path(file_name).suffix[1:], bbox_inches="tight")
        self._run_log.add_artifact(file_name, content.getvalue())

    def add_artifact(self, path: str | Path, name: str | None = None) -> None:
        """The content that a file has now; one of the same name is replaced.

        Args:
            name: in the record; without it the file's own.

        Raises:
            InvalidInput: the file cannot be read.
        """
        self._refuse_over()
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read ({error.strerror}): name a file to keep") from error
        self._run_log.add_artifact(name or Path(path).name, content)

    def _is_new(self, name: str, step: int) -> bool:
        known = self._steps.setdefault(name, set())
        if step in known:
            _warn(f"{name} has a value at step {step} already, which stays; give each value a step of its own")
            return False
        if len(known) >= MOST_POINTS:
            _warn(f"{name} has {MOST_POINTS} points, and no more are recorded: log every n-th step")
            return False
        known.add(step)
        return True

    def _refuse_over(self, what: str = "log") -> None:
        if self._is_over:
            raise InvalidInput(f"run {self.run_id} is over: {what} within its `with` block")

    def _end(self) -> None:
        self._is_over = True
        self._recorder.stop()


@contextmanager
def track(
    name: str, config: Any = None, *, tags: Sequence[str] = (), note: str | None = None
) -> Iterator[TrackedScript]:
    """Record what is done in the block as a run of kind `tracked`, in the store that the commands use.

    Its status is COMPLETED, FAILED where the block raises (the exception is raised on), INTERRUPTED on Ctrl-C, SIGTERM
    and SIGHUP, and DIED where the process is killed. Recorded are the configuration, metrics, console output, the
    script and the modules beside it, its commit, packages and machine, and how busy the machine is.

    Args:
        name: what is tried, the same for runs that are to be compared.
        config: a mapping, nested or with dotted keys, a dataclass, or what argparse gives.
        tags, note: of the run, in lists and in Omniboard.

    Raises:
        InvalidInput: the name is a task's, or the configuration holds what cannot be recorded, or one name twice.
        StoreError: the store does not take a new run.
    """
    marks = annotations(name, tags, note)
    if name in (*registry.names("task"), *NOT_TASKS):
        raise InvalidInput(f"{name} is what odenet calls an experiment of its own: choose another name")
    settings = _nested(_storable("config", _mapping(config)))
    described = _describe(name)
    repositories = [*provenance.repositories_of(Path(described["base_dir"])), *provenance.repositories()]
    experiment = {**RESULT_ALONE, "kind": TRACKED, "repositories": repositories}
    observer = StoreObserver(home(), experiment=experiment, annotations=marks)
    with terminable(), printed_text() as output:
        now = datetime.now(UTC)
        observer.started_event(described, name, get_host_info(), now, settings, {}, None)
        run_log = RunLog(None, observer)
        # By its number: to ask for the present one, torch would take the memory of a context.
        device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        recorder = LiveRecorder(run_log.log_points, device)
        script = TrackedScript(observer, run_log, recorder)
        error: BaseException | None = None
        try:
            with _recorded(script, observer, output), recording_warnings(run_log), recording_failure(run_log):
                yield script
        except BaseException as ended:
            error = ended
            raise
        finally:
            observer.join()
            is_told = error is not None and observer.record.document["status"] != RunStatus.COMPLETED
            notify_of_end(observer.named_document, describe_failure(error) if is_told and error else None)


@contextmanager
def _recorded(script: TrackedScript, observer: StoreObserver, output: PrintedText) -> Iterator[None]:
    """The block's heartbeat, and how it ends."""

    def beat() -> None:
        observer.heartbeat_event({}, output.get(), datetime.now(UTC), script.result)

    stop, heartbeat = IntervalTimer.create(beat, HEARTBEAT_SECONDS)
    heartbeat.daemon = True
    heartbeat.start()
    script._recorder.start()

    def end() -> None:
        script._end()
        stop.set()
        heartbeat.join()

    try:
        yield
    except KeyboardInterrupt:
        end()
        observer.interrupted_event(datetime.now(UTC), RunStatus.INTERRUPTED.value)
        raise
    except BaseException as error:
        end()
        if isinstance(error, SystemExit) and not error.code:  # sys.exit(), which is no failure
            observer.completed_event(datetime.now(UTC), script.result)
        else:
            observer.failed_event(datetime.now(UTC), traceback.format_exception(error))
        raise
    end()
    observer.completed_event(datetime.now(UTC), script.result)


def _describe(name: str) -> dict[str, Any]:
    """The script and the modules beside it; of a notebook nothing."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    if main is None or not Path(main).is_file():
        return {"name": name, "base_dir": str(Path.cwd()), "mainfile": None, "sources": []}
    script = Path(main).resolve()
    files = {script, *(path for path in _imported_files() if path.is_relative_to(script.parent))}
    own = sorted(str(path.relative_to(script.parent)) for path in files if _is_own(path))
    sources = [(file, None) for file in own]
    return {"name": name, "base_dir": str(script.parent), "mainfile": script.name, "sources": sources}


def _imported_files() -> Iterator[Path]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py"):
            yield Path(file).resolve()


def _is_own(path: Path) -> bool:
    """Whether it is neither installed nor of this software, whose sources are stored anyway."""
    is_ours = any(path.is_relative_to(provenance.ROOT / package) for package in provenance.PACKAGES)
    return not is_ours and "site-packages" not in path.parts and not path.is_relative_to(sys.prefix)


def _mapping(config: Any) -> Mapping[str, Any]:
    match config:
        case None:
            return {}
        case Mapping():
            return config
        case argparse.Namespace():
            return vars(config)
        case _ if is_dataclass(config) and not isinstance(config, type):
            return asdict(config)
    raise InvalidInput(f"config is {brief(config)}: give a dictionary, a dataclass, or what argparse gives")


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings in place of dotted keys.

    Raises:
        InvalidInput: two keys say the same, or one is a part of another.
    """
    for path, other in pairwise(sorted(path.split(".") for path in _paths(values))):
        if other[: len(path)] == path:
            name = ".".join(path)
            raise InvalidInput(f"config says {name} twice, once as {'.'.join(other)}: give one of them another name")
    return nest_keys(values)


def _paths(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield from (f"{key}.{below}" for below in _paths(value)) if isinstance(value, Mapping) else (key,)


def _storable(path: str, value: Any) -> Any:
    """The value as the store takes it.

    Raises:
        InvalidInput: it is, or holds, something else than numbers, text, lists and mappings.
    """
    value = plain(value)
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): _storable(f"{path}.{key}", below) for key, below in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_storable(path, below) for below in value]
        case Path() | torch.device() | torch.dtype():
            return str(value)
    raise InvalidInput(
        f"{path} is a {type(value).__name__}, which cannot be recorded: give numbers, text, lists and dictionaries"
    )


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(plain(value))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InvalidInput(f"{name} is {brief(value)}, which is no number: give one number") from None


def _whole(step: Any) -> int:
    try:
        whole: int = operator.index(step)
    except TypeError:
        raise InvalidInput(f"step is {brief(step)}, which is no whole number: count epochs or batches") from None
    if abs(whole) > MAX_STEP:
        raise InvalidInput(f"step is {whole}, which no store takes: count epochs or batches")
    return whole


def _warn(sentence: str) -> None:
    warnings.warn(OdenetWarning(sentence), stacklevel=4)
