"""Sacred's events, written to a record on disk and delivered to the store from there."""

import logging
import mimetypes
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bson import encode
from bson.errors import BSONError
from pymongo.database import Database
from pymongo.errors import PyMongoError

from pipeline.plugins.loading import loaded_sources
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tracking import provenance
from pipeline.tracking.address import StoreError
from pipeline.tracking.board_entry import BOARD, board_entry
from pipeline.tracking.conditions import machine_now, software_now
from pipeline.tracking.delivery import DeliveryThread
from pipeline.tracking.entering import enter, refuse_id, take_up
from pipeline.tracking.environment import ENVIRONMENT_BEFORE, environment_of, put_environment
from pipeline.tracking.gridfs import put_bytes, put_texts
from pipeline.tracking.lean_sacred import RunObserver, flatten
from pipeline.tracking.metric_lines import Point, check_point
from pipeline.tracking.record import Record
from pipeline.tracking.reported_values import MOST_BYTES, ReportedValues
from pipeline.tracking.run_document import (
    FORMAT,
    OF_A_FAILURE,
    PLUGINS_BEFORE,
    RunStatus,
    metric_entry,
    plugins_of,
)
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.stop_request import STOP_REQUEST
from pipeline.tracking.storable import storable_text
from pipeline.tracking.store import connect, insist, store_address, store_uid
from pipeline.util import paths
from pipeline.util.errors import InvalidInput, brief
from pipeline.util.plain_values import plain

log = logging.getLogger("odenet")

LAST_PATIENCE_SECONDS = 10.0
"""How long the end of a run waits for a store that is away."""
_RESULT = MetricSpec("test.result", "result", "what the experiment returned")
RESULT_ALONE = {"metrics": [metric_entry(_RESULT)], "result": _RESULT.name}


class StoreObserver(RunObserver):
    """Writes a run so that Omniboard and `pipeline.runs.query` can read it, and loses nothing on the way.

    In contrast to Sacred's own observer it never drops out of a run, stores an unchanged source file once, and leaves
    what it cannot deliver on disk for `odenet sync`.
    """

    priority = 30

    def __init__(
        self,
        home: Path | None = None,
        resumed: Mapping[str, Any] | None = None,
        info: Mapping[str, Any] | None = None,
        experiment: Mapping[str, Any] | None = None,
        annotations: Mapping[str, Any] | None = None,
        workers: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Observe a new run, or go on with the one whose stored document is `resumed`.

        Args:
            home: the folder of the run's record, until the store has it; `ODENET_HOME` without it.
            info: what a new run's info holds from its first moment; what Sacred is given arrives with its heartbeat.
            experiment: further entries of the document's `experiment`: `task`, `metrics`, `result`. Without them the
                experiment is none of a task, and has its result alone to show.
            annotations: what a new run has that people may change: `name`, `tags` and `notes`.
            workers: the processes that train together, where these are several: `provenance.worker_facts` of each.
        """
        self._experiment = dict(experiment or {})
        self._info = flatten(dict(info or {}))
        self._annotations = dict(annotations or {})
        self._workers = {"workers": [dict(worker) for worker in workers]} if workers else {}
        self._home = home or paths.home()
        self._resumed = resumed
        self._earlier_output = resumed["captured_out"] if resumed else ""
        self._delivery: DeliveryThread | None = None
        self._talking = threading.RLock()
        """Held while Sacred tells something: its heartbeat has a thread, for whose end it waits two seconds."""
        self._is_closed = False
        self._told_repeated: set[str] = set()
        self._reported = ReportedValues(0)

    @property
    def is_resuming(self) -> bool:
        """Whether the run goes on where an earlier process left it."""
        return self._resumed is not None

    @property
    def was_complete(self) -> bool:
        """Whether the run goes on though it had come to its end."""
        return self._resumed is not None and self._resumed["status"] == RunStatus.COMPLETED.value

    @property
    def has_started(self) -> bool:
        """Whether a run has been entered in the store."""
        return self._delivery is not None

    @property
    def record(self) -> Record:
        """The record of the run that has started, also after its end."""
        return self._started.record

    @property
    def named_document(self) -> dict[str, Any]:
        """The record's document with the name, tags and notes that the run began with, which only the store has."""
        marks = self._resumed.get("omniboard", {}) if self._resumed else self._annotations
        return {**self.record.document, "omniboard": marks}

    @property
    def _started(self) -> DeliveryThread:
        if self._delivery is None:
            raise RuntimeError("no run has started")
        return self._delivery

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether somebody has asked in the store, since the run began or was resumed, that it stops."""
        before = self._resumed.get(STOP_REQUEST) if self._resumed else None
        return self.record.stop_request not in (None, before)

    # What the experiment reports

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """One point for each metric: on disk when this returns, at the store soon after.

        Sacred hands metrics out with its heartbeat only, and a killed process would lose the last ones.
        """
        self._keep(lambda: self.record.add_metrics(epoch, metrics))

    def log_points(self, points: Sequence[Point]) -> None:
        """Points of any metrics, written to the disk together."""
        self._keep(lambda: self.record.add_points(points))

    def add_artifact(self, name: str, content: bytes) -> None:
        """A file of the run's, by content.

        Raises:
            OSError: the disk is full.
        """
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.record.add_artifact(name, content, content_type)
        self._started.notify()

    def update_info(self, values: Mapping[str, Any]) -> None:
        """Set entries of the run's info; of one that cannot be recorded, or becomes a pickle in it, that is said."""
        flat = self._reported.flat(values, "info.")
        self._keep(lambda: self.record.update_info(flat))

    # Sacred's events

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: int | None,
    ) -> int:
        """Enter the run in the store, which must be there now; nothing of a run that cannot start is left.

        Raises:
            StoreError: the store or the home folder does not take it.
            InvalidInput: the configuration is too large or holds a value that cannot be stored, or the run was given an
                id.
        """
        # Of a run before, which this object may have recorded.
        self._delivery, self._is_closed, self._told_repeated = None, False, set()
        if _id is not None and type(_id) is not int:
            refuse_id(_id)
        address = store_address()
        database = connect(address)
        where = address.redacted()
        try:
            described = insist(lambda: _describe_experiment(ex_info, database))
            values = {
                "format": FORMAT,
                "experiment": described | (self._experiment or RESULT_ALONE),
                "command": command,
                "host": dict(host_info) | {"machine": provenance.machine()} | self._workers,
                "config": flatten(config),
                "meta": flatten(meta_info),
                "status": RunStatus.RUNNING.value,
                "heartbeat": start_time,
            }
            self._reported = ReportedValues(_size_of(values["config"]))
            if self._resumed is None:
                new = {
                    "uid": uuid.uuid4().hex,
                    "store": where,
                    "store_uid": insist(lambda: store_uid(database)),
                    "start_time": start_time,
                    "resources": [],
                    "artifacts": [],
                    "captured_out": "",
                    "info": self._info,
                    "result": None,
                }
                new |= values
                record = enter(new | {BOARD: board_entry(new)}, self._annotations, _id, self._home, database)
            else:
                record = self._reopen(self._resumed, values, start_time, database)
        except PyMongoError as error:
            raise StoreError(
                f"The store at {where} could not take a new run ({type(error).__name__}); try again."
            ) from error
        except (OverflowError, UnicodeEncodeError, BSONError) as error:
            raise InvalidInput(f"the configuration cannot be stored: {error}") from error
        except OSError as error:
            raise StoreError(
                f"The run's record cannot be written in {self._home} ({error.strerror}); "
                "set that right, or name another folder in ODENET_HOME."
            ) from error
        self._delivery = DeliveryThread(record, database, where)
        if changes := provenance.uncommitted_changes():
            self.add_artifact("uncommitted.diff", changes.encode())
        run_id: int = record.run_id
        return run_id

    def queued_event(self, *_: object, **__: object) -> None:
        """Nothing waits in a queue here.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput("runs are not queued: leave Sacred's --queue out, and the run begins at once")

    def heartbeat_event(self, info: dict[str, Any], captured_out: str, beat_time: datetime, result: Any) -> None:
        with self._talking:
            if not self._is_closed:
                self._beat(info, captured_out, beat_time, result)

    def _beat(self, info: dict[str, Any], captured_out: str, beat_time: datetime, result: Any) -> None:
        if info:
            self.update_info(info)
        values = {"captured_out": self._earlier_output + captured_out, "heartbeat": beat_time}
        if result is not None:
            values |= self._reported.flat({"result": result})
        self._keep(lambda: self.record.update(values))

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        ended = {"status": RunStatus.COMPLETED.value, "stop_time": stop_time, "result": None}
        self._end(ended | self._reported.flat({"result": result}))

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        self._end({"status": status, "stop_time": interrupt_time})

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        self._end({"status": RunStatus.FAILED.value, "stop_time": fail_time, "fail_trace": fail_trace})

    def artifact_event(self, name: str, filename: str, metadata: Any = None, content_type: Any = None) -> None:  # noqa: ARG002
        # Sacred would hand nothing more of the run to an observer that fails once, and takes names of any type.
        try:
            path = Path(os.fsdecode(filename))
            name = os.fsdecode(name) if isinstance(name, bytes) else str(name)
            self.add_artifact(name or path.name, path.read_bytes())
        except Exception as error:
            reason = getattr(error, "strerror", None) or error
            said = "the artifact %s is left out: %s cannot be read or kept (%s)"
            log.warning(said, storable_text(str(name)), storable_text(str(filename)), reason)

    def log_metrics(self, metrics_by_name: dict[str, dict[str, list[Any]]], info: dict[str, Any]) -> None:  # noqa: ARG002
        with self._talking:
            points = _storable_points(metrics_by_name)
            if self._is_closed:
                log.warning("%d points of metrics came behind the end of the run and are not recorded", len(points))
                return
            self._tell_repeated(points)
            self._keep(lambda: self.record.add_points(points))

    def _tell_repeated(self, points: Sequence[Point]) -> None:
        """Of each metric once: a series has one value a step, the first."""
        known: dict[tuple[str, Any], Any] = {}
        for name, step, value, _ in points:
            first = known.setdefault((name, step), self.record.value(name, step, value))
            is_other = first != value and not (first != first and value != value)  # of two that are no number neither
            if is_other and name not in self._told_repeated:
                self._told_repeated.add(name)
                said = "%s has a value at step %s already, which stays: give each value a step of its own"
                log.warning(said, name, brief(step))

    def join(self) -> None:
        """Wait for the delivery; what the store does not take stays on disk."""
        if self._delivery is None:
            return
        delivery, record = self._delivery, self.record
        with self._talking:  # Sacred waits two seconds for what it tells of metrics
            self._deliver_all(delivery, record)
            self._is_closed = True

    def _deliver_all(self, delivery: DeliveryThread, record: Record) -> None:
        try:
            delivered = delivery.finish(LAST_PATIENCE_SECONDS)
        except KeyboardInterrupt:  # nobody wants to wait; the run itself is over
            delivered = False
        if delivered:
            try:
                record.discard()
            except OSError as error:
                log.warning(
                    "run %s is in the store, but its record %s cannot be removed (%s): `odenet sync` does it later",
                    record.run_id,
                    record.folder,
                    error.strerror,
                )
        else:
            record.release()
            log.error("%s", _undelivered(delivery))
        delivery.database.client.close()

    def _reopen(
        self, document: Mapping[str, Any], values: Mapping[str, Any], now: datetime, database: Database[dict[str, Any]]
    ) -> Record:
        """The run's record on disk again, with its metrics and artifacts, and its document as that of a live run."""
        goes_on: dict[str, Any] = {"stop_time": None, "fail_trace": None, "result": None}
        info = document.get("info") or {}
        ended_by = {key: info[key] for key in OF_A_FAILURE if info.get(key) is not None}
        if ended_by:
            goes_on["info"] = {**info, **dict.fromkeys(ended_by)}
        session = {
            "time": now,
            "status_before": document["status"],
            "ended_before": document.get("stop_time") or document.get("heartbeat"),
            **{f"{key}_before": why for key, why in ended_by.items()},
            "machine_before": machine_now(document),
            "software_before": software_now(document),
            ENVIRONMENT_BEFORE: environment_of(document),
            PLUGINS_BEFORE: document["experiment"].get("plugins", []),
            "uid": uuid.uuid4().hex,
        }
        if environment_of(document) != environment_of(values) or plugins_of(document) != plugins_of(values):
            log.warning(
                "the sources, plug-ins or packages here are not those with which run %s came so far; it has both",
                document["_id"],
            )
        changes = {**values, **goes_on, "resumed": [*document.get("resumed", []), session]}
        changes[BOARD] = board_entry({**document, **changes})
        return take_up(document, changes, run_folder(self._home, document), database)

    def _end(self, values: dict[str, Any]) -> None:
        with self._talking:
            self._note_end(values)

    def _note_end(self, values: dict[str, Any]) -> None:
        if self.has_started:  # otherwise it could not begin, and what hindered it is being told
            entry = board_entry(self.record.document | values)
            self._keep(lambda: self.record.update({**values, BOARD: entry}))

    def _keep(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            # The record is changed in memory all the same, and on its way to the store.
            log.warning("the record %s cannot be written: %s", self.record.folder, error)
        self._started.notify()


def _storable_points(metrics_by_name: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[Point]:
    """The points that Sacred hands out, but those that no series can hold, which are said."""
    points = []
    for name, series in metrics_by_name.items():
        for step, value, timestamp in zip(series["steps"], series["values"], series["timestamps"], strict=True):
            try:
                point = Point(name, plain(step), plain(value), timestamp)
                check_point(*point[:3])
            except Exception as error:
                said = "%s at step %s is left out: %s; log one number a step"
                log.warning(said, storable_text(str(name)), brief(step), error)
            else:
                points.append(point)
    return points


def _size_of(config: Mapping[str, Any]) -> int:
    """Bytes of a configuration.

    Raises:
        InvalidInput: it has no room in a run's document.
    """
    size = len(encode(config))
    if size > MOST_BYTES:
        raise InvalidInput(
            f"the configuration has {size / 1e6:.1f} MB, and a run has room for {MOST_BYTES / 1e6:.1f}: name a file in "
            "it in place of what the file holds"
        )
    return size


def _describe_experiment(ex_info: Mapping[str, Any], database: Database[dict[str, Any]]) -> dict[str, Any]:
    sources = {str(path.relative_to(provenance.ROOT)): path for path in provenance.source_files()}
    own = {name: Path(ex_info["base_dir"], name) for name, _ in ex_info["sources"]}
    sources |= {name: path for name, path in own.items() if path.is_file()}
    stored = put_texts(database, {name: path.read_bytes() for name, path in sources.items()})
    packages = provenance.installed_packages()
    return {
        "name": ex_info["name"],
        "base_dir": ex_info["base_dir"],
        "mainfile": ex_info["mainfile"],
        "environment": put_environment(database, stored, packages),
        "plugins": [
            {"spec": source.spec, "name": source.name, "file_id": put_bytes(database, source.name, source.content)}
            for source in loaded_sources()
        ],
        "repositories": provenance.repositories(),
    }


def _undelivered(delivery: DeliveryThread) -> str:
    """What becomes of the record of a run that is over."""
    record = delivery.record
    if delivery.is_removed:
        return (
            f"run {record.run_id} was removed from the store at {delivery.where} while it went on; its record is in "
            f"{record.folder}: delete that folder unless you want to keep it"
        )
    if not (record.folder / "record.json").is_file():
        return (
            f"the store at {delivery.where} has not taken all of run {record.run_id}, and the folder {record.folder} "
            "of its record is gone: what is not in the store is lost; leave ODENET_HOME in its place while runs go on"
        )
    return (
        f"the store at {delivery.where} has not taken all of run {record.run_id}; its record waits in "
        f"{record.folder}, and `odenet sync` delivers it"
    )
