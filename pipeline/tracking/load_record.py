"""Reading the record that an earlier process left on this machine's disk, damaged or not."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bson import ObjectId, encode, json_util
from bson.errors import BSONError

from pipeline.tracking.metric_lines import MetricSeries, is_torn, listed, point_of
from pipeline.tracking.record import Record, artifact_entries
from pipeline.util.errors import OdenetError

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


class RecordError(OdenetError):
    """A record on disk that cannot be read."""


def load_record(folder: Path, problems: list[str] | None = None, document: Mapping[str, Any] | None = None) -> Record:
    """The record that an earlier process left in `folder`.

    Args:
        problems: where given, what cannot be read is named there and left out, instead of refused.
        document: the run's own in the store, for a record whose document cannot be read.

    Raises:
        FileNotFoundError: it has been delivered.
        RecordError: it is damaged.
    """
    problem = _Problem(problems)
    try:
        stored = _read_stored(folder)
    except (*_DAMAGE, IsADirectoryError) as error:
        told = f"{folder / 'record.json'} is damaged ({_in_words(error)})"
        if document is None:
            raise RecordError(told) from error
        problem.found(told, error)
        stored = {"document": dict(document), "files": []}
    own = stored["document"]
    if document is not None:
        if any(own.get(key) != document.get(key) for key in _SAME_RUN):
            raise RecordError(f"{folder / 'record.json'} is of another run")
        own |= {key: document[key] for key in ("_id", "uid")}
    files = _whole_files(folder, stored["files"], problem)
    series = _read_series(folder / "metrics.jsonl", problem)
    if problems:
        own["artifacts"] = artifact_entries(files)
    own["info"] = own["info"] | {"metrics": listed(series)}  # a kill may have come between the points and the document
    record = Record(folder, own, files, series)
    record.is_entering = bool(stored.get("is_entering"))
    return record


class _Problem:
    """What is done about something that cannot be read: it is refused, or noted where there is a list for it."""

    def __init__(self, noted: list[str] | None) -> None:
        self.noted = noted

    def found(self, told: str, error: BaseException | None = None) -> None:
        if self.noted is None:
            raise RecordError(told) from error
        self.noted.append(told)


def _read_stored(folder: Path) -> dict[str, Any]:
    """The content of `record.json`: the document, the files to send and whether the run was about to be entered.

    Raises:
        one of _DAMAGE: it is not what `Record` writes.
    """
    stored: dict[str, Any] = json_util.loads((folder / "record.json").read_text("utf-8-sig"))
    document = stored["document"]
    for key, kind in _KINDS.items():
        if not isinstance(document[key], kind):
            raise TypeError(f"{key} is {type(document[key]).__name__}")
    for file in stored["files"]:
        if not (isinstance(file["id"], ObjectId) and isinstance(file["name"], str) and isinstance(file["sent"], bool)):
            raise TypeError("a file's entry is damaged")
    for artifact in document["artifacts"]:
        if not (isinstance(artifact["file_id"], ObjectId) and isinstance(artifact["name"], str)):
            raise TypeError("an artifact's entry is damaged")
    encode(document)  # which raises what the store would refuse
    return stored


def _whole_files(folder: Path, files: Sequence[dict[str, Any]], problem: _Problem) -> list[dict[str, Any]]:
    """The files whose content is in the store or here."""
    whole = []
    for file in files:
        if file["sent"] or (folder / "files" / str(file["id"])).is_file():
            whole.append(file)
        else:
            problem.found(f"the content of {file['name']} is missing from {folder / 'files'}")
    return whole


def _read_series(path: Path, problem: _Problem) -> dict[str, MetricSeries]:
    """Metric -> its series, from the lines of their points."""
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except IsADirectoryError as error:
        problem.found(f"{path} is a folder", error)
        lines = []
    series: dict[str, MetricSeries] = {}
    names: dict[ObjectId, str] = {}
    for number, line in enumerate(lines, start=1):
        if is_torn(line):
            continue
        try:
            point, series_id = point_of(line)
        except _DAMAGE as error:
            problem.found(f"line {number} of {path} is damaged ({_in_words(error)})", error)
            continue
        if names.setdefault(series_id, point.name) != point.name and point.name not in series:
            problem.found(f"line {number} of {path}: the series {names[series_id]} and {point.name} have one id")
            series_id = ObjectId()
        series.setdefault(point.name, MetricSeries(series_id)).points[point.step] = (point.value, point.at)
    return series


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
