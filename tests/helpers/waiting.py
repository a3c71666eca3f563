"""Waits that end on what is waited for, within bounds that a busy machine stretches."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.helpers.commands import Command

WAIT_SECONDS = 200
"""Of a quiet machine: far more than anything takes there."""
MOST = 10.0


def slowness() -> float:
    """How many times as long as on a quiet machine things take now: by core, how many processes want to run."""
    load, _, _, running, _ = Path("/proc/loadavg").read_text().split()
    wanting = max(float(load), int(running.partition("/")[0]))
    return min(max(1.0, wanting / len(os.sched_getaffinity(0))), MOST)


class Patience:
    """A bound of so many seconds of a quiet machine, which pass the slower, the busier this one is."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self._seen = time.monotonic()

    def is_over(self) -> bool:
        """Whether the bound is reached; to be asked every now and then, as the machine is looked at each time."""
        now = time.monotonic()
        self.left -= (now - self._seen) / slowness()
        self._seen = now
        return self.left <= 0


def wait_until(
    condition: Callable[[], Any],
    command: "Command | None" = None,
    *,
    seconds: float = WAIT_SECONDS,
    told: str = "waited in vain",
) -> Any:
    """What `condition` returns, once that is true; `told` if that does not come about."""
    patience = Patience(seconds)
    while not (found := condition()):
        assert command is None or command.process.is_alive(), f"ended already:\n{command.stderr}"
        assert not patience.is_over(), told
        time.sleep(0.02)
    return found


def status_of(process: "subprocess.Popen[Any]") -> int:
    """The exit status of a process that ends."""
    wait_until(lambda: process.poll() is not None)
    return int(process.returncode)


def output_of(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What a process that ends has written to standard output and standard error."""
    patience = Patience(WAIT_SECONDS)
    while True:
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            if patience.is_over():
                raise


def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """A command, to its end, and what it wrote."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            stdout, stderr = output_of(process)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
