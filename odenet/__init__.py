"""Tracked experiments with continuous-depth networks: the command line, and what a notebook needs.

import odenet
run = odenet.train("odenet_simple", "digits", config={"training.max_epochs": 3})
odenet.Runs().to_frame({"config.data.name": "digits"})
odenet.load_model("best-digits")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pipeline  # noqa: F401 - before torch, see there

if TYPE_CHECKING:
    from experiments.track import TrackedScript, track
    from experiments.train import RunFailed, train
    from pipeline.runs import Runs, StoredRun
    from pipeline.runs.load_model import load_model
    from pipeline.tracking.observer import StoreObserver
    from pipeline.training import Callback, StopTraining
    from pipeline.util.errors import OdenetError

__all__ = [
    "Callback",
    "OdenetError",
    "RunFailed",
    "Runs",
    "StopTraining",
    "StoreObserver",
    "StoredRun",
    "TrackedScript",
    "load_model",
    "track",
    "train",
]

_MODULES = {
    "Callback": "pipeline.training",
    "OdenetError": "pipeline.util.errors",
    "RunFailed": "experiments.train",
    "Runs": "pipeline.runs",
    "StopTraining": "pipeline.training",
    "StoreObserver": "pipeline.tracking.observer",
    "StoredRun": "pipeline.runs",
    "TrackedScript": "experiments.track",
    "load_model": "pipeline.runs.load_model",
    "track": "experiments.track",
    "train": "experiments.train",
}
"""Imported when they are asked for, as the command line starts here, too, and does not wait for torch."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'odenet' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
