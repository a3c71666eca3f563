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

import logging
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from bson import ObjectId, json_util
from pymongo.database import Database

from pipeline.tracking.gridfs import UNCLAIMED_AGE, put_file, remove_file
from pipeline.tracking.liveness import by_the_stores_clock
from pipeline.tracking.metric_lines import MetricSeries, Point, check_point, listed, metric_line
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.run_folder import is_lock_of, lock_folder
from pipeline.tracking.stop_request import STOP_REQUEST
from pipeline.tracking.storable import storable, storable_text
from pipeline.util.errors import OdenetError
from pipeline.util.files import PRIVATE_FOLDER, append, private_folder, write_whole

LOCK_PATIENCE_SECONDS = 1.0
log = logging.getLogger("odenet")

CAPTURED_OUTPUT_LIMIT = 2_000_000
"""Characters of console output kept; a MongoDB document ends at 16 MB."""

MOST_POINTS = 300_000
"""Of a metric: a series is one document, too."""

OTHERS = ("omniboard", STOP_REQUEST)
"""Entries of a run's document that people set while it goes on."""


class Record:
    """The document, metrics and artifacts of one run; safe to use from several threads."""

    def __init__(
        self,
        folder: Path,
        document: dict[str, Any],
        files: list[dict[str, Any]],
        series: Mapping[str, MetricSeries] | None = None,
    ) -> None:
        self.folder = folder
        self.document = document
        self._files = files
        self._series = dict(series or {})
        self._unsent_series = set(self._series)
        self._replaced: list[dict[str, Any]] = []
        """Files of this process's for which there are others now, and which the store may have."""
        self._told_full: set[str] = set()
        self._unwritten: list[str] = []
        self._mutex = threading.RLock()
        self._lock_file: IO[str] | None = None
        self.is_entering = False
        """Whether the run is about to be entered in the store, or to go on, of which the store may know nothing."""
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
        """The record of a run that the store has in full, for a process that goes on with it if the store lets it.

        Raises:
            OSError: the folder cannot be written; BlockingIOError where another process is at work on the run.
        """
        # What people write while the run goes on stays: tags and notes, which are Omniboard's, and who asks it to end.
        files = [
            {"id": artifact["file_id"], "name": artifact["name"], "content_type": "", "sent": True}
            for artifact in document["artifacts"]
        ]
        record = cls(folder, {key: value for key, value in document.items() if key not in OTHERS}, files)
        record.is_entering = True
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
        """The store has taken the run, or that it goes on."""
        with self._mutex:
            self.is_entering = False
            self._save()

    def update(self, values: Mapping[str, Any]) -> None:
        """Set top-level entries of the run's document."""
        with self._mutex:
            self.document.update(storable(values))
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
        """Add points of any series that has room, written together; one that is there already stays as it is."""
        for point in points:
            if not isinstance(point.name, str):
                raise TypeError(f"the metric's name is a {type(point.name).__name__} and no text")
        with self._mutex:
            for point in (point._replace(name=storable_text(point.name)) for point in points):
                known = self._series[point.name].points if point.name in self._series else {}
                if len(known) >= MOST_POINTS:
                    self._tell_full(point.name)
                elif point.step not in known:
                    self._note_point(*point)
            self._list_series()
            self._save()

    def add_artifact(self, name: str, content: bytes, content_type: str) -> None:
        """Add a file, or replace the one of the same name."""
        file_id, name = ObjectId(), storable_text(name)
        with self._mutex:
            write_whole(self.folder / "files" / str(file_id), content)
            entry = {"id": file_id, "name": name, "content_type": content_type, "sent": False}
            replaced = [file for file in self._files if file["name"] == name and self._content(file).is_file()]
            self._files = [file for file in self._files if file["name"] != name] + [entry]
            self.document["artifacts"] = artifact_entries(self._files)
            self._save()
            self._replaced += replaced
            for file in replaced:  # a script may keep its checkpoint in each epoch
                self._content(file).unlink(missing_ok=True)

    def _set_info(self, values: Mapping[str, Any]) -> None:
        # A new dictionary: the delivery may be sending the old one.
        self.document["info"] = self.document["info"] | storable(values)

    def _tell_full(self, name: str) -> None:
        if name not in self._told_full:
            self._told_full.add(name)
            log.warning("%s has %d points, and no more are recorded: log every n-th step", name, MOST_POINTS)

    def _list_series(self) -> None:
        """As Omniboard finds them."""
        self._set_info({"metrics": listed(self._series)})

    def _content(self, file: Mapping[str, Any]) -> Path:
        return self.folder / "files" / str(file["id"])

    def _open(self) -> None:
        private_folder(self.folder / "files")
        self._lock_file = lock_folder(self.folder, LOCK_PATIENCE_SECONDS)

    def _save(self) -> None:
        self.document["revision"] = revision(self.document) + 1
        if self._lock_file is not None and not is_lock_of(self._lock_file, self.folder):
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
        self.document["artifacts"] = artifact_entries(self._files)
        lost_files = f", but for {', '.join(file['name'] for file in gone)}" if gone else ""
        log.warning("the folder %s was deleted under run %s: it is made anew%s", self.folder, self.run_id, lost_files)
        self._unwritten = [
            metric_line(name, series.id, step, value, at)
            for name, series in self._series.items()
            for step, (value, at) in series.points.items()
        ]

    def _add_point(
        self, name: str, step: int, value: float, timestamp: datetime, series_id: ObjectId | None = None
    ) -> None:
        series = self._series.setdefault(name, MetricSeries(series_id or ObjectId()))
        series.points[step] = (value, timestamp)
        self._unsent_series.add(name)

    def _note_point(
        self, name: str, step: int, value: float, timestamp: datetime, series_id: ObjectId | None = None
    ) -> None:
        """Add a point that is to be written to the disk as well."""
        check_point(name, step, value)  # before anything notes it
        self._add_point(name, step, value, timestamp, series_id)
        self._unwritten.append(metric_line(name, self._series[name].id, step, value, timestamp))

    # Reading

    def metrics(self) -> dict[str, dict[str, list[Any]]]:
        """Metric -> its steps and values, in order."""
        return {
            name: {key: series.in_order()[key] for key in ("steps", "values")} for name, series in self._series.items()
        }

    def value(self, name: str, step: Any, otherwise: float | None = None) -> float | None:
        """What a metric has at a step; without a point there, `otherwise`."""
        series = self._series.get(name)
        return otherwise if series is None else series.points.get(step, (otherwise, None))[0]

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
            document["artifacts"] = artifact_entries(self._files)
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
                try:
                    content = self._content(file).read_bytes()
                except FileNotFoundError:
                    if file in self._files:
                        raise
                    continue  # it was replaced this moment
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
            except BaseException:  # also what cannot be encoded: nothing counts as sent that was not
                with self._mutex:
                    self._unsent_series.add(name)
                raise
        with self._mutex:
            # What the store says itself of a run that went on, it alone changes.
            document = {key: value for key, value in self.document.items() if key not in ("_id", "heard")}
            replaced, self._replaced = self._replaced, []
        change: dict[str, Any] = {"$set": document}
        if is_alive and document.get("status") == RunStatus.RUNNING:
            change["$currentDate"] = {"heard": True}
        if database.runs.update_one(mine, change).matched_count == 0:
            raise NotInStore(f"the store has no run {self.run_id} of this record: it was removed there")
        for file in replaced:  # none of them has been stored for anybody else
            if file["sent"]:
                remove_file(database, file["id"], by_the_stores_clock() + UNCLAIMED_AGE)

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


class NotInStore(OdenetError):
    """A run that the store does not have: somebody has removed it, or the store is another one."""


def revision(document: Mapping[str, Any]) -> int:
    """How often the document was changed; 0 of one that earlier versions wrote."""
    number = document.get("revision", 0)
    return number if isinstance(number, int) else 0


def _is_older(own: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    if revision(own) != revision(stored):
        return revision(own) < revision(stored)
    return bool(own.get("status") == RunStatus.RUNNING and stored.get("status") != RunStatus.RUNNING)


def artifact_entries(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The run's files as its document names them."""
    return [{"name": file["name"], "file_id": file["id"]} for file in files]
