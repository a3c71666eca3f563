"""A run's record on this machine's disk: the truth, of which the store's copy is made.

Everything that a run reports is here before it is sent, so what the store misses while it is away, or when the run is
killed, is delivered later by `odenet sync`. Delivery adds the record to what the store has of the run, and may be
repeated. Every change has a number, `revision` in the document, by which a record that has become older than what the
store has is known.

    <home>/runs/<id>-<uid>/
        record.json      the run's document, the files to send with it and, until the store has taken the run,
                         `is_entering`; replaced in one step
        metrics.jsonl    one line a point, appended
        files/           content of the artifacts
        lock             held by the process that runs it, for as long as it lives
        checkpoint.pt    see pipeline.training
"""

import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from bson import ObjectId, encode, json_util
from bson.errors import BSONError
from pymongo.database import Database
from pymongo.errors import PyMongoError

from pipeline.tracking.gridfs import put_file
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.stop_request import STOP_REQUEST
from pipeline.util.errors import OdenetError
from pipeline.util.files import PRIVATE, PRIVATE_FOLDER, append, private_folder, write_whole

LOCK_PATIENCE_SECONDS = 1.0
log = logging.getLogger("odenet")

CAPTURED_OUTPUT_LIMIT = 2_000_000
"""Characters of console output kept; a MongoDB document ends at 16 MB."""


OTHERS = ("omniboard", STOP_REQUEST)
"""Entries of a run's document that people set while it goes on."""


class Point(NamedTuple):
    """A value of a metric."""

    name: str
    step: int
    value: float
    at: datetime


class Record:
    """The document, metrics and artifacts of one run; safe to use from several threads."""

    def __init__(self, folder: Path, document: dict[str, Any], files: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.document = document
        self._files = files
        self._series: dict[str, _Series] = {}
        self._unsent_series: set[str] = set()
        self._unwritten: list[str] = []
        self._mutex = threading.RLock()
        self._lock_file: IO[str] | None = None
        self.is_entering = False
        """Whether the run is about to be entered in the store, which may not have it."""
        self.stop_request: Any = None
        """Who asked the run to stop, as the store said when the record was last delivered."""

    # Writing

    @classmethod
    def create(cls, folder: Path, document: dict[str, Any], is_entering: bool = False) -> "Record":
        """A new record, whose lock this process holds until it ends.

        Raises:
            OSError: the folder cannot be written; nothing is left of it.
        """
        private_folder(folder.parent)
        folder.mkdir()
        folder.chmod(PRIVATE_FOLDER)
        record = cls(folder, document, [])
        record.is_entering = is_entering
        try:
            record._open()
            record._save()
        except BaseException:
            record.release()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return record

    @classmethod
    def reopen(cls, folder: Path, document: dict[str, Any], database: Database[dict[str, Any]]) -> "Record":
        """The record of a run that the store has in full, for a process that goes on with it.

        Raises:
            OSError: the folder cannot be written; BlockingIOError where another process is at work on the run.
        """
        # What people write while the run goes on stays: tags and notes, which are Omniboard's, and who asks it to end.
        files = [
            {"id": artifact["file_id"], "name": artifact["name"], "content_type": "", "sent": True}
            for artifact in document["artifacts"]
        ]
        record = cls(folder, {key: value for key, value in document.items() if key not in OTHERS}, files)
        record._open()
        try:
            for series in database.metrics.find({"run_id": document["_id"]}):
                for step, value, at in zip(series["steps"], series["values"], series["timestamps"], strict=True):
                    record._note_point(series["name"], step, value, at, series["_id"])
            record._save()
        except BaseException:
            record.discard()
            raise
        return record

    @property
    def run_id(self) -> Any:
        """A number, but for a run that somebody has given a name instead."""
        return self.document["_id"]

    def entered(self) -> None:
        """The store has taken the run."""
        with self._mutex:
            self.is_entering = False
            self._save()

    def update(self, values: Mapping[str, Any]) -> None:
        """Set top-level entries of the run's document."""
        with self._mutex:
            self.document.update(values)
            output = self.document.get("captured_out") or ""
            if len(output) > CAPTURED_OUTPUT_LIMIT:
                self.document["captured_out"] = f"[beginning cut]\n{output[-CAPTURED_OUTPUT_LIMIT:]}"
            self._save()

    def update_info(self, values: Mapping[str, Any]) -> None:
        """Set entries of the document's `info`, the others staying as they are."""
        with self._mutex:
            self._set_info(values)
            self._save()

    def add_metrics(self, step: int, values: Mapping[str, float], timestamp: datetime | None = None) -> None:
        """Add one point to each named series; a point that is there already, by its step, stays as it is."""
        timestamp = timestamp or datetime.now(UTC)
        self.add_points([Point(name, step, value, timestamp) for name, value in values.items()])

    def add_points(self, points: Sequence[Point]) -> None:
        """Add points of any series, written together; one that is there already stays as it is."""
        with self._mutex:
            for point in points:
                if point.name not in self._series or point.step not in self._series[point.name].points:
                    self._note_point(*point)
            self._list_series()
            self._save()

    def add_artifact(self, name: str, content: bytes, content_type: str) -> None:
        """Add a file, or replace the one of the same name."""
        file_id = ObjectId()
        with self._mutex:
            write_whole(self.folder / "files" / str(file_id), content)
            entry = {"id": file_id, "name": name, "content_type": content_type, "sent": False}
            self._files = [file for file in self._files if file["name"] != name] + [entry]
            self.document["artifacts"] = [{"name": file["name"], "file_id": file["id"]} for file in self._files]
            self._save()

    def _set_info(self, values: Mapping[str, Any]) -> None:
        # A new dictionary: the delivery may be sending the old one.
        self.document["info"] = self.document["info"] | dict(values)

    def _list_series(self) -> None:
        """As Omniboard finds them."""
        self._set_info({"metrics": [{"name": name, "id": str(series.id)} for name, series in self._series.items()]})

    def _content(self, file: Mapping[str, Any]) -> Path:
        return self.folder / "files" / str(file["id"])

    def _open(self) -> None:
        private_folder(self.folder / "files")
        self._lock_file = _lock(self.folder, LOCK_PATIENCE_SECONDS)

    def _save(self) -> None:
        self.document["revision"] = revision(self.document) + 1
        if self._lock_file is not None and not _is_lock_of(self._lock_file, self.folder):
            self._begin_folder_anew(self._lock_file)
        if self._unwritten:  # also those that a full disk or an interruption kept from it
            lines = "".join(f"\n{line}" for line in self._unwritten)  # in front: a torn line spoils no other
            append(self.folder / "metrics.jsonl", lines.encode())
            self._unwritten.clear()
        stored = {"document": self.document, "files": self._files}
        content = json_util.dumps(stored | ({"is_entering": True} if self.is_entering else {})).encode()
        write_whole(self.folder / "record.json", content)

    def _begin_folder_anew(self, lost: IO[str]) -> None:
        """Somebody has deleted the folder under the run: all that this process still knows is written once more."""
        self._open()
        lost.close()
        gone = [file for file in self._files if not (file["sent"] or self._content(file).is_file())]
        self._files = [file for file in self._files if file not in gone]
        self.document["artifacts"] = [{"name": file["name"], "file_id": file["id"]} for file in self._files]
        lost_files = f", but for {', '.join(file['name'] for file in gone)}" if gone else ""
        log.warning("the folder %s was deleted under run %s: it is made anew%s", self.folder, self.run_id, lost_files)
        self._unwritten = [
            _line(name, series.id, step, value, at)
            for name, series in self._series.items()
            for step, (value, at) in series.points.items()
        ]

    def _add_point(
        self, name: str, step: int, value: float, timestamp: datetime, series_id: ObjectId | None = None
    ) -> None:
        series = self._series.setdefault(name, _Series(series_id or ObjectId()))
        series.points[step] = (value, timestamp)
        self._unsent_series.add(name)

    def _note_point(
        self, name: str, step: int, value: float, timestamp: datetime, series_id: ObjectId | None = None
    ) -> None:
        """Add a point that is to be written to the disk as well."""
        self._add_point(name, step, value, timestamp, series_id)
        self._unwritten.append(_line(name, self._series[name].id, step, value, timestamp))

    # Reading

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """The record that an earlier process left in `folder`.

        Raises:
            FileNotFoundError: it has been delivered.
            RecordError: it is damaged.
        """
        return load_record(folder)

    def metrics(self) -> dict[str, dict[str, list[Any]]]:
        """Metric -> its steps and values, in order."""
        return {
            name: {key: series.in_order()[key] for key in ("steps", "values")} for name, series in self._series.items()
        }

    def last_step(self, name: str) -> int | None:
        """The highest step of a metric; None of one without a point."""
        series = self._series.get(name)
        return max(series.points) if series else None

    # Delivering

    def add_what_is_known(self, database: Database[dict[str, Any]], known: Mapping[str, Any]) -> bool:
        """Take in what the store has of the run and this record has not, before the record is delivered.

        Args:
            known: the run's document in the store.

        Returns:
            Whether the record is older than what the store has, which then says how it stands with the run.
        """
        is_older = _is_older(self.document, known)
        own, stored = dict(self.document), {key: value for key, value in known.items() if key != "omniboard"}
        below, above = (own, stored) if is_older else (stored, own)
        document = below | above
        document["info"] = (below.get("info") or {}) | (above.get("info") or {})
        document["revision"] = max(revision(own), revision(stored))
        with self._mutex:
            named = {file["name"] for file in self._files}
            theirs = list(stored.get("artifacts") or [])
            if is_older:
                named -= {artifact["name"] for artifact in theirs}
                self._files = [file for file in self._files if file["name"] in named]
            self._files = [
                *({"id": a["file_id"], "name": a["name"], "sent": True} for a in theirs if a["name"] not in named),
                *self._files,
            ]
            document["artifacts"] = [{"name": file["name"], "file_id": file["id"]} for file in self._files]
            self.document = document
            for series in database.metrics.find({"run_id": self.run_id}):
                for step, value, at in zip(series["steps"], series["values"], series["timestamps"], strict=False):
                    mine = self._series.get(series["name"])
                    if is_older or mine is None or step not in mine.points:
                        self._add_point(series["name"], step, value, at, series["_id"])
                if series["name"] in self._series:
                    self._series[series["name"]].id = series["_id"]
            self._list_series()
        return is_older

    def deliver(self, database: Database[dict[str, Any]], is_alive: bool = False) -> None:
        """Bring what is new in this record to the store's copy of the run; what arrived before is not sent again.

        Args:
            is_alive: the run goes on, which the store then marks with the time of its own clock.

        Raises:
            PyMongoError: the store refuses or is away; call again later.
            NotInStore: the store has no such run: it was removed, or this is another store.
        """
        with self._mutex:
            document = dict(self.document)
            unsent = list(self._unsent_series)
        # By uid, too: should another run have this number in what is now the store, it is not touched.
        mine = {"_id": document.pop("_id"), "uid": document["uid"]}
        there = database.runs.find_one(mine, {STOP_REQUEST: True})
        if there is None:
            raise NotInStore(f"the store has no run {self.run_id} of this record: it was removed there")
        self.stop_request = there.get(STOP_REQUEST)
        for file in list(self._files):
            if not file["sent"]:
                content = self._content(file).read_bytes()
                filename = f"artifact://runs/{self.run_id}/{file['name']}"
                put_file(database, file["id"], filename, content, file["content_type"])
                file["sent"] = True
        for name in unsent:
            with self._mutex:
                self._unsent_series.discard(name)
                series_id, points = self._series[name].id, self._series[name].in_order()
            try:
                database.metrics.update_one(
                    {"run_id": self.run_id, "name": name},
                    {"$set": points, "$setOnInsert": {"_id": series_id}},
                    upsert=True,
                )
            except PyMongoError:
                with self._mutex:
                    self._unsent_series.add(name)
                raise
        with self._mutex:
            # What the store says itself of a run that went on, it alone changes.
            document = {key: value for key, value in self.document.items() if key not in ("_id", "heard")}
        change: dict[str, Any] = {"$set": document}
        if is_alive and document.get("status") == RunStatus.RUNNING:
            change["$currentDate"] = {"heard": True}
        if database.runs.update_one(mine, change).matched_count == 0:
            raise NotInStore(f"the store has no run {self.run_id} of this record: it was removed there")

    def discard(self) -> None:
        """Remove what was delivered; a checkpoint stays for `odenet resume`.

        Raises:
            OSError: it cannot be removed, and is found again by `odenet sync`; the lock is given up.
        """
        try:
            for name in ("record.json", "record.json.part", "metrics.jsonl"):
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / "files", ignore_errors=True)
            (self.folder / "lock").unlink(missing_ok=True)
        finally:
            self.release()
        with suppress(OSError):  # there is a checkpoint
            self.folder.rmdir()

    def release(self) -> None:
        """Give up the lock: the run is over, its record may be delivered by anybody."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


class RecordError(OdenetError):
    """A record on disk that cannot be read."""


class NotInStore(OdenetError):
    """A run that the store does not have: somebody has removed it, or the store is another one."""


def load_record(folder: Path, problems: list[str] | None = None, document: Mapping[str, Any] | None = None) -> Record:
    """The record that an earlier process left in `folder`.

    Args:
        problems: where given, what cannot be read is named there and left out, instead of refused.
        document: the run's own in the store, for a record whose document cannot be read.

    Raises:
        FileNotFoundError: it has been delivered.
        RecordError: it is damaged.
    """
    try:
        record = _read_document(folder)
    except (*_DAMAGE, IsADirectoryError) as error:
        told = f"{folder / 'record.json'} is damaged ({_in_words(error)})"
        if problems is None or document is None:
            raise RecordError(told) from error
        problems.append(told)
        record = Record(folder, dict(document), [])
    if document is not None:
        if any(record.document.get(key) != document.get(key) for key in _SAME_RUN):
            raise RecordError(f"{folder / 'record.json'} is of another run")
        record.document |= {key: document[key] for key in ("_id", "uid")}
    whole = []
    for file in record._files:
        if file["sent"] or (folder / "files" / str(file["id"])).is_file():
            whole.append(file)
        elif problems is None:
            raise RecordError(f"the content of {file['name']} is missing from {folder / 'files'}")
        else:
            problems.append(f"the content of {file['name']} is missing")
    record._files = whole
    if problems:
        record.document["artifacts"] = [{"name": file["name"], "file_id": file["id"]} for file in whole]
    metrics = folder / "metrics.jsonl"
    try:
        lines = metrics.read_bytes().split(b"\n") if metrics.exists() else []
    except IsADirectoryError as error:
        if problems is None:
            raise RecordError(f"{metrics} is a folder") from error
        problems.append(f"{metrics} is a folder")
        lines = []
    names: dict[ObjectId, str] = {}
    for number, line in enumerate(lines, start=1):
        if _is_torn(line):
            continue
        try:
            name, step, value, at, series_id = _checked_point(json_util.loads(line.decode()))
            if names.setdefault(series_id, name) != name and name not in record._series:
                if problems is None:
                    raise ValueError(f"the series {names[series_id]} and {name} have one id")
                problems.append(f"line {number} of {metrics}: the series {names[series_id]} and {name} have one id")
                series_id = ObjectId()
            record._add_point(name, step, value, at, series_id)
        except _DAMAGE as error:
            told = f"line {number} of {metrics} is damaged ({_in_words(error)})"
            if problems is None:
                raise RecordError(told) from error
            problems.append(told)
    record._list_series()  # a kill may have come between the points and the document
    return record


def _read_document(folder: Path) -> Record:
    """The record without its points.

    Raises:
        one of _DAMAGE: it is not what `Record` writes.
    """
    stored = json_util.loads((folder / "record.json").read_text("utf-8-sig"))
    record = Record(folder, stored["document"], stored["files"])
    record.is_entering = bool(stored.get("is_entering"))
    document = record.document
    for key, kind in _KINDS.items():
        if not isinstance(document[key], kind):
            raise TypeError(f"{key} is {type(document[key]).__name__}")
    for file in record._files:
        if not (isinstance(file["id"], ObjectId) and isinstance(file["name"], str) and isinstance(file["sent"], bool)):
            raise TypeError("a file's entry is damaged")
    for artifact in document["artifacts"]:
        if not (isinstance(artifact["file_id"], ObjectId) and isinstance(artifact["name"], str)):
            raise TypeError("an artifact's entry is damaged")
    encode(document)  # which raises what the store would refuse
    return record


def _is_torn(line: bytes) -> bool:
    """Whether the line is the beginning of one, left by a kill or a full disk, or empty."""
    text = line.strip(b"\0\r ")
    return not text or (text.startswith(b"{") and not text.endswith(b"}") and b"\0" not in text)


_SAME_RUN = ("start_time", "config", "host")
"""What no two runs have alike, and damage to an id leaves as it was."""
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, BSONError, RecursionError)

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "_id": (int, str),
    "uid": str,
    "status": str,
    "store": str,
    "heartbeat": datetime,
    "info": dict,
    "artifacts": list,
    "config": dict,
    "experiment": dict,
}
"""What a record's document cannot be without."""


def _checked_point(point: Mapping[str, Any]) -> tuple[str, int, float, datetime, ObjectId]:
    name, step, value, at, series_id = (point[key] for key in ("name", "step", "value", "at", "id"))
    if not (isinstance(name, str) and isinstance(step, int) and isinstance(at, datetime)):
        raise TypeError("a name, a step or a time is of another type")
    if not (isinstance(value, int | float | None) and isinstance(series_id, ObjectId)):
        raise TypeError("a value or an id is of another type")
    encode({"name": name, "value": value, "step": step})
    return name, step, value, at, series_id  # type: ignore[return-value]  # None where a metric is not defined


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _line(name: str, series_id: ObjectId, step: int, value: float, at: datetime) -> str:
    return json_util.dumps({"id": series_id, "name": name, "step": step, "value": value, "at": at})


def revision(document: Mapping[str, Any]) -> int:
    """How often the document was changed; 0 of one that earlier versions wrote."""
    number = document.get("revision", 0)
    return number if isinstance(number, int) else 0


def _is_older(own: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    if revision(own) != revision(stored):
        return revision(own) < revision(stored)
    return bool(own.get("status") == RunStatus.RUNNING and stored.get("status") != RunStatus.RUNNING)


def run_folder(home: Path, document: Mapping[str, Any]) -> Path:
    """Where a run keeps its record and its checkpoint on this machine."""
    return home / "runs" / quote(f"{document['_id']}-{document['uid'][:8]}", safe="")


class _Series:
    """One metric: step -> (value, time)."""

    def __init__(self, series_id: ObjectId) -> None:
        self.id = series_id
        self.points: dict[int, tuple[float, datetime]] = {}

    def in_order(self) -> dict[str, list[Any]]:
        """The points by their steps, as they are stored."""
        points = sorted(self.points.items())
        return {
            "steps": [step for step, _ in points],
            "values": [value for _, (value, _) in points],
            "timestamps": [at for _, (_, at) in points],
        }


def waiting_records(home: Path) -> list[Path]:
    """Folders of the records on this machine that a store does not have in full, live runs' included."""
    return sorted(path.parent for path in (home / "runs").glob("*/record.json"))


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether no process is at work on the record; if so, this one holds its lock within, where there is a folder."""
    if not folder.is_dir():
        yield True
        return
    try:
        lock = _lock(folder)
    except BlockingIOError:
        yield False
        return
    except FileNotFoundError:  # the folder went this moment
        yield True
        return
    with lock:
        yield True


def is_locked(folder: Path) -> bool | None:
    """Whether a process is at work on the run of this folder; None where there is none, and so no telling."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False if folder.is_dir() else None
    except OSError:
        return None
    return False


def _lock(folder: Path, patience_seconds: float = 0.0) -> IO[str]:
    """The folder's lock, held until the file is closed.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be written.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        lock = os.fdopen(descriptor, "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # who only looks whether it is held lets go at once
            continue
        except BaseException:
            lock.close()
            raise
        if _is_lock_of(lock, folder):
            return lock
        lock.close()  # who held it has removed it, and it keeps nobody out any more


def _is_lock_of(lock: IO[str], folder: Path) -> bool:
    """Whether it is the folder's lock still."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat())
    except OSError:
        return False
