"""Runs of random images, a process each, as people start them; nothing is downloaded."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import odenet
from benchmarks.own_home import use_own_home
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect

CLASSES = 10
HELD_OUT = 0.2
"""Of the images, for validation: `data.validation_fraction`."""


class Runs:
    """Runs on random images in a store of their own.

    Args:
        folder: an empty one, for data and store.
        images: how many there are to train and validate on.
        size: pixels across.
        device: `cpu` or `cuda`.
    """

    def __init__(self, folder: Path, images: int, size: int, device: str) -> None:
        self._home, self._data, self._device = folder / "home", folder / "images.npz", device
        self.trained_on = images - round(HELD_OUT * images)
        chance = np.random.default_rng(0)
        made = {
            f"{name}_{split}": values
            for split, count in (("train", images), ("test", CLASSES))
            for name, values in (
                ("x", chance.integers(0, 256, (count, size, size), np.uint8)),
                ("y", np.arange(count) % CLASSES),
            )
        }
        np.savez(self._data, **made)

    def start(self, words: Sequence[str]) -> "subprocess.Popen[str]":
        """`odenet run with` these words, for two epochs."""
        settings = (f"data.name={self._data}", f"training.device={self._device}", "training.max_epochs=2")
        command = [sys.executable, "-m", "odenet.main", "run", "--tag", "measured", "with", *words, *settings]
        environment = dict(os.environ)
        use_own_home(environment, self._home)
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def facts(self, processes: Sequence["subprocess.Popen[str]"]) -> list[dict[str, Any]]:
        """Of these runs, when all have ended: seconds of the second epoch, evaluations a batch, memory.

        Raises:
            SystemExit: one of them failed.
        """
        try:
            for process in processes:
                _, said = process.communicate()
                if process.returncode != 0:
                    raise SystemExit(said.strip() or f"a run ended with status {process.returncode}")
        finally:
            for process in processes:
                process.kill()  # no others go on with the card where one has failed
        store = EmbeddedStore(self._home)
        try:
            newest = odenet.Runs(connect(store.start())).find(limit=len(processes))
            return [_facts(run) for run in newest]
        finally:
            store.stop()


def _facts(run: odenet.StoredRun) -> dict[str, Any]:
    series = run.metrics()
    return {
        "epoch_seconds": float(series["time.epoch_seconds"].iloc[-1]),
        "memory_mb": float(series["memory.peak_mb"].max()),
        "nfe_forward": float(series["solver.nfe_forward"].iloc[-1]) if "solver.nfe_forward" in series else None,
        "loss": float(series["training.loss"].iloc[-1]),
    }
