"""How the embedded store bears many runs: times of what people and runs ask it, at growing numbers of runs.

python -m benchmarks.store_scale --runs 1000 10000

One run is trained for real, for 30 epochs; the others are its copies with other configurations, results, times and
metrics, all with the one's files. Prints a table for docs/scale.md. Takes ten minutes and 500 MB in a temporary folder.
"""

import argparse
import copy
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from bson import ObjectId
from pymongo.database import Database
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.own_home import use_own_home
from pipeline.dashboard.board import Board, ensure_columns
from pipeline.runs.backup.create_backup import back_up
from pipeline.runs.filters import Filters
from pipeline.runs.garbage import find_garbage
from pipeline.runs.query import Runs
from pipeline.runs.summary import summaries
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect, next_run_id
from tests.helpers.browser import logged_in_page, missing

PATTERN = (
    *("run", "with", "odenet_simple", "digits", "data.subset=200", "model.channels=16"),
    *("solver.method=euler", "training.device=cpu", "training.patience=None", "training.max_epochs=30"),
)
DATA_SETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
STATUSES = {"COMPLETED": 92, "FAILED": 4, "INTERRUPTED": 3, "DIED": 1}
TRIALS = 50
"""Every so many runs are a sweep's."""
REPEATS = 5
PAGE_SECONDS = 120
Store = Database[dict[str, Any]]


def main() -> None:
    """Grow a store and measure at each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000], help="sizes, the smallest first")
    sizes = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        use_own_home(os.environ, home)
        subprocess.run([sys.executable, "-m", "odenet.main", *PATTERN], check=True, stdout=subprocess.DEVNULL)
        store = EmbeddedStore(home)
        database = connect(store.start())
        columns = []
        try:
            for size in sizes:
                grow(database, size)
                columns.append(dict(measure(database, store, size)))
                print(f"{size} runs: {columns[-1]}", file=sys.stderr, flush=True)
        finally:
            store.stop()
    print("| | " + " | ".join(f"{size:,} runs" for size in sizes) + " |")
    print("|---|" + "--:|" * len(sizes))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


def grow(database: Store, size: int) -> None:
    """Copies of run 1, until there are `size` runs."""
    (pattern,) = database.runs.find({"_id": 1})
    series = list(database.metrics.find({"run_id": 1}))
    for there in range(database.runs.count_documents({}), size, 100):
        copies = [_copy(pattern, series, next_run_id(database)) for _ in range(min(100, size - there))]
        database.runs.insert_many([document for document, _ in copies])
        database.metrics.insert_many([one for _, metrics in copies for one in metrics])


def _copy(pattern: Any, series: list[dict[str, Any]], run_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    chance = random.Random(run_id)  # noqa: S311 - nobody guesses these numbers
    metrics = [
        {**one, "_id": ObjectId(), "run_id": run_id, "values": [v * chance.uniform(0.9, 1.1) for v in one["values"]]}
        for one in series
    ]
    document = copy.deepcopy(dict(pattern))
    document |= {"_id": run_id, "uid": uuid.UUID(int=chance.getrandbits(128)).hex, "result": chance.random()}
    document["status"] = chance.choices(list(STATUSES), list(STATUSES.values()))[0]
    for moment in ("start_time", "stop_time", "heartbeat"):
        document[moment] += timedelta(minutes=10 * run_id)
    document["config"]["data"]["name"] = chance.choice(DATA_SETS)
    document["config"]["model"]["body"] = chance.choice(["odenet", "resnet"])
    document["config"]["training"]["lr"] = 10 ** chance.uniform(-4, -2)
    document["config"]["seed"] = run_id % 10
    document["info"]["metrics"] = [{"name": one["name"], "id": str(one["_id"])} for one in metrics]
    document["info"]["sweep"] = {"id": run_id // TRIALS, "trial": run_id % TRIALS, "phase": "search"}
    return document, metrics


def measure(database: Store, store: EmbeddedStore, size: int) -> Iterator[tuple[str, str]]:
    """What is asked, and how long the answer takes: medians."""
    runs = Runs(database)

    def listing(filters: Filters) -> Callable[[], object]:
        return lambda: summaries(runs, runs.find(filters, 20))

    trial = {"info.sweep.id": size // TRIALS - 1, "info.sweep.trial": 7, "info.sweep.phase": "search"}
    yield "`odenet runs`", _milliseconds(listing({}))
    yield "… `config.data.name=mnist`, a fifth of them", _milliseconds(listing({"config.data.name": "mnist"}))
    yield "… `status=FAILED`, 4 %", _milliseconds(listing({"status": "FAILED"}))
    yield "… `status=DIED`, 1 %", _milliseconds(listing({"status": "DIED"}))
    yield "… `status=COMPLETED`, 92 %", _milliseconds(listing({"status": "COMPLETED"}))
    yield "… `config.seed=3`, a tenth, without an index", _milliseconds(listing({"config.seed": 3}))
    yield "… `result>=0.99`, 1 %, without an index", _milliseconds(listing(["result>=0.99"]))
    yield "… `config.seed=99`, which none has", _milliseconds(listing({"config.seed": 99}))
    yield "`odenet show`", _milliseconds(lambda: runs.get(size // 2).to_dict())
    yield "a new run's id", _milliseconds(lambda: next_run_id(database))
    yield "the run of a sweep's trial, when it is resumed", _milliseconds(lambda: database.runs.find_one(trial))
    yield "`odenet gc --dry-run`", _milliseconds(lambda: find_garbage(database, store.folder.parent), repeats=1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.zip"
        yield "`odenet backup`", _milliseconds(lambda: back_up(database, file), repeats=1)
    if not missing():
        yield "Omniboard's first page", _first_page(database, store)
    status = store.status()
    yield "the store's server, in memory", f"{psutil.Process(status.pid).memory_info().rss / 1e6:.0f} MB"
    yield "the store on disk", f"{status.size_mb:.0f} MB"


def _milliseconds(ask: Callable[[], object], repeats: int = REPEATS) -> str:
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        ask()
        times.append(time.perf_counter() - before)
    seconds = statistics.median(times)
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _first_page(database: Store, store: EmbeddedStore) -> str:
    """From the request until the newest run is seen, in headless Chromium with an empty cache."""
    ensure_columns(database)
    newest = Runs(database).find(limit=1)[0].run_id
    times = []
    with Board(store.start(), port=9500) as board:
        for _ in range(REPEATS):
            profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            with profile as folder, logged_in_page(board, Path(folder)) as page:
                page.get("about:blank")
                before = time.perf_counter()
                page.get(board.url)
                shown = expected.visibility_of_element_located((By.XPATH, f"//*[@role='gridcell'][.='{newest}\u00a0']"))
                WebDriverWait(page, PAGE_SECONDS, poll_frequency=0.05).until(shown)
                times.append(time.perf_counter() - before)
    return f"{statistics.median(times):.1f} s"


if __name__ == "__main__":
    main()
