"""What has to hold after any fault: nothing that a run was told is kept is lost, no id is twice, no run a phantom."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo.database import Database

from pipeline.runs.query import Runs
from pipeline.tracking.sync import sync
from tests.faults.tiny import METRICS, TinyRun


@dataclass
class Verdict:
    """What was found."""

    runs: int = 0
    points: int = 0
    artifacts: int = 0
    losses: list[str] = field(default_factory=list)


def judge(home: Path, database: Database[dict[str, Any]], runs: Sequence[TinyRun]) -> Verdict:
    """Deliver what waits, and compare the store with what the runs were told; the runs are over."""
    verdict = Verdict(runs=len(runs))
    for result in sync(home, database):
        if result.outcome not in ("delivered", "withdrawn"):
            verdict.losses.append(f"{result.outcome}: {result.message}")
    stored = Runs(database)
    ids = Counter(said.run_id for run in runs if (said := run.said()).run_id is not None)
    verdict.losses += [f"the id {run_id} came {number} times" for run_id, number in ids.items() if number > 1]
    for run in runs:
        said = run.said()
        documents = list(database.runs.find({"config.fault": run.number}))
        if said.traceback:
            verdict.losses.append(f"run {run.number}: {said.traceback[-600:]}")
        if said.run_id is None:
            allowed = 0 if said.refused else 1  # killed before its body, it may be there as one that died
            if len(documents) > allowed or any(document["status"] != "DIED" for document in documents):
                verdict.losses.append(f"phantom {[d['_id'] for d in documents]} of run {run.number}: {said.refused}")
            continue
        if [document["_id"] for document in documents] != [said.run_id]:
            verdict.losses.append(f"run {said.run_id} is there as {[document['_id'] for document in documents]}")
            continue
        _judge_run(stored.get(said.run_id), said, run.number, verdict)
    waiting = [path.name for path in (home / "runs").glob("*/record.json")]
    verdict.losses += [f"{name} still waits" for name in waiting]
    verdict.losses += [f"run {d['_id']} says RUNNING" for d in database.runs.find({"status": "RUNNING"})]
    return verdict


def _judge_run(stored: Any, said: Any, number: int, verdict: Verdict) -> None:
    points = stored.points()
    for name in METRICS:
        series = dict(zip(points[name]["steps"], points[name]["values"], strict=True)) if name in points else {}
        wrong = [epoch for epoch in said.points if series.get(epoch) != number + epoch / 100]
        verdict.losses += [f"run {stored.run_id} lost {name} of epochs {wrong}"] if wrong else []
        verdict.points += len(said.points)
    for name, told in said.artifacts.items():
        content = stored.artifact(name) if name in stored.artifacts else b""
        if content.hex()[:64] + f":{len(content)}" != told:
            verdict.losses.append(f"run {stored.run_id} lost {name}")
        verdict.artifacts += 1
    verdict.losses += [
        f"run {stored.run_id} lost fact_{epoch}" for epoch in said.info if stored.info.get(f"fact_{epoch}") != number
    ]
    if said.ended == "COMPLETED" and (stored.status != "COMPLETED" or stored.result != number + 0.5):
        verdict.losses.append(f"run {stored.run_id} completed and is {stored.status} with {stored.result}")
