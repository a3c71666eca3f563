"""Disks that a test can fill."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Within it `folder` is a disk of that size; skips the test where none can be mounted."""
    folder.mkdir(exist_ok=True)
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode != 0:
        pytest.skip("a small disk to fill can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, piece: int) -> Path:
    """The file that has taken all the room there was, written in pieces of so many bytes."""
    path = disk / "filling"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as filling:
        while filling.write(bytes(piece)):
            pass
    return path
