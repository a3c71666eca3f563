"""Real sweeps in a home of their own."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.runs.query import Runs
from pipeline.sweeps.stored import Sweep, load_sweep
from tests.helpers.commands import Command, database_of


@dataclass(frozen=True)
class SweptHome:
    """A home with the sweep 1 in it, and the command that made it."""

    home: Path
    command: Command
    sweep: Sweep


def write_space(home: Path, text: str) -> str:
    """The path of a new file with the space, beside the home."""
    path = home.parent / "space.yaml"
    path.write_text(text)
    return str(path)


def sweep_of(home: Path, sweep_id: int = 1) -> Sweep:
    """A sweep of the home's store."""
    return load_sweep(Runs(database_of(home)), sweep_id)
