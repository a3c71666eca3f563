"""What an experiment tells of its run, whoever listens."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from sacred.run import Run
from safetensors.torch import save

from pipeline.reporting.figure_style import png
from pipeline.tracking.observer import StoreObserver
from pipeline.util.json_text import to_json


class RunLog:
    """Metrics, artifacts and info of a run, to the store; without one, to the Sacred observers that there are."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._store = next((o for o in run.observers if isinstance(o, StoreObserver)), None)
        if self._store:
            self.folder = self._store.record.folder
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix="odenet-")
            self.folder = Path(self._scratch.name)
        """Where the run keeps its files on this machine, its checkpoint among them."""

    @property
    def is_resuming(self) -> bool:
        """Whether the run goes on where an earlier process left it."""
        return self._store is not None and self._store.is_resuming

    @property
    def run_id(self) -> int | None:
        """The run's number in the store; None without one."""
        return self._store.record.run_id if self._store else None

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One point for each metric, the epoch as step."""
        if self._store:
            self._store.log_epoch(epoch, metrics)
            return
        for name, value in metrics.items():
            self._run.log_scalar(name, value, epoch)

    def update_info(self, values: Mapping[str, Any]) -> None:
        """Facts about the run that are neither configuration nor metrics."""
        if self._store:
            self._store.update_info(values)
            return
        self._run.info.update(values)

    def add_artifact(self, name: str, content: bytes) -> None:
        """A file; one of the same name is replaced.

        Raises:
            OSError: the disk is full.
        """
        if self._store:
            self._store.add_artifact(name, content)
            return
        path = self.folder / name
        path.write_bytes(content)
        self._run.add_artifact(path, name)

    def add_json(self, name: str, value: Any) -> None:
        """A JSON file; numbers that are not finite are null in it."""
        self.add_artifact(name, to_json(value).encode())

    def add_figure(self, name: str, figure: Figure) -> None:
        """A picture."""
        self.add_artifact(name, png(figure))

    def add_weights(self, name: str, weights: Mapping[str, torch.Tensor]) -> None:
        """Tensors as safetensors, their sha256 in the run's info."""
        content = save({key: value.detach().cpu().contiguous() for key, value in weights.items()})
        self.add_artifact(name, content)
        self.update_info({"weights": {"name": name, "sha256": hashlib.sha256(content).hexdigest()}})
