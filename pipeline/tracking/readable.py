"""Documents of runs as readers take them for granted, whoever wrote them: ours, Sacred's own observers, other programs.

What an entry of another kind, or none, would break is taken for empty, and named. The store is not changed.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.lookup import DEFAULT, NOT_TASKS
from pipeline.tracking.run_document import READABLE, READABLE_WORDS, RunStatus, metric_entry

OUR_FORMATS = "odenet-"
"""How the formats of all our versions begin."""
NO_TIME = datetime(1970, 1, 1)
FOREIGN_RESULT = MetricSpec("test.result", "result", "what the experiment returned")


def is_foreign(document: Mapping[str, Any]) -> bool:
    """Whether another program wrote the run: Sacred's own observer, perhaps."""
    return not str(document.get("format", "")).startswith(OUR_FORMATS)


def unreadable(document: Mapping[str, Any]) -> str | None:
    """Why the document cannot be read here at all, in a sentence; None where it can."""
    form = document.get("format")
    if is_foreign(document) or form in READABLE:
        return None
    return (
        f"run {document['_id']} is stored in the format {form}, and this version reads {READABLE_WORDS}: use the "
        "software that wrote it, or look at it in Omniboard"
    )


def readable(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document with every entry that readers need, and the names of those that it lacks or has of another kind."""
    lacks: list[str] = []

    def entry(name: str, is_right: Callable[[Any], bool], otherwise: Any) -> Any:
        if is_right(document.get(name)):
            return document[name]
        if name not in _OPTIONAL or document.get(name) is not None:
            lacks.append(name)
        return otherwise

    start = entry("start_time", _is(datetime), NO_TIME)
    filled: dict[str, Any] = {
        "start_time": start,
        "heartbeat": entry("heartbeat", _is(datetime), _first_time(document.get("stop_time"), start)),
        "stop_time": entry("stop_time", _is(datetime), None),
        "status": entry(
            "status", lambda value: isinstance(value, str) and value in set(RunStatus), RunStatus.UNKNOWN.value
        ),
        "experiment": entry("experiment", _is(Mapping), {}),
        "config": entry("config", _is(Mapping), {}),
        "info": entry("info", _is(Mapping), {}),
        "host": entry("host", _is(Mapping), {}),
        "artifacts": _those(_is_artifact, entry("artifacts", _is(list), [])),
        "captured_out": entry("captured_out", _is(str), ""),
        "fail_trace": _those(_is(str), entry("fail_trace", _is(list), [])) or None,
        "resumed": _those(_is(Mapping), entry("resumed", _is(list), [])),
        "omniboard": _annotations(entry("omniboard", _is(Mapping), {})),
    }
    filled["experiment"] = _experiment(document, filled)
    if not isinstance(document.get("uid"), str):
        filled["uid"] = ""
    if not isinstance(filled["host"].get("hostname"), str):
        filled["host"] = {**filled["host"], "hostname": "unknown host"}
    result = document.get("result")
    if is_foreign(document) and not (isinstance(result, int | float | None) and not isinstance(result, bool)):
        filled["result"] = None
    if "omniboard" not in document:  # nobody has tagged it
        del filled["omniboard"]
    return {**document, **filled}, lacks


_OPTIONAL = ("stop_time", "captured_out", "fail_trace", "resumed", "omniboard", "heartbeat", "artifacts", "info")


def _is(kind: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _first_time(*values: Any) -> datetime:
    return next((value for value in values if isinstance(value, datetime)), NO_TIME)


def _those(is_right: Callable[[Any], bool], values: list[Any]) -> list[Any]:
    return [value for value in values if is_right(value)]


def _is_artifact(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str) and "file_id" in value


def is_metric(value: Any) -> bool:
    """Whether it is what `metric_entry` gives."""
    is_named = isinstance(value, Mapping) and all(
        isinstance(value.get(key), str) for key in ("name", "heading", "says")
    )
    return is_named and all(isinstance(one, str | bool | None) for one in value.values())


def _annotations(omniboard: Mapping[str, Any]) -> dict[str, Any]:
    tags = omniboard.get("tags")
    return {**omniboard, "tags": _those(_is(str), tags if isinstance(tags, list) else [])}


def _experiment(document: Mapping[str, Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    experiment = dict(filled["experiment"])
    name = experiment.get("name")
    experiment["name"] = name if isinstance(name, str) else "?"
    lists: Mapping[str, Callable[[Any], bool]] = {
        "sources": lambda value: isinstance(value, list | tuple) and len(value) == 2,
        "dependencies": _is(str),
        "repositories": lambda value: isinstance(value, Mapping) and isinstance(value.get("commit"), str),
    }
    for key, is_right in lists.items():
        found = experiment.get(key)
        experiment[key] = _those(is_right, found if isinstance(found, list) else [])
    experiment["repositories"] = [{"dirty": False, **repository} for repository in experiment["repositories"]]
    if "metrics" in experiment:
        found = experiment["metrics"]
        experiment["metrics"] = _those(is_metric, found if isinstance(found, list) else [])
    if not isinstance(experiment.get("result", ""), str):
        del experiment["result"]
    if is_foreign(document):
        if experiment["name"] in (DEFAULT, *NOT_TASKS):  # which is not ours
            experiment["name"] += " (another program's)"
        experiment.pop("task", None)
        experiment.pop("plugins", None)
        experiment["result"] = FOREIGN_RESULT.name
        series = filled["info"].get("metrics")
        names = [one.get("name") for one in series if isinstance(one, Mapping)] if isinstance(series, list) else []
        last = [MetricSpec(f"test.{one}", f"{one}, last", "its last value", format=".4g") for one in names if one]
        experiment["metrics"] = [metric_entry(spec) for spec in (FOREIGN_RESULT, *last)]
    return experiment


def is_series(document: Mapping[str, Any]) -> bool:
    """Whether a metric's series has a name, steps and as many values, all of them numbers or none."""
    steps, values = document.get("steps"), document.get("values")
    return (
        isinstance(document.get("name"), str)
        and isinstance(steps, list)
        and isinstance(values, list)
        and len(steps) == len(values) > 0
        and all(isinstance(step, int | float) for step in steps)
        and all(isinstance(value, int | float | None) for value in values)
    )
