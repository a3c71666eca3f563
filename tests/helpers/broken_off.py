"""A run that is killed in the middle of its training and resumed, beside the same run that nothing happened to."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import database_of, start_command
from tests.helpers.waiting import wait_until


@contextmanager
def killed_and_resumed(home: Path, words: Sequence[str], epochs: int = 3) -> Iterator[tuple[StoredRun, StoredRun]]:
    """The run that was killed after so many epochs, resumed, and the whole one, in a home of their own."""

    def epochs_so_far() -> int:
        return max(
            (path.read_text().count('"validation.loss"') for path in home.glob("runs/*/metrics.jsonl")), default=0
        )

    try:
        broken = start_command(home, *words)
        wait_until(lambda: epochs_so_far() >= epochs, broken)
        broken.send(signal.SIGKILL)
        broken.wait()
        for command in (start_command(home, "resume", "1"), start_command(home, *words)):
            assert command.wait() == 0, command.stderr
        resumed, whole = (Runs(database_of(home)).get(number) for number in (1, 2))
        assert resumed.document["resumed"]
        yield resumed, whole
    finally:
        EmbeddedStore(home).stop()
