"""Documents, records and backups as no program of ours writes them."""

from datetime import UTC, datetime
from typing import Any

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_OURS: dict[str, Any] = {
    "format": "odenet-2",
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
    "tags that are numbers": _changed(omniboard={"tags": [1, 2], "notes": 7}),
    "a host that is a text": _changed(host="laboratory"),
    "a metric's description of another kind": _changed(
        experiment={"name": "classification", "metrics": [{"name": 7}, "loss"], "result": 5}
    ),
}
