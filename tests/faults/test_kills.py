"""Faults at random, for as long as `ODENET_FAULT_SECONDS` says, each kind an equal share; `make test-faults`.

Every test prints its seed, with which `ODENET_FAULT_SEED` does the same again, as far as a busy machine allows. It adds
what it injected and what was lost to the file that `ODENET_FAULT_REPORT` names.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.runs.backup.create_backup import back_up
from pipeline.runs.backup.restore_backup import restore
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.sync import sync
from pipeline.util.errors import OdenetError
from tests.faults.proxy import Asked, Fate, Proxy
from tests.faults.tally import FOUND, INJECTED, SEEDS, new_seed
from tests.faults.tiny import TinyRun, start_tiny_run
from tests.faults.verdict import Verdict, judge
from tests.helpers.commands import database_of
from tests.helpers.damage import CRAFTED, craft
from tests.helpers.records import left_behind
from tests.helpers.small_disk import small_disk
from tests.helpers.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
KINDS = 7
SECONDS = float(os.environ.get("ODENET_FAULT_SECONDS", "210")) / KINDS


@dataclass
class Injection:
    """What a test injects, and what becomes of it."""

    kind: str
    chance: random.Random
    deadline: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    faults: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.deadline or self.faults == 0

    def add(self, verdict: Verdict) -> None:
        self.verdict.runs += verdict.runs
        self.verdict.points += verdict.points
        self.verdict.artifacts += verdict.artifacts
        self.verdict.losses += verdict.losses
        assert not self.verdict.losses, self.verdict.losses


@pytest.fixture
def injection(request: pytest.FixtureRequest) -> Iterator[Injection]:
    """A source of faults, whose seed is printed."""
    seed = new_seed()
    kind = request.function.__doc__.strip(".")
    print(f"\n{kind}: ODENET_FAULT_SEED={seed}")
    injected = Injection(kind, random.Random(seed))  # noqa: S311 - comes again by its seed
    yield injected
    verdict = injected.verdict
    told = {
        "kind": kind,
        "seed": seed,
        "faults": injected.faults,
        "runs": verdict.runs,
        "points": verdict.points,
        "artifacts": verdict.artifacts,
        "losses": verdict.losses,
    }
    SEEDS[kind] = seed
    INJECTED[kind] += injected.faults
    FOUND[kind] += len(verdict.losses)
    print(json.dumps(told))
    if report := os.environ.get("ODENET_FAULT_REPORT"):
        with Path(report).open("a") as file:
            file.write(json.dumps(told) + "\n")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of the test's own, whose store runs."""
    EmbeddedStore(tmp_path / "home").start()
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


def wait(runs: list[TinyRun]) -> None:
    wait_until(lambda: all(run.process.exitcode is not None for run in runs))


def kill_store(home: Path) -> bool:
    pid = EmbeddedStore(home).status().pid
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not EmbeddedStore(home).status().running)
    return True


def test_runs_that_are_killed_lose_nothing(home: Path, injection: Injection) -> None:
    """SIGKILL of a run."""
    runs: list[TinyRun] = []
    while injection.goes_on:
        batch = [start_tiny_run(home, len(runs) + k, injection.chance.randrange(2**32)) for k in range(3)]
        runs += batch
        for run in batch:
            time.sleep(injection.chance.uniform(0, 1.5))
            if run.process.exitcode is None:
                run.kill()
                injection.faults += 1
        wait(batch)
        if injection.chance.random() < 0.3:  # what is delivered meanwhile stays delivered
            list(sync(home, database_of(home)))
    injection.add(judge(home, database_of(home), runs))


def test_a_store_that_is_killed_loses_nothing(home: Path, injection: Injection) -> None:
    """SIGKILL of the store."""
    runs: list[TinyRun] = []
    while injection.goes_on:
        batch = [start_tiny_run(home, len(runs) + k, injection.chance.randrange(2**32), epochs=15) for k in range(3)]
        runs += batch
        while any(run.process.exitcode is None for run in batch):
            time.sleep(injection.chance.uniform(0, 1.5))
            injection.faults += kill_store(home)
            time.sleep(injection.chance.uniform(0, 0.5))
            EmbeddedStore(home).start()
    injection.add(judge(home, database_of(home), runs))


def test_connections_that_are_cut_lose_nothing(home: Path, injection: Injection) -> None:
    """A connection cut in a request or its reply."""
    store = EmbeddedStore(home)
    port = int(store.start().url.rpartition(":")[2].partition("/")[0])
    login = json.loads((store.folder / "credentials.json").read_text())
    runs: list[TinyRun] = []

    def decide(_: Asked) -> Fate:
        return injection.chance.choices(list(Fate), [1 - 2 * share, share, share])[0]

    with Proxy(port) as proxy:
        while injection.goes_on:
            share = injection.chance.choice((0.002, 0.01, 0.05))
            proxy.decide = decide
            seeds = [injection.chance.randrange(2**32) for _ in range(3)]
            batch = [start_tiny_run(home, len(runs) + k, seeds[k], url=proxy.url(login)) for k in range(3)]
            runs += batch
            wait(batch)
            injection.faults = proxy.cuts
    injection.add(judge(home, database_of(home), runs))


def test_runs_and_stores_that_are_killed_at_once_lose_nothing(home: Path, injection: Injection) -> None:
    """SIGKILL of runs and of the store at once."""
    runs: list[TinyRun] = []
    while injection.goes_on:
        batch = [start_tiny_run(home, len(runs) + k, injection.chance.randrange(2**32), epochs=15) for k in range(3)]
        runs += batch
        for run in batch:
            time.sleep(injection.chance.uniform(0, 1.5))
            if injection.chance.random() < 0.6 and run.process.exitcode is None:
                run.kill()
                injection.faults += 1
            if injection.chance.random() < 0.5:
                injection.faults += kill_store(home)
                EmbeddedStore(home).start()
        wait(batch)
    injection.add(judge(home, database_of(home), runs))


def test_disks_that_fill_or_turn_read_only_lose_nothing(home: Path, injection: Injection) -> None:
    """A disk that fills or turns read-only under a run."""
    runs: list[TinyRun] = []
    with small_disk(home / "runs", 3000):
        while injection.goes_on:
            batch = [start_tiny_run(home, len(runs) + k, injection.chance.randrange(2**32)) for k in range(2)]
            runs += batch
            time.sleep(injection.chance.uniform(0.5, 2.5))
            filling = home / "runs" / "filling"
            is_full = injection.chance.random() < 0.5
            if is_full:
                with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass
            else:
                subprocess.run(["mount", "-o", "remount,ro", home / "runs"], check=False, capture_output=True)
            injection.faults += sum(run.process.exitcode is None for run in batch)
            if injection.chance.random() < 0.5:
                wait(batch)
            else:
                time.sleep(injection.chance.uniform(0, 1))
            subprocess.run(["mount", "-o", "remount,rw", home / "runs"], check=True)
            filling.unlink(missing_ok=True)
            wait(batch)
            injection.add(judge(home, database_of(home), batch))


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _flip(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


def _zero(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


def _scatter(content: bytes, chance: random.Random) -> bytes:
    for _ in range(20):
        content = _flip(content, chance)
    return content


SPOILS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _flip, _zero, _scatter)


def test_damaged_records_keep_back_no_other(home: Path, injection: Injection) -> None:
    """A record damaged on the disk."""
    database, number = database_of(home), 0
    while injection.goes_on:
        records = [left_behind(home, database, number + k) for k in range(1, 11)]
        number += len(records)
        spoiled = injection.chance.sample(records, 5)
        kept: dict[Path, bytes] = {}
        for record in spoiled:
            path = record.folder / injection.chance.choice(("record.json", "record.json", "metrics.jsonl"))
            content = injection.chance.choice(SPOILS)(path.read_bytes(), injection.chance)
            path.write_bytes(content)
            kept[path] = content
            injection.faults += 1
        results = list(sync(home, database))
        losses = [r.message for r in results if r.outcome not in ("delivered", "damaged")]
        for record in records:
            stored = Runs(database).get(record.run_id)
            if record not in spoiled:
                whole = stored.metrics()["training.loss"].to_dict() == {1: 1.0, 2: 0.5}
                losses += [] if whole and stored.artifact("notes.txt") == b"as it was" else [f"run {stored.run_id}"]
            aside = home / "damaged" / record.folder.name
            for path, content in kept.items():
                if path.parent == record.folder and aside.exists() and (aside / path.name).read_bytes() != content:
                    losses.append(f"{path} was changed")
            losses += [f"run {stored.run_id} is {stored.status}"] if stored.document["status"] == "RUNNING" else []
        whole_ones = len(records) - len(spoiled)
        injection.add(Verdict(runs=len(records), points=4 * whole_ones, artifacts=whole_ones, losses=losses))
        shutil.rmtree(home / "damaged", ignore_errors=True)


def everything(database: Any) -> dict[str, list[Any]]:
    found = {name: list(database[name].find().sort("_id")) for name in sorted(database.list_collection_names())}
    return {name: documents for name, documents in found.items() if documents}


def test_damaged_and_crafted_backups_change_nothing(home: Path, tmp_path: Path, injection: Injection) -> None:
    """A backup damaged or crafted."""
    database = database_of(home)
    for run_id in range(1, 6):
        left_behind(home, database, run_id)
    list(sync(home, database))
    whole, spoiled = tmp_path / "whole.zip", tmp_path / "spoiled.zip"
    back_up(database, whole)
    other = database_of(tmp_path / "other" / "home")
    try:
        while injection.goes_on:
            before = everything(other)
            if injection.chance.random() < 0.4:
                collection, change = CRAFTED[injection.chance.choice([n for n in CRAFTED if "large" not in n])]
                with contextlib.suppress(IndexError):  # there is no document of this kind to change
                    craft(whole, spoiled, collection, change)
            else:
                spoiled.write_bytes(injection.chance.choice(SPOILS)(whole.read_bytes(), injection.chance))
            injection.faults += 1
            losses = []
            try:
                restore(other, spoiled)
                if everything(other).keys() < everything(database).keys():
                    losses.append("restored, but not all of it")
                for name in other.list_collection_names():
                    other[name].delete_many({})
            except OdenetError as error:
                if everything(other) != before:
                    losses.append(f"changed by what was refused: {error}")
            injection.add(Verdict(losses=losses))
    finally:
        EmbeddedStore(tmp_path / "other" / "home").stop()
