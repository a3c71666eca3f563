"""What runs will cost here, from what stored runs took or from steps that were measured, and which of these it is."""

import hashlib
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.runs.query import StoredRun
from pipeline.tracking.run_document import RunStatus
from pipeline.util.files import private_folder, whole_file
from pipeline.util.paths import home

NOT_DECIDING = ("seed", "data.subset", "data.validation_fraction", "evaluation.batch_size")
"""Keys that do not change what a training step of an item takes."""
OF_TRAINING = ("training.batch_size", "training.precision", "training.device", "training.compile")
"""The keys of `training` that do."""
STORED, MEASURED = "stored runs", "measured steps"


@dataclass(frozen=True)
class ItemCost:
    """What a training takes for an item and an epoch."""

    seconds: float
    basis: str
    memory_mb: float | None = None
    """Peak of a step, as torch allocates."""


@dataclass
class KnownCosts:
    """The costs of configurations on this host, by what decides them."""

    _stored: dict[str, list[float]] = field(default_factory=dict)
    _items: dict[str, int | None] = field(default_factory=dict)
    """Data set, by `_data_key` -> training items without `data.subset`, before the validation split; None: it has no
    end."""
    _measured: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[StoredRun]) -> "KnownCosts":
        """From completed runs of this host, and the steps that were measured here before."""
        known = cls(_measured=_read())
        for run in runs:
            known._learn(run)
        for entry in known._measured.values():
            if entry["is_whole"]:
                known._items.setdefault(entry["data_key"], entry["data_items"])
        return known

    def of_item(self, config: Mapping[str, Any]) -> ItemCost | None:
        """The cost of a flat configuration; None where nobody knows."""
        key = cost_key(config)
        if key in self._stored:
            return ItemCost(median(self._stored[key]), STORED)
        if key in self._measured:
            entry = self._measured[key]
            return ItemCost(entry["seconds"], MEASURED, entry["memory_mb"])
        return None

    def training_items(self, config: Mapping[str, Any]) -> int | None:
        """Items that are trained on in an epoch; None where the size of the data set is not known."""
        found = config.get("data.subset") or self._items.get(_data_key(config), 0)
        if found is None:
            return _drawn_items(config)
        return round(found * (1 - config["data.validation_fraction"])) or None

    def remember(self, config: Mapping[str, Any], seconds: float, memory_mb: float, items: int | None) -> None:
        """Keep what was measured, here and in the home folder.

        Args:
            seconds: of an item.
            items: training items of the data, before the validation split; 0 where that is not known; None: they have
                no end.
        """
        is_whole = not config.get("data.subset")
        self._measured[cost_key(config)] = {
            "seconds": seconds,
            "memory_mb": memory_mb,
            "data_key": _data_key(config),
            "data_items": items,
            "is_whole": is_whole,
        }
        if is_whole:
            self._items[_data_key(config)] = items
        private_folder(_path().parent)
        with whole_file(_path(), concurrent=True) as file:
            file.write(json.dumps(self._measured).encode())

    def _learn(self, run: StoredRun) -> None:
        info, config = run.facts, run.whole_config
        here = run.document.get("host", {}).get("hostname") == socket.gethostname()
        if run.status is not RunStatus.COMPLETED or not here or info.epoch_seconds is None:
            return
        sizes = {split: size for split, (size, _) in info.sizes.items()}
        is_endless = "training" not in sizes and "training.epoch_iterations" in config
        items = _drawn_items(config) if is_endless else sizes.get("training", 0)
        if items and "data.name" in config:
            self._stored.setdefault(cost_key(config), []).append(info.epoch_seconds / items)
            if not config.get("data.subset"):
                whole = None if is_endless else items + sizes.get("validation", 0)
                self._items.setdefault(_data_key(config), whole)


def _data_key(config: Mapping[str, Any]) -> str:
    """Of a data set: its name, and what tells tasks apart, as one name may be of a density and of series."""
    return " ".join([str(config["data.name"]), *sorted({key.partition(".")[0] for key in config})])


def _drawn_items(config: Mapping[str, Any]) -> int:
    """Items of an epoch of data without an end."""
    return int(config["training.epoch_iterations"] * config["training.batch_size"])


def cost_key(config: Mapping[str, Any]) -> str:
    """A fingerprint of what decides a step's cost."""
    deciding = {
        key: value
        for key, value in config.items()
        if key not in NOT_DECIDING and (not key.startswith("training.") or key in OF_TRAINING)
    }
    text = json.dumps({key: _plain(value) for key, value in deciding.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _path() -> Path:
    return home() / "studies" / "steps.json"


def _read() -> dict[str, Mapping[str, Any]]:
    try:
        values = json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
    wanted = {"seconds", "memory_mb", "data_key", "data_items", "is_whole"}
    if not isinstance(values, dict):
        return {}
    return {key: entry for key, entry in values.items() if isinstance(entry, dict) and entry.keys() >= wanted}
