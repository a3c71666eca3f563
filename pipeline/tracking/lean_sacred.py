"""What is used of Sacred, which loads pandas where that is installed, to store tables: a second of a run's start.

Here it is loaded without, and learns to store them once somebody has loaded pandas.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PANDAS = "pandas"


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """While it is, to import it fails; where it is loaded already nothing happens."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


with _hidden(PANDAS):
    from sacred import SETTINGS, Experiment, Ingredient, serializer
    from sacred.host_info import get_host_info
    from sacred.observers import RunObserver
    from sacred.run import Run
    from sacred.stdout_capturing import TeeingStreamProxy
    from sacred.utils import IntervalTimer, SacredError, SacredInterrupt

__all__ = [
    "SETTINGS",
    "Experiment",
    "Ingredient",
    "IntervalTimer",
    "Run",
    "RunObserver",
    "SacredError",
    "SacredInterrupt",
    "TeeingStreamProxy",
    "flatten",
    "get_host_info",
]


def flatten(value: Any) -> Any:
    """As JSON, arrays and tables included."""
    if PANDAS in sys.modules:
        from jsonpickle.ext import pandas as tables

        tables.register_handlers()
    return serializer.flatten(value)
