"""How a tracked run ended, whichever experiment it was of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """What every experiment tells of its run."""

    document: Mapping[str, Any]
    """The run's document, as the store has it or will have it."""
    error: str | None

    @property
    def run_id(self) -> int:
        return int(self.document["_id"])

    @property
    def status(self) -> str:
        return str(self.document["status"])
