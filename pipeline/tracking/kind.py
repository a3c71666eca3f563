"""What a stored run is, a training, trial, rerun, evaluation, sweep or script, and of which model and data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.display_names import data_name, model_name
from pipeline.tracking.readable import is_foreign
from pipeline.tracking.run_document import RunInfo, is_of_task, is_sweep, is_tracked, script_of, space_name, task_of

KINDS = ("training", "trial", "check", "rerun", "evaluation", "sweep", "tracked", "foreign")


@dataclass(frozen=True)
class RunKind:
    """A kind, one of `KINDS`, and the run that it refers to."""

    name: str
    of: Any = None

    def __str__(self) -> str:
        """As in: trial of sweep 15."""
        if self.of is None:
            return self.name
        return f"{self.name} of {'sweep ' if self.name in ('trial', 'check') else ''}{self.of}"


def kind_of(document: Mapping[str, Any]) -> RunKind:
    """The kind of a run's document."""
    if is_foreign(document):
        return RunKind("foreign")
    if is_sweep(document):
        return RunKind("sweep")
    if is_tracked(document):
        return RunKind("tracked")
    info = RunInfo.read(document)
    if info.parent is not None:
        return RunKind("evaluation", info.parent)
    if info.trial is not None:
        is_check = info.trial.get("phase") == "check"
        return RunKind("check" if is_check else "trial", info.trial.get("id"))
    rerun_of = document.get("info", {}).get("rerun_of")
    return RunKind("rerun", rerun_of) if rerun_of is not None else RunKind("training")


def study_of(document: Mapping[str, Any]) -> str | None:
    """The study that a run was trained for, by its name; None of others, whatever they call a study."""
    study = (document.get("info") or {}).get("study")
    is_ours = isinstance(study, Mapping) and not is_tracked(document)
    return str(study.get("name")) if is_ours and study is not None else None


def model_and_data(document: Mapping[str, Any]) -> tuple[str, str | None]:
    """What people call the run's model and its data.

    Of a sweep `sweep` and its space; of a script its file, of another experiment that is of no task its name, and None.
    """
    config = document["config"]
    if is_sweep(document):
        return "sweep", space_name(config)
    if is_tracked(document):
        return script_of(document), None
    if not is_of_task(document):
        return task_of(document), None
    return model_name(config.get("model")), data_name(config.get("data"))
