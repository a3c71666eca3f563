"""What the tests of a store with two real runs are given."""

from dataclasses import dataclass
from pathlib import Path

from tests.helpers.commands import Command


@dataclass(frozen=True)
class TwoRuns:
    """The home of two real runs, 1 an ODE-Net and 2 a ResNet, and the commands that made them."""

    home: Path
    commands: tuple[Command, Command]
