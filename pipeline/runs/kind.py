"""What a stored run is: a training of its own, a trial of a sweep, a rerun, an evaluation, a sweep, a script."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.tracking.readable import is_foreign
from pipeline.tracking.run_document import RunInfo, is_sweep, is_tracked

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
