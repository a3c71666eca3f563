"""Runs that were written, read back: find, show, weights.

from pipeline.runs.query import Runs
runs = Runs()
runs.to_frame({"config.data.name": "digits"})
run = runs.get(3)
run.metrics()["validation.loss"].plot()
weights = run.weights()
"""

import difflib
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pymongo
from bson import ObjectId
from gridfs import GridFS
from gridfs.errors import CorruptGridFile, NoFile
from pymongo import DESCENDING
from pymongo.database import Database

from pipeline.runs.filters import Condition, Filters, combined, conditions, located
from pipeline.runs.portions import LISTING_SECONDS, PORTION, in_portions
from pipeline.tracking.environment import with_environment
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.readable import is_foreign, is_series, readable, unreadable
from pipeline.tracking.run_document import (
    RunInfo,
    RunStatus,
    is_of_task,
    refuse_reevaluation,
    refuse_sweep,
    task_of,
    whole_config,
)
from pipeline.tracking.store import connect, translate_store_errors
from pipeline.util.errors import LONGEST_VALUE, InvalidInput, OdenetError, brief, shortened
from pipeline.util.nested import flatten
from pipeline.util.plain_values import plain

if TYPE_CHECKING:  # torch and pandas take two seconds, which commands that only list or mark runs shall not
    import pandas as pd
    from torch import Tensor

_WITHOUT_BULK = {"captured_out": False, "experiment.sources": False, "experiment.dependencies": False}


class RunNotFound(InvalidInput):
    """No run has this id."""


class UnknownFormat(OdenetError):
    """A run that another version of this software, or another program, has written."""


class ArtifactError(OdenetError):
    """A file of a run that is missing or not what was stored."""


@dataclass(frozen=True, repr=False)
class StoredRun:
    """A run as the store has it."""

    document: Mapping[str, Any]
    database: Database[dict[str, Any]]

    def __repr__(self) -> str:
        return f"StoredRun({self.run_id}, {self.document['experiment']['name']}, {self.status}, result={self.result})"

    def _repr_html_(self) -> str:
        return RunList([self])._repr_html_()

    @property
    def run_id(self) -> Any:
        """A number; of a run that another program has recorded perhaps a text."""
        return self.document["_id"]

    @property
    def is_foreign(self) -> bool:
        """Whether another program has recorded it, such as Sacred's own observer: then it can be looked at, no more."""
        return is_foreign(self.document)

    @property
    def status(self) -> RunStatus:
        """DIED where the document says RUNNING and the heartbeat stopped without a word."""
        status = effective_status(self.document)
        if status is not RunStatus.DIED or self.document["status"] != RunStatus.RUNNING:
            return status
        # The document may have been read before the run ended, and its process looked for after.
        same = {"_id": self.run_id, "uid": self.document.get("uid")}
        with translate_store_errors():
            newer = self.database.runs.find_one(same, {"status": True})
        return status if newer is None or newer["status"] == RunStatus.RUNNING else RunStatus(newer["status"])

    @property
    def task(self) -> str:
        """The kind of experiment, as `classification`; of an evaluation that of the run that it evaluates."""
        return task_of(self.document)

    @property
    def config(self) -> Mapping[str, Any]:
        """The whole configuration, nested; `Config.from_dict(run.config)` parses it."""
        return dict(self.document["config"])

    @property
    def whole_config(self) -> Mapping[str, Any]:
        """The same flat and with the defaults of the keys that there were not yet when it was stored, to compare."""
        return whole_config(self.document)

    @property
    def result(self) -> float | None:
        """The first of its task's metrics on the test split: for classification the accuracy."""
        return self.document.get("result")

    @property
    def info(self) -> Mapping[str, Any]:
        """Parameters, data fingerprint, test scores, failure of a solve, … as they are stored."""
        return dict(self.document.get("info", {}))

    @property
    def facts(self) -> RunInfo:
        """The same by names."""
        return RunInfo.read(self.document)

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(artifact["name"] for artifact in self.document["artifacts"])

    def metrics(self) -> dict[str, "pd.Series[float]"]:
        """Every metric as a series, indexed by epoch; `step.*` by optimiser step, `machine.*` by second."""
        import pandas as pd

        return {
            name: pd.Series(points["values"], index=pd.Index(points["steps"], name="epoch"), name=name, dtype=float)
            for name, points in self.points().items()
        }

    def points(self) -> dict[str, dict[str, list[Any]]]:
        """Every metric as `{"steps": […], "values": […]}`; the steps are epochs, or as `metrics` says."""
        with translate_store_errors():
            series = self.database.metrics.find({"run_id": self.run_id}).sort("name")
            found = [one for one in series if is_series(one)]
        return {series["name"]: {"steps": series["steps"], "values": series["values"]} for series in found}

    def artifact(self, name: str) -> bytes:
        """The content of a file, verified against the sha256 that was stored with it.

        Raises:
            ArtifactError: there is no such file, or its content has changed.
        """
        for artifact in self.document["artifacts"]:
            if artifact["name"] == name:
                return self._read(name, artifact["file_id"])
        known = ", ".join(self.artifacts) or "none"
        raise ArtifactError(f"run {self.run_id} has no artifact {name}; it has {known}")

    def weights(self) -> dict[str, "Tensor"]:
        """The best weights, as `Network.load_state_dict` takes them; safetensors, so nothing is unpickled.

        Raises:
            ArtifactError: the run has none, or they are not those that it recorded.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        recorded = self.facts
        if recorded.weights is None:
            refuse_sweep(self.document)
            refuse_reevaluation(self.document)
            if not is_of_task(self.document):
                raise ArtifactError(f"run {self.run_id} has no weights: it is no training of a task")
            if self.status is RunStatus.RUNNING:
                raise ArtifactError(f"run {self.run_id} has no weights yet: they are stored when it ends")
            raise ArtifactError(f"run {self.run_id} has no weights: it ended ({self.status}) before they were stored")
        content = self.artifact(recorded.weights)
        if hashlib.sha256(content).hexdigest() != recorded.weights_sha256:
            raise ArtifactError(f"the weights of run {self.run_id} are not those that it recorded: do not use them")
        try:
            return load(content)
        except SafetensorError as error:
            raise ArtifactError(f"the weights of run {self.run_id} are no safetensors: do not use them") from error

    def to_row(self) -> dict[str, Any]:
        """The run as one flat row: status, result, times, tags, note, `config.*`, `info.*`."""
        return self._basics() | self._marks() | flatten(self.config, "config") | flatten(self._told(), "info")

    def to_dict(self) -> dict[str, Any]:
        """What `odenet show --json` prints: plain values."""
        return {
            **self._basics(),
            **self._marks(),
            "config": self.config,
            "info": self._told(),
            "metrics": self.points(),
            "artifacts": list(self.artifacts),
            "host": self.document["host"],
            "repositories": self.document["experiment"]["repositories"],
            "failure": self.document.get("fail_trace"),
        }

    def _basics(self) -> dict[str, Any]:
        times = {name: self.document.get(name) for name in ("start_time", "stop_time")}
        return {"run_id": self.run_id, "status": self.status.value, "result": self.result, **times}

    def _marks(self) -> dict[str, Any]:
        """What people have given it."""
        annotations = self.document.get("omniboard", {})
        return {
            "name": annotations.get("name"),
            "tags": annotations.get("tags", []),
            "note": annotations.get("notes"),
        }

    def _told(self) -> dict[str, Any]:
        """The info without what says to Omniboard where the metrics are."""
        return {key: value for key, value in self.info.items() if key != "metrics"}

    def _read(self, name: str, file_id: Any) -> bytes:
        with translate_store_errors():
            try:
                file = GridFS(self.database).get(file_id)
                content = file.read()
            except (NoFile, CorruptGridFile) as error:
                raise ArtifactError(f"the artifact {name} of run {self.run_id} is not whole in the store") from error
        if hashlib.sha256(content).hexdigest() != (file.metadata or {}).get("sha256"):
            raise ArtifactError(f"the artifact {name} of run {self.run_id} has been changed in the store")
        return content


class RunList(list[StoredRun]):
    """Runs that were found, newest first; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        from pipeline.runs.notebook import runs_html  # which is made of what lists are made of

        return runs_html(self)


class Runs:
    """The runs of a store: that of `ODENET_MONGO_URL`, or the embedded one.

    Raises:
        StoreError: it cannot be reached.
    """

    def __init__(self, database: Database[dict[str, Any]] | None = None) -> None:
        self.database = connect() if database is None else database
        self.left_out: dict[str, None] = {}
        """What could not be read of the runs that were asked for, a sentence each."""

    def get(self, run_id: Any) -> StoredRun:
        """One run, whole.

        Raises:
            RunNotFound: there is none with this id.
            UnknownFormat: it is not one that this version can read.
        """
        run_id = plain(run_id)  # a number of NumPy's, as from the index of a frame, is one of Python's
        with translate_store_errors():
            document = self.database.runs.find_one({"_id": run_id})
            if document is None and isinstance(run_id, str) and ObjectId.is_valid(run_id):
                document = self.database.runs.find_one({"_id": ObjectId(run_id)})  # as old versions of Sacred count
        if document is None:
            named = brief(run_id) if isinstance(run_id, str) else run_id
            raise RunNotFound(f"there is no run {named}; `odenet runs` lists those there are")
        if (reason := unreadable(document)) is not None:
            raise UnknownFormat(reason)
        with translate_store_errors():
            whole = with_environment(self.database, document)
        return StoredRun(readable(whole)[0], self.database)

    def find(self, filters: Filters = (), limit: int = 0) -> RunList:
        """The runs that meet `filters`, newest first, without console output and source lists.

        Runs of other programs are among them, with what could be read of them. Those that another version of this
        software has written are left out; `left_out` names both.

        Args:
            filters: words as the command line has them, `["result>=0.9", "data=digits", "since=2d"]`; or dotted path ->
                exact value, `{"config.model.body": "odenet", "status": "COMPLETED"}`.
            limit: at most so many; 0 for all.

        Raises:
            InvalidInput: a word that is no filter, a field that no run has, a value that nothing stored can equal.
        """
        with translate_store_errors():
            wanted = self._conditions(filters)
            matching = islice(self._matching(wanted, limit), limit or None)
            return RunList(StoredRun(document, self.database) for document in matching)

    def children(self, run_id: Any) -> list[tuple[Any, str]]:
        """The reruns and evaluations of a run, by id and kind; a sweep's trials are in its own record."""
        of_run = {"$or": [{"info.rerun_of": run_id}, {"info.parent": run_id}]}
        with translate_store_errors():
            found = self.database.runs.find(of_run, {"_id": True, "info.parent": True}).sort("_id")
            return [(child["_id"], "evaluation" if child.get("info", {}).get("parent") else "rerun") for child in found]

    def count(self) -> int:
        """How many runs the store has."""
        with translate_store_errors():
            return self.database.runs.estimated_document_count()

    def why_nothing(self, filters: Filters) -> str:
        """That no run matches, and what somebody probably meant; the newest runs tell which values there are."""
        with translate_store_errors():
            wanted = self._conditions(filters)
            found = [flatten(document) for document in islice(self._newest({}, PORTION), PORTION)]
        for condition in wanted:
            if condition.operator not in ("=", "is"):
                continue
            values = (document.get(condition.path) for document in found)
            there = {value for value in values if isinstance(value, str | int | float)}
            if (meant := _nearly(condition.value, there)) is not None:
                field = condition.word.partition("=")[0]
                return f"no run has {field}={brief(condition.value)}, and there is {field}={meant}"
        number = self.count()
        if not wanted and not number:
            return "there is no run in the store yet: `odenet run with odenet_simple digits` makes one"
        words = " ".join(condition.word for condition in wanted) or "that"
        return f"no run matches {shortened(words, LONGEST_VALUE)}; there are {number} runs in the store"

    def _matching(self, wanted: Sequence[Condition], limit: int) -> Iterator[dict[str, Any]]:
        query = combined([one.query() for one in wanted])
        for document in self._newest(query, min(limit, PORTION)) if limit else self._newest_first(query):
            if (reason := unreadable(document)) is not None:
                self.left_out[reason] = None
                continue
            filled, lacks = readable(document)
            if lacks:
                self.left_out[f"run {document['_id']} has no {', '.join(lacks)} that can be read"] = None
            if all(condition.holds(filled) for condition in wanted):
                yield filled

    def _conditions(self, filters: Filters) -> list[Condition]:
        wanted = conditions(filters)
        return wanted if isinstance(filters, Mapping) else located(wanted, self._is_stored)

    def _is_stored(self, path: str) -> bool:
        return self.database.runs.find_one({path: {"$exists": True}}, {"_id": True}) is not None

    def _newest(self, query: Mapping[str, Any], number: int) -> Iterator[dict[str, Any]]:
        """From the newest on, the first `number` with one question: mostly nobody reads further."""
        newest = self.database.runs.find(query, _WITHOUT_BULK).sort("_id", DESCENDING).limit(number)
        first = sorted(newest, key=_is_no_number)
        are_all = len(first) < number
        if not are_all and any(map(_is_no_number, first)):  # stores have these before numbers
            first = []
        yield from first
        if not are_all:
            there = {document["_id"] for document in first}
            yield from (document for document in self._newest_first(query) if document["_id"] not in there)

    def _newest_first(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """By the ids that there are: to sort whole documents, the embedded store would hold all of them in memory."""
        with pymongo.timeout(LISTING_SECONDS):
            there = self.database.runs.find(query, {"_id": True}).sort("_id", DESCENDING)
            ids = [document["_id"] for document in sorted(there, key=_is_no_number)]
        for start in range(0, len(ids), PORTION):
            portion = ids[start : start + PORTION]
            documents = self.database.runs.find({"_id": {"$in": portion}}, _WITHOUT_BULK)
            by_id = {document["_id"]: document for document in documents}
            yield from (by_id[run_id] for run_id in portion if run_id in by_id)

    def last_values(self, runs: Sequence[StoredRun], names: Sequence[str]) -> dict[Any, dict[str, float]]:
        """run id -> metric -> its last value, for the named metrics, and `epoch`, the last one."""
        last: dict[Any, dict[str, float]] = {run.run_id: {} for run in runs}
        ids, named = [run.run_id for run in runs], {"name": {"$in": list(names)}}
        only_last = {"values": {"$slice": -1}, "steps": {"$slice": -1}}
        with translate_store_errors():
            found = list(in_portions(self.database.metrics, "run_id", ids, only_last, where=named))
        for series in found:
            if series.get("values") and isinstance(series["values"][-1], int | float):
                values = last[series["run_id"]]
                values[series["name"]] = series["values"][-1]
                if series.get("steps") and isinstance(series["steps"][-1], int | float):
                    values["epoch"] = max(series["steps"][-1], values.get("epoch", 0))
        return last

    def to_frame(self, filters: Filters = ()) -> "pd.DataFrame":
        """One row a run, indexed by run id: status, result, times, `config.*`, `info.*`; filters as for `find`."""
        import pandas as pd

        rows = [run.to_row() for run in self.find(filters)]
        return pd.DataFrame(rows, columns=None if rows else ["run_id", "status", "result"]).set_index("run_id")


def _is_no_number(document: Mapping[str, Any]) -> bool:
    """Such runs come last: ids that are numbers count on."""
    return not isinstance(document["_id"], int | float)


def _nearly(value: Any, there: Collection[Any]) -> Any:
    """The value there is that differs in case, spelling or type alone."""
    if any(value == known for known in there):
        return None
    texts = {str(known).lower(): known for known in there if known is not None}
    matches = difflib.get_close_matches(str(value)[:LONGEST_VALUE].lower(), texts, n=1, cutoff=0.75)
    is_near = matches and (isinstance(value, str) or matches[0] == str(value).lower())
    return texts[matches[0]] if is_near else None
