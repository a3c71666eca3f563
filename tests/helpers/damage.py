"""Documents, records and backups as no program of ours writes them."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from bson import ObjectId, decode_all, encode

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_OURS: dict[str, Any] = {
    "format": "odenet-3",
    "uid": "0123456789abcdef0123456789abcdef",
    "status": "COMPLETED",
    "start_time": _NOW,
    "heartbeat": _NOW,
    "experiment": {"name": "classification", "sources": [], "dependencies": [], "repositories": []},
    "config": {
        "data": {"name": "digits"},
        "model": {"architecture": "simple", "body": "odenet", "blocks": 1},
        "seed": 0,
    },
    "host": {"hostname": "laboratory"},
    "info": {},
    "artifacts": [],
    "captured_out": "",
    "result": 0.5,
}

_ODD_METRIC = {"name": "test.loss", "heading": "loss", "says": "loss", "format": [None]}


def _changed(**changes: Any) -> dict[str, Any]:
    return _OURS | changes


def _without(key: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in _changed(**changes).items() if name != key}


STRANGE_DOCUMENTS: dict[str, dict[str, Any]] = {
    "nothing but an id": {},
    "an unknown format": {"format": 7, "status": "COMPLETED"},
    "a newer format": _changed(format="odenet-99"),
    "no start": _without("start_time"),
    "a text for a time": _changed(start_time="yesterday", heartbeat="now"),
    "an unknown status": _changed(status="DREAMING"),
    "a status that is no text": _changed(status=["RUNNING"]),
    "running without a heartbeat": {key: value for key, value in _OURS.items() if key != "heartbeat"}
    | {"status": "RUNNING"},
    "no uid": _without("uid"),
    "a uid that leads elsewhere": _changed(uid="../../../../etc"),
    "a number for a uid": _changed(uid=7),
    "a model that is a text": _changed(config={"model": "body", "data": "digits", "seed": "none"}),
    "a body that is a list": _changed(config={"model": {"body": ["odenet"], "architecture": {}}, "data": {"name": 7}}),
    "no configuration": _changed(config=None),
    "a configuration that is a list": _changed(config=[1, 2]),
    "a sweep without a space": _changed(experiment={"name": "sweep"}, config={}),
    "an experiment that is a text": _changed(experiment="classification"),
    "sources that are numbers": _changed(experiment={"name": "classification", "sources": [1, [2], ["a", "b", "c"]]}),
    "artifacts without files": _changed(artifacts=[{"name": "a.png"}, "b.png", None]),
    "artifacts that are a text": _changed(artifacts="all"),
    "tests that are numbers": _changed(info={"test": 5, "training": 7, "parameters": [1], "metrics": "loss"}),
    "sizes that are texts": _changed(
        info={"data": {"training_images": "many", "sha256": 7}, "test": {"accuracy": "good"}}
    ),
    "a result that is a text": _changed(result="good"),
    "a result that is a list": _changed(result=[1]),
    "a result that is a date": _changed(result=_NOW),
    "a seed that is a list": _changed(config={"data": {"name": "digits"}, "seed": [1, {"a": 2}]}),
    "tags that are numbers": _changed(omniboard={"tags": [1, 2], "notes": 7}),
    "a host that is a text": _changed(host="laboratory"),
    "a metric's description of another kind": _changed(
        experiment={"name": "classification", "metrics": [{"name": 7}, "loss", _ODD_METRIC], "result": 5}
    ),
}


def craft(whole: Path, crafted: Path, collection: str, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """A backup like `whole` whose documents of a collection were changed, with counts and checksums of its own."""
    with ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "SHA256SUMS"}
    name = f"collections/{collection}.bson"
    documents = decode_all(members.get(name, b""))
    change(documents)
    members[name] = b"".join(map(encode, documents))
    about = json.loads(members["backup.json"])
    about["documents"][collection] = len(documents)
    members["backup.json"] = json.dumps(about).encode()
    write_archive(crafted, members)


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """An archive with the checksums of its members."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in members.items())
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in {**members, "SHA256SUMS": sums.encode()}.items():
            archive.writestr(name, content)


def _last(**changes: Any) -> Callable[[list[dict[str, Any]]], None]:
    """Change the last document: what comes before it could have been written by then."""
    return lambda documents: documents[-1].update(changes)


def _renumber(run_id: Any) -> tuple[str, Callable[[list[dict[str, Any]]], None]]:
    return "runs", _last(_id=run_id)


CRAFTED: Mapping[str, tuple[str, Callable[[list[dict[str, Any]]], Any]]] = {
    "an id from which nobody can count on": _renumber(2**63 - 1),
    "an id that JavaScript cannot tell from the next": _renumber(2**53),
    "an id that leaves none for new runs": ("runs", lambda runs: runs.append({"_id": 2**53 - 1})),
    "an id that leaves few for new runs": ("runs", lambda runs: runs.append({"_id": 2**53 - 1000})),
    "a negative id": _renumber(-3),
    "no number": _renumber(0),
    "a fraction for an id": _renumber(2.5),
    "an id that is a document": _renumber({"a": 1}),
    "an id that is true": _renumber(True),
    "an empty id": _renumber(""),
    "an endless id": _renumber("x" * 5000),
    "a uid that is no text": ("runs", _last(uid=7)),
    "a run twice": ("runs", lambda runs: runs.append(dict(runs[0]))),
    "a uid twice": ("runs", lambda runs: runs[-1].update(uid=runs[0]["uid"])),
    "a key that no store takes": ("runs", _last(**{"$where": 1})),
    "a document that is too large": ("runs", _last(padding=os.urandom(17_000_000))),
    "a counter from which nobody can count on": ("counters", _last(_id="runs", last=2**63 - 1)),
    "a counter that leaves few ids for new runs": ("counters", _last(_id="runs", last=2**53 - 1)),
    "a counter that is a text": ("counters", _last(_id="runs", last="many")),
    "a negative counter": ("counters", _last(_id="runs", last=-1)),
    "a counter that is missing": ("counters", lambda counters: counters[-1].pop("last")),
    "metrics of no run": ("metrics", _last(run_id=10**6)),
    "metrics without a name": ("metrics", lambda metrics: metrics[-1].pop("name")),
    "metrics without a run": ("metrics", lambda metrics: metrics[-1].pop("run_id")),
    "a series twice": ("metrics", lambda metrics: metrics.append(metrics[-1] | {"_id": ObjectId()})),
    "a series' id twice": ("metrics", lambda metrics: metrics.append(metrics[-1] | {"name": "other"})),
    "a file in no chunks": ("fs.files", _last(chunkSize=0)),
    "a file in a million chunks": ("fs.files", _last(chunkSize=1)),
    "a file in chunks that are too large": ("fs.files", _last(chunkSize=2**30)),
    "a file that says another length": ("fs.files", _last(length=1)),
    "a file whose chunk is a text": ("fs.files", _last(chunkSize="255")),
    "a file whose description is a text": ("fs.files", _last(metadata="mine")),
    "a file without a name": ("fs.files", lambda files: files[-1].pop("filename")),
    "a model without a history": ("models", lambda models: models.append({"_id": "best-of-all"})),
    "a model with a history of numbers": (
        "models",
        lambda models: models.append({"_id": "best-of-all", "history": [1]}),
    ),
    "a model whose name is a number": ("models", lambda models: models.append({"_id": 7, "history": []})),
    "sources that are other files": ("environments", lambda environments: environments[-1]["sources"].pop()),
    "packages that are numbers": ("environments", _last(dependencies=[1])),
    "sources that are no list": ("environments", _last(sources={"a.py": 1})),
    "a collection of the system": ("system.users", lambda users: users.append({"_id": 1})),
    "chunks": ("fs.chunks", lambda chunks: chunks.append({"_id": 1})),
    "a collection with another's name": ("../../etc", lambda documents: documents.append({"_id": 1})),
    "a document whose id is a list": ("omniboard.settings", lambda settings: settings.append({"_id": [1]})),
    "a document without an id": ("omniboard.settings", lambda settings: settings.append({"name": "a"})),
}
"""What is changed of a whole backup: the collection, and how."""
