"""A run's record on this machine's disk: the truth, of which the store's copy is made.

Everything that a run reports is here before it is sent, so what the store misses while it is away, or when the run is
killed, is delivered later by `odenet sync`. Delivery makes the store equal to the record and may be repeated.

    <home>/runs/<id>-<uid>/
        record.json      the run's document and the files to send with it, replaced in one step
        metrics.jsonl    one line a point, appended
        files/           content of the artifacts
        lock             held by the process that runs it, for as long as it lives
        checkpoint.pt    see pipeline.training
"""

import fcntl
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from bson import ObjectId, json_util
from pymongo.database import Database
from pymongo.errors import PyMongoError

from pipeline.tracking.gridfs import put_file
from pipeline.util.errors import OdenetError
from pipeline.util.files import append, write_whole

CAPTURED_OUTPUT_LIMIT = 2_000_000
"""Characters of console output kept; a MongoDB document ends at 16 MB."""


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

    # Writing

    @classmethod
    def create(cls, folder: Path, document: dict[str, Any]) -> "Record":
        """A new record, whose lock this process holds until it ends.

        Raises:
            OSError: the folder cannot be written; nothing is left of it.
        """
        folder.mkdir(parents=True)
        record = cls(folder, document, [])
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
        """The record of a run that the store has in full, for a process that goes on with it."""
        # Tags and notes are Omniboard's: what a person writes there while the run goes on stays.
        files = [
            {"id": artifact["file_id"], "name": artifact["name"], "content_type": "", "sent": True}
            for artifact in document["artifacts"]
        ]
        record = cls(folder, {key: value for key, value in document.items() if key != "omniboard"}, files)
        record._open()
        for series in database.metrics.find({"run_id": document["_id"]}):
            for step, value, at in zip(series["steps"], series["values"], series["timestamps"], strict=True):
                record._note_point(series["name"], step, value, at, series["_id"])
        record._save()
        return record

    @property
    def run_id(self) -> int:
        return int(self.document["_id"])

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
        with self._mutex:
            for name, value in values.items():
                if name not in self._series or step not in self._series[name].points:
                    self._note_point(name, step, value, timestamp)
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

    def _open(self) -> None:
        (self.folder / "files").mkdir(parents=True, exist_ok=True)
        self._lock_file = (self.folder / "lock").open("w")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _save(self) -> None:
        if self._unwritten:  # also those that a full disk or an interruption kept from it
            lines = "".join(f"\n{line}" for line in self._unwritten)  # in front: a torn line spoils no other
            append(self.folder / "metrics.jsonl", lines.encode())
            self._unwritten.clear()
        content = json_util.dumps({"document": self.document, "files": self._files}).encode()
        write_whole(self.folder / "record.json", content)

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
        point = {"id": self._series[name].id, "name": name, "step": step, "value": value, "at": timestamp}
        self._unwritten.append(json_util.dumps(point))

    # Reading

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """The record that an earlier process left in `folder`.

        Raises:
            FileNotFoundError: it has been delivered.
            RecordError: it is damaged.
        """
        try:
            stored = json_util.loads((folder / "record.json").read_text())
            record = cls(folder, stored["document"], stored["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"the record {folder / 'record.json'} is damaged ({type(error).__name__}): "
                "put a whole copy in its place, or delete the folder"
            ) from error
        metrics = folder / "metrics.jsonl"
        for line in metrics.read_text().splitlines() if metrics.exists() else []:
            try:
                point = json_util.loads(line)
            except json.JSONDecodeError:  # torn by a kill or a full disk; or the empty first line
                continue
            record._add_point(point["name"], point["step"], point["value"], point["at"], point["id"])
        record._list_series()  # a kill may have come between the points and the document
        return record

    def metrics(self) -> dict[str, dict[str, list[Any]]]:
        """Metric -> its steps and values, in order."""
        return {
            name: {key: series.in_order()[key] for key in ("steps", "values")} for name, series in self._series.items()
        }

    # Delivering

    def deliver(self, database: Database[dict[str, Any]]) -> None:
        """Make the store's copy of the run equal to this record; what arrived before is not sent again.

        Raises:
            PyMongoError: the store refuses or is away; call again later.
        """
        for file in list(self._files):
            if not file["sent"]:
                content = (self.folder / "files" / str(file["id"])).read_bytes()
                filename = f"artifact://runs/{self.run_id}/{file['name']}"
                put_file(database, file["id"], filename, content, file["content_type"])
                file["sent"] = True
        with self._mutex:
            unsent = list(self._unsent_series)
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
            document = dict(self.document)
        run_id = document.pop("_id")
        # By uid, too: should another run have this number in what is now the store, it is not overwritten.
        database.runs.update_one({"_id": run_id, "uid": document["uid"]}, {"$set": document}, upsert=True)

    def discard(self) -> None:
        """Remove what was delivered; a checkpoint stays for `odenet resume`."""
        for name in ("record.json", "record.json.part", "metrics.jsonl"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        self.release()
        (self.folder / "lock").unlink(missing_ok=True)
        with suppress(OSError):  # there is a checkpoint
            self.folder.rmdir()

    def release(self) -> None:
        """Give up the lock: the run is over, its record may be delivered by anybody."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


class RecordError(OdenetError):
    """A record on disk that cannot be read."""


def run_folder(home: Path, document: Mapping[str, Any]) -> Path:
    """Where a run keeps its record and its checkpoint on this machine."""
    return home / "runs" / f"{document['_id']}-{document['uid'][:8]}"


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
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
