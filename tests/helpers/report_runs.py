"""Stored runs whose results are known functions of their settings, for tests; nothing is trained."""

import math
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from pipeline.tasks.lookup import metric_specs, result_name
from pipeline.tracking.run_document import metric_entry
from tests.helpers.records import document_of

Store = Database[dict[str, Any]]


def run_of_settings(run_id: Any, lr: float, channels: int, optimiser: str = "adam", **changes: Any) -> dict[str, Any]:
    """The document of a completed run of image classification."""
    error = 0.02 + 0.05 * (math.log10(lr) + 3) ** 2
    document = document_of(run_id, status="COMPLETED")
    return (
        document
        | {
            "experiment": document["experiment"] | described("classification"),
            "config": {
                "data": {"name": "digits"},
                "model": {"architecture": "simple", "body": "odenet", "channels": channels},
                "training": {"lr": lr, "optimiser": optimiser, "max_epochs": 30},
                "seed": 0,
            },
            "info": {
                "test": {"accuracy": 1 - error, "loss": 3 * error, "nfe_forward": 10.0 + channels},
                "parameters": {"total": 100 * channels},
                "training": {"epochs": 30, "epoch_seconds": 0.1 * channels},
            },
            "result": 1 - error,
            "stop_time": document["start_time"] + timedelta(seconds=30 + channels),
        }
        | changes
    )


def described(task: str) -> dict[str, Any]:
    """What a run's `experiment` says of its task."""
    entries = [metric_entry(spec) for spec in metric_specs(task)]
    return {"name": task, "task": task, "metrics": entries, "result": result_name(task)}


def series(run_id: Any, metric: str, values: Sequence[float], steps: Sequence[float] | None = None) -> dict[str, Any]:
    """A metric as the store has it, with a point for each epoch from the first."""
    counted = list(steps) if steps is not None else list(range(1, len(values) + 1))
    return {"_id": ObjectId(), "run_id": run_id, "name": metric, "steps": counted, "values": list(values)}


def store_runs(database: Store, number: int, epochs: int = 30, metrics: int = 12) -> None:
    """So many runs with curves of so many metrics; the optimiser and the seed change nothing."""
    draw = random.Random(0)  # noqa: S311  # for samples
    names = [
        *("training.loss", "validation.loss", "validation.accuracy", "solver.nfe_forward", "time.epoch_seconds"),
        *(f"machine.measure_{place}" for place in range(metrics)),
    ][:metrics]
    documents, points = [], []
    for run_id in range(1, number + 1):
        channels = draw.choice([8, 16, 32, 64])
        document = run_of_settings(run_id, 10 ** draw.uniform(-5, -1), channels, draw.choice(["adam", "sgd"]))
        document["config"]["seed"] = run_id % 3
        documents.append(document)
        loss = document["info"]["test"]["loss"]
        for name in names:
            scale = {"validation.accuracy": -0.3, "solver.nfe_forward": channels}.get(name, 1.0)
            values = [loss + scale * math.exp(-epoch / 8) + draw.gauss(0, 0.01) for epoch in range(epochs)]
            if name == "validation.accuracy":
                values = [1 - abs(value) for value in values]
            points.append(series(run_id, name, values))
    for start in range(0, number, 100):
        database.runs.insert_many(documents[start : start + 100])
    for start in range(0, len(points), 500):
        database.metrics.insert_many(points[start : start + 500])
