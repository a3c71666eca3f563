"""A process of its own for each thing that is measured, so that none has what another left behind."""

import argparse
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from benchmarks.options import at_least_one
from pipeline.config import ConfigError, TrainingConfig
from pipeline.device.precision import choose_device

T = TypeVar("T")
_subject: Any = None


class Worker:
    """A process that holds what `make(*arguments)` makes there, until its context ends; its errors are raised here."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._pool = _process()
        try:
            self._answer(_hold, make, arguments)
        except BaseException:
            self._pool.shutdown()
            raise

    def ask(self, method: str) -> Any:
        """What the held thing's method of that name returns."""
        return self._answer(_ask, method)

    def _answer(self, function: Callable[..., Any], *arguments: Any) -> Any:
        advice = ": all candidates have a process at once, so compare fewer, with --candidate"
        return _result(self._pool, advice, function, *arguments)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _result(pool: ProcessPoolExecutor, advice: str, function: Callable[..., T], *arguments: Any) -> T:
    """What `function(*arguments)` returns in the pool's process; where that is killed, a sentence that ends so."""
    try:
        return pool.submit(function, *arguments).result()
    except BrokenProcessPool:
        killed = "a process that was being measured was killed, as happens where memory runs out"
        raise SystemExit(killed + advice) from None


def _end_with_parent() -> None:
    """A parent that is killed tells nobody."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _hold(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _subject
    _subject = make(*arguments)


def _ask(method: str) -> Any:
    return getattr(_subject, method)()


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """What `function(*arguments)` returns in a process of its own."""
    with _process() as pool:
        return _result(pool, "", function, *arguments)


def take_turns(workers: dict[str, Worker], methods: list[str], repeats: int) -> dict[str, dict[str, list[Any]]]:
    """Name -> method -> what it returned each time; every worker has its turn before any has its next."""
    answers: dict[str, dict[str, list[Any]]] = {name: {method: [] for method in methods} for name in workers}
    for repeat in range(repeats):
        for method in methods:
            # There and back, so that none always follows the same other.
            for name in list(workers) if repeat % 2 == 0 else reversed(workers):
                answers[name][method].append(workers[name].ask(method))
    return answers


def parser(description: str | None, repeats: int | None) -> argparse.ArgumentParser:
    """The options that all have: --threads and --device, and --repeats where things are repeated."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--threads", type=at_least_one, default=os.cpu_count() or 1)
    made.add_argument("--device", type=_device, default="auto", help="cpu, cuda or auto: a GPU where there is one")
    if repeats is not None:
        made.add_argument("--repeats", type=at_least_one, default=repeats)
    return made


def _device(name: Any) -> str:
    """The kind of the device that a run with this `training.device` would take."""
    try:
        return choose_device(TrainingConfig(device=name)).type
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def use_threads(threads: int) -> None:
    """Have this process, and those that it starts, compute on so many cores: all libraries follow the second."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
