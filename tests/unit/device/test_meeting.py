"""How processes that train together meet: whoever waits for the others can be interrupted, and hears of who is gone."""

import signal
import subprocess
import sys
from pathlib import Path

WAITING = """
import sys
from pathlib import Path
from pipeline.device.workers import WorkersParted, joined

print("waiting", flush=True)
try:
    with joined(0, 2, Path(sys.argv[1]), lambda: sys.argv[2] == "in vain"):
        print("met")
except WorkersParted as parted:
    print(parted)
except KeyboardInterrupt:
    print("interrupted")
"""


def waiting(folder: Path, how: str) -> subprocess.Popen[str]:
    """A process that waits for another, which does not come."""
    command = [sys.executable, "-c", WAITING, str(folder / "meeting"), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    return process


def test_who_waits_for_one_that_has_ended_is_told_so(tmp_path: Path) -> None:
    said, _ = waiting(tmp_path, "in vain").communicate(timeout=120)
    assert said == "one of the processes of the training ended before all had met\n"


def test_who_waits_for_one_that_hangs_can_be_interrupted(tmp_path: Path) -> None:
    process = waiting(tmp_path, "for ever")
    while not (tmp_path / "meeting").exists():  # torch's own wait has begun
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert said == "interrupted\n"
    assert process.returncode == 0
