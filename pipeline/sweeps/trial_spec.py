"""What a trial's worker is told."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.plugins.loading import PluginSource
from pipeline.sweeps.goal import Goal
from pipeline.sweeps.state import Phase


@dataclass(frozen=True)
class SweepOfTrial:
    """What all trials of a sweep have in common."""

    run_id: int
    uid: str
    goal: Goal
    validation_result: str | None
    """What of the validation split is told beside the metric; None for nothing."""
    skips_existing: bool
    plugins: tuple[PluginSource, ...]
    """Which the driver has loaded, for the workers to load."""


@dataclass(frozen=True)
class TrialSpec:
    """What one trial is to do."""

    number: int
    phase: Phase
    task: str
    config: dict[str, Any]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Of an evaluation, the `parent`'s run id and the `settings`."""

    @property
    def key(self) -> str:
        """What tells it from every other of its sweep."""
        return f"{self.phase} {self.number}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TrialSpec":
        return cls(**json.loads(text))

    def mark(self, sweep: SweepOfTrial) -> dict[str, Any]:
        """In the info of the trial's run."""
        return {"sweep": {"id": sweep.run_id, "trial": self.number, "phase": self.phase}}
