"""What the document of a run holds: what writes it and what reads it names its entries here.

The document of format 3 is that of format 2, but that it has `experiment.environment` in place of `experiment.sources`
and `experiment.dependencies` (`pipeline.tracking.environment`).

The document of format 2 is that of format 1 and
- `experiment.task`, `experiment.metrics` and `experiment.result`: its task, the specifications of its metrics, and
  which of them is its result. Runs without are of image classification, with accuracy and loss.
- `experiment.plugins`, `{"spec", "name", "file_id"}` of each source file of a plug-in. Runs without had none.
- `revision`, the number of changes of the run's record, and `heard`, when the store last heard of the run, by its own
  clock. Runs of earlier versions have neither.
- `board`, what the dashboard lists of the run (`pipeline.tracking.board_entry`). Runs of earlier versions get theirs
  when a dashboard starts.
- `constraints` in a sweep's configuration; in its state `measured` and `violates` of a trial and `violates` of a check,
  where it has several objectives, constraints or a cost as its objective. Sweeps of earlier versions have none.
- `plugins_before` in a session of `resumed`, the `experiment.plugins` until then. Those of earlier versions have none.
- `store_uid`, which the collection `counters` has of the store in which the run was begun, and which tells a copy of
  the run in another store from it. Runs of earlier versions have none.
- in a sweep's state `validation_result` of a trial and `result` of a check. Format 1 calls both `accuracy`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from bson import ObjectId

from pipeline.config import ConfigError
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks import lookup
from pipeline.tasks.lookup import DEFAULT, NOT_TASKS
from pipeline.util.errors import InvalidInput
from pipeline.util.nested import flatten

FORMAT = "odenet-3"
"""What the documents of new runs say they are, beside other programs' in the same database."""
READABLE = ("odenet-1", "odenet-2", FORMAT)
READABLE_WORDS = f"{', '.join(READABLE[:-1])} and {FORMAT}"

STEPS = "step."
"""How the names of metrics begin that have a point for single optimiser steps, as `step.loss`."""
MACHINE = "machine."
"""How those begin that say how busy the machine was; their steps are seconds of the training."""
BETWEEN_EPOCHS = (STEPS, MACHINE)
"""Metrics whose steps are no epochs."""

FORMAT_1_RESULT = "test.accuracy"
FORMAT_1_METRICS = ("accuracy", "loss")
"""On every split."""

NAME = "sweep"
"""Of the experiment whose runs are sweeps."""

RUN_REFERENCES = (
    "info.rerun_of",
    "info.source_of",
    "info.parent",
    "config.reevaluation.parent",
    "info.sweep.id",
    "info.sweep.trials.run_id",
    "info.sweep.checks.run_id",
)
"""Where a document has ids of other runs; through lists as well."""


CALLBACKS = "callbacks"
"""Entry of `info` with the classes of the callbacks that a training was given as objects, in no configuration."""
PLUGINS_BEFORE = "plugins_before"
"""Entry of a session in `resumed`."""
OF_A_FAILURE = ("failure", "solver_failure")
"""Entries of `info` that say what ended a run."""


class RunStatus(StrEnum):
    """How it stands with a run; QUEUED and TIMEOUT are Sacred's, and nothing here gives them."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    TIMEOUT = "TIMEOUT"
    PRUNED = "PRUNED"
    """Its sweep ended it, because others did better after as many epochs."""
    DIED = "DIED"
    """Its heartbeat stopped without a word."""
    UNKNOWN = "UNKNOWN"
    """What another program says, and Sacred does not know."""


def _stored_at(path: str, default: Any = None) -> Any:
    """A fact that is stored at this dotted path of `info`."""
    return field(default_factory=lambda: default, metadata={"path": path})


@dataclass(frozen=True)
class RunInfo:
    """What is read of a run's `info`; what a run has not come to, or its task does not have, is None or empty.

    For people alone there are `device`, `warnings`, `rerun_of`, `source_of` (the run whose stored sources this one ran
    with), `reevaluation`, and facts of the task's own.
    """

    data: Mapping[str, Any] = _stored_at("data", {})
    """What was loaded. Numbers of samples are `training_THINGS`, `validation_THINGS` and `test_THINGS`."""
    data_sha256: str | None = _stored_at("data.sha256")
    whole_test: int | None = _stored_at("data.whole_test")
    """Samples of the whole test split, where the run was tested on some of them alone."""
    parameters: int | None = _stored_at("parameters.total")
    multiply_adds: int | None = _stored_at("multiply_adds.total")
    """Of one sample, with one evaluation of each field."""
    multiply_adds_per_evaluation: int | None = _stored_at("multiply_adds.per_evaluation")
    """Of the fields alone; None for a network without an ODE."""
    ode_blocks: int | None = _stored_at("ode_blocks")
    """How many are solved; None of runs of earlier versions."""
    epochs: int | None = _stored_at("training.epochs")
    best_epoch: int | None = _stored_at("training.best_epoch")
    stopped_early: bool = _stored_at("training.stopped_early", False)
    epoch_seconds: float | None = _stored_at("training.epoch_seconds")
    """The median."""
    test: Mapping[str, Any] = _stored_at("test", {})
    """Each metric `test.X` of the task as `X`, and how many samples there were."""
    nfe_test: float | None = _stored_at("test.nfe_forward")
    """Mean evaluations of the field per batch; None for a network without an ODE."""
    nfe_per_sample: float | None = _stored_at("test.nfe_per_image.mean")
    """The same of each sample's own, where it had steps of its own."""
    weights: str | None = _stored_at("weights.name")
    """The artifact with the best weights."""
    weights_sha256: str | None = _stored_at("weights.sha256")
    solver_failure: Mapping[str, Any] | None = _stored_at("solver_failure")
    """How a solve that ended the run ended: `status`, `t` and more."""
    failure: Mapping[str, str] | None = _stored_at("failure")
    """What ended the run: a `message`, and a `reason`, one of `pipeline.sweeps.state.FAILURES`."""
    measurement: Mapping[str, Any] | None = _stored_at("measurement")
    """Of single training steps, the `pipeline.training.step_measurement.StepMeasurement`."""
    parent: int | None = _stored_at("parent")
    """Of a re-evaluation, the run that trained."""
    trial: Mapping[str, Any] | None = _stored_at("sweep")
    """Which trial of which sweep the run is: `id`, `trial` and `phase`."""
    sweep: Mapping[str, Any] | None = _stored_at("sweep")
    """Of a sweep, its `pipeline.sweeps.state.SweepState`."""
    gpu_memory_mb: float | None = _stored_at("gpu_memory_mb")
    """Of a sweep, the memory of the smallest GPU that trials ran on."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "RunInfo":
        """The info of a run's document."""
        found = {f.name: _find(document.get("info"), f.metadata["path"].split(".")) for f in fields(cls)}
        found = {name: value for name, value in found.items() if isinstance(value, _KINDS[name])}
        found.pop("trial" if is_sweep(document) else "sweep", None)
        return cls(**found)

    @property
    def tested(self) -> str | None:
        """As in `1,000 of 10,000`, where the run was tested on a part of the test split."""
        items, _ = self.sizes.get("test", (None, ""))
        if self.whole_test is None or not isinstance(items, int):
            return None
        return f"{items:,} of {self.whole_test:,}"

    @property
    def sizes(self) -> dict[str, tuple[int, str]]:
        """Split -> how many of what: `{"training": (1149, "images")}`."""
        parted = {key: key.partition("_") for key in self.data}
        return {
            split: (self.data[key], things)
            for key, (split, _, things) in parted.items()
            if split in ("training", "validation", "test")
        }


def _kind_of(annotation: str) -> Any:
    kinds = {"Mapping": Mapping, "str": str, "bool": bool, "int": int, "float": (int, float)}
    return next(kind for name, kind in kinds.items() if name in annotation)


_KINDS: Mapping[str, Any] = {f.name: _kind_of(str(f.type)) for f in fields(RunInfo)}
"""Name of a fact -> what its value is where the run was recorded by us; anything else is taken for none."""


def _find(values: Any, path: Sequence[str]) -> Any:
    """What is stored there, if there is such a place."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def aware(time: datetime) -> datetime:
    """A time as the store gives it, which is UTC and does not say so."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def died(document: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of a document that says RUNNING and whose run does not go on."""
    return {"status": RunStatus.DIED.value, "stop_time": document.get("heartbeat")}


def whole_config(document: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, flat, with the defaults of the keys that there were not yet when it was stored.

    Of a task that is not here it has what is stored alone, as of a sweep, which has a configuration of its own.
    """
    if is_sweep(document):
        return flatten(document["config"])
    try:
        return lookup.config_class(task_of(document)).complete(document["config"])
    except ConfigError:
        return flatten(document["config"])


def task_of(document: Mapping[str, Any]) -> str:
    """The task; of an evaluation that of the run that it evaluates, of a sweep that of its trials."""
    experiment = document.get("experiment", {})
    name = experiment.get("name", DEFAULT)
    return str(experiment.get("task", DEFAULT if name in NOT_TASKS else name))


def plugins_of(document: Mapping[str, Any]) -> list[str]:
    """Its plug-ins' files, by name and content."""
    plugins = document.get("experiment", {}).get("plugins", [])
    return sorted(f"{plugin['name']} {str(plugin['file_id'])[:7]}" for plugin in plugins)


def is_of_task(document: Mapping[str, Any]) -> bool:
    """Whether the run is of a task, and not of a Sacred experiment of somebody's own."""
    experiment = document.get("experiment", {})
    return "task" in experiment or experiment.get("name", DEFAULT) in (DEFAULT, *NOT_TASKS)


def metric_specs(document: Mapping[str, Any]) -> tuple[MetricSpec, ...]:
    """What the metrics of the run's task are."""
    stored = document.get("experiment", {}).get("metrics")
    if stored is None:
        return tuple(spec for spec in lookup.metric_specs(DEFAULT) if spec.quantity in FORMAT_1_METRICS)
    return tuple(map(read_metric, stored))


def read_metric(stored: Mapping[str, Any]) -> MetricSpec:
    """What `metric_entry` gave, without entries that this version does not know."""
    known = {f.name for f in fields(MetricSpec)}
    return MetricSpec(**{key: value for key, value in stored.items() if key in known})


def metric_entry(spec: MetricSpec) -> dict[str, Any]:
    """The specification of a metric as it is stored, in `experiment.metrics` for one."""
    return asdict(spec)


def test_specs(document: Mapping[str, Any]) -> tuple[MetricSpec, ...]:
    """Those of the test split, the run's result first, in whichever order its task has them."""
    tested = [spec for spec in metric_specs(document) if spec.split == "test"]
    return tuple(sorted(tested, key=lambda spec: spec.name != _result_name(document)))


def _result_name(document: Mapping[str, Any]) -> str:
    return str(document.get("experiment", {}).get("result", FORMAT_1_RESULT))


def result_spec(document: Mapping[str, Any]) -> MetricSpec:
    """Which metric the run's result is."""
    name = _result_name(document)
    return next(
        (spec for spec in metric_specs(document) if spec.name == name), MetricSpec(name, "result", "its result")
    )


def source_files(document: Mapping[str, Any]) -> set[Any]:
    """Ids of the files with the run's sources, plug-ins among them, also of before it was resumed.

    Args:
        document: with its environment.
    """
    experiment = document.get("experiment", {})
    plugins = {plugin["file_id"] for plugin in experiment.get("plugins", [])}
    return plugins | object_ids(document.get("resumed")) | {file_id for _, file_id in experiment.get("sources", [])}


def files_of(document: Mapping[str, Any]) -> set[Any]:
    """Ids of all the files that the document itself refers to, however another program may list its own."""
    experiment = document.get("experiment")
    of_experiment = (
        [experiment.get("sources"), experiment.get("plugins")] if isinstance(experiment, Mapping) else experiment
    )
    return object_ids([of_experiment, *(document.get(key) for key in ("resumed", "artifacts", "resources"))])


def object_ids(value: Any) -> set[Any]:
    """Every id of a stored file that is somewhere in the value."""
    match value:
        case ObjectId():
            return {value}
        case Mapping():
            return {found for entry in value.values() for found in object_ids(entry)}
        case list() | tuple():
            return {found for entry in value for found in object_ids(entry)}
        case _:
            return set()


NOT_TRAININGS = tuple(name for name in NOT_TASKS if name != NAME)
"""The experiments' names of runs that neither train nor search."""


def is_sweep(document: Mapping[str, Any]) -> bool:
    """Whether a run's document is that of a sweep."""
    return bool(document.get("experiment", {}).get("name") == NAME)


def refuse_sweep(document: Mapping[str, Any]) -> None:
    """For what is done with a training's run alone.

    Raises:
        InvalidInput: the run is a sweep.
    """
    if is_sweep(document):
        number = document["_id"]
        raise InvalidInput(
            f"run {number} is a sweep, no training: `odenet sweep --resume {number}` goes on with it, and "
            f"`odenet sweeps show {number}` names its runs"
        )


TRACKED = "tracked"
"""The `experiment.kind` of what a script or a notebook did within `odenet.track`."""


def is_tracked(document: Mapping[str, Any]) -> bool:
    """Whether the run is what a script did within `odenet.track`."""
    return bool(document.get("experiment", {}).get("kind") == TRACKED)


def script_of(document: Mapping[str, Any]) -> str:
    """The file of such a script; `notebook` where there was none."""
    return str(document.get("experiment", {}).get("mainfile") or "notebook")


def logged_specs(document: Mapping[str, Any]) -> tuple[MetricSpec, ...]:
    """What a run of a user's own code has logged, as metrics whose last value is compared; none of any other run."""
    if not is_tracked(document):
        return ()
    listed = document.get("info", {}).get("metrics") or []
    names = [one["name"] for one in listed if not one["name"].startswith(MACHINE)]
    return tuple(MetricSpec(f"test.{name}", f"{name}, last", "its last value", format=".4g") for name in names)


def refuse_tracked(document: Mapping[str, Any]) -> None:
    """For what is done with runs that can be done again from the record.

    Raises:
        InvalidInput: the run is a script's.
    """
    if is_tracked(document):
        number, script = document["_id"], script_of(document)
        raise InvalidInput(
            f"run {number} is what {script} did within odenet.track, and what else it does is not recorded: start "
            f"{script} again, and `odenet compare` sets both runs side by side"
        )


REEVALUATION = "reevaluation"
"""The experiment's name of an evaluation of a stored run."""


MEASUREMENT = "measurement"
"""The experiment's name of a run that measured single training steps, and where its `info` has what they took."""


def refuse_reevaluation(document: Mapping[str, Any]) -> None:
    """For what is done with a run that trained a model.

    Raises:
        InvalidInput: the run evaluated another's model, or measured steps alone.
    """
    if document.get("experiment", {}).get("name") == MEASUREMENT:
        raise InvalidInput(
            f"run {document['_id']} measured single training steps and trained nothing: `odenet runs` "
            "lists those that did"
        )
    if document.get("experiment", {}).get("name") == REEVALUATION:
        number, trained_by = document["_id"], document.get("info", {}).get("parent")
        raise InvalidInput(f"run {number} is a re-evaluation of run {trained_by}, no training: name run {trained_by}")


def space_name(config: Mapping[str, Any]) -> str:
    """The file name of a sweep's space, without its ending; a question mark where that was tampered with."""
    try:
        return Path(config["space"]["file"]).stem
    except (KeyError, TypeError):
        return "?"
