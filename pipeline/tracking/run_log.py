"""What an experiment tells of its run, whoever listens."""

import hashlib
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.tracking.lean_sacred import Run
from pipeline.tracking.metric_lines import Point
from pipeline.tracking.observer import StoreObserver
from pipeline.util.errors import shortened
from pipeline.util.json_text import to_json
from pipeline.util.user_warnings import OdenetWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunLog:
    """Metrics, artifacts and info of a run, to the store and to the other Sacred observers that there are."""

    def __init__(self, run: Run | None, store: StoreObserver | None = None) -> None:
        """For a run of Sacred's, or for the `store` alone, which then is told of the run by somebody else."""
        observers: list[Any] = run.observers if run is not None else [store]
        self._run: Any = run  # asked only where there is one
        self._store = next((o for o in observers if isinstance(o, StoreObserver)), None)
        self._others = [o for o in observers if o is not self._store]
        if self._others or self._store is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="odenet-")
        self.folder = self._store.record.folder if self._store else Path(self._scratch.name)
        """Where the run keeps its files on this machine, its checkpoint among them."""

    @property
    def is_resuming(self) -> bool:
        """Whether the run goes on where an earlier process left it."""
        return self._store is not None and self._store.is_resuming

    @property
    def was_complete(self) -> bool:
        """Whether the run goes on though it had come to its end."""
        return self._store is not None and self._store.was_complete

    @property
    def info(self) -> Mapping[str, Any]:
        """What the store's record has of the run's info so far, of earlier sessions too."""
        return dict(self._store.record.document["info"]) if self._store else {}

    @property
    def run_id(self) -> int | None:
        """The run's number in the store; None without one."""
        return self._store.record.run_id if self._store else None

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One point for each metric, the epoch as step."""
        if self._store:
            self._store.log_epoch(epoch, metrics)
            if not self._others:
                return
        for name, value in metrics.items():
            self._run.log_scalar(name, value, epoch)

    def log_points(self, points: Sequence[Point]) -> None:
        """Points of any metrics, their steps whatever these are counted by; from any thread."""
        if self._store:
            self._store.log_points(points)
            if not self._others:
                return
        for point in points:
            self._run.log_scalar(point.name, point.value, point.step)

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether `odenet stop` has asked for the run's end."""
        return self._store is not None and self._store.is_asked_to_stop

    def last_step(self, name: str) -> int:
        """The highest step that the store has of a metric; -1 of one without a point."""
        step = self._store.record.last_step(name) if self._store else None
        return -1 if step is None else step

    def update_info(self, values: Mapping[str, Any]) -> None:
        """Facts about the run that are neither configuration nor metrics."""
        if self._store:
            self._store.update_info(values)
            if not self._others:
                return
        self._run.info.update(values)

    def add_artifact(self, name: str, content: bytes) -> None:
        """A file; one of the same name is replaced.

        Raises:
            OSError: the disk is full.
        """
        if self._store:
            self._store.add_artifact(name, content)
        for observer in self._others:
            path = Path(self._scratch.name) / name
            try:
                path.write_bytes(content)
                observer.artifact_event(name, str(path))
            except Exception as error:  # theirs alone: the run goes on, and the store has the file
                kind = type(observer).__name__
                warnings.warn(OdenetWarning(f"{kind} did not take the artifact {name} ({error})"), stacklevel=2)

    def add_json(self, name: str, value: Any) -> None:
        """A JSON file; numbers that are not finite are null in it."""
        self.add_artifact(name, to_json(value).encode())

    def add_figure(self, name: str, draw: Callable[[], "Figure"]) -> None:
        """A picture; one that cannot be drawn is a warning, and costs the run nothing else.

        Raises:
            OSError: the disk is full.
        """
        try:
            from pipeline.reporting.figure_style import own_style, png  # a second, which no training waits for

            with own_style():
                content = png(draw())
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = shortened(f"{type(error).__name__}: {error}", 300)
            said = f"the figure {name} could not be drawn ({reason}); later, `odenet show ID --figures` may"
            warnings.warn(OdenetWarning(said), stacklevel=2)
            return
        self.add_artifact(name, content)

    def add_weights(self, name: str, weights: Mapping[str, torch.Tensor]) -> None:
        """Tensors as safetensors, their sha256 in the run's info."""
        # Each for itself: safetensors refuses tensors that share their numbers, as tied layers do.
        own = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in weights.items()}
        content = save(own)
        self.add_artifact(name, content)
        self.update_info({"weights": {"name": name, "sha256": hashlib.sha256(content).hexdigest()}})
