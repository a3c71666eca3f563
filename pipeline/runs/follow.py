"""What a run has printed, while it prints more."""

import time
from collections.abc import Iterator

from pipeline.runs.query import Runs
from pipeline.tracking.run_document import RunStatus

FOLLOW_SECONDS = 2.0
OVERLAPS = (20_000, 2_000, 200)
"""Characters by which it is found how far a text was told whose beginning was cut since: the most that are there."""


def output(runs: Runs, run_id: int | str, follows: bool) -> Iterator[str]:
    """The console output of a run in pieces: all that the store has, and then what comes, until the run ends."""
    told = ""
    while True:
        run = runs.get(run_id)
        text = str(run.document.get("captured_out") or "")
        if new := _since(told, text):
            yield new
        told = text
        if not follows or run.status is not RunStatus.RUNNING:
            return
        time.sleep(FOLLOW_SECONDS)


def _since(told: str, text: str) -> str:
    """What of the text was not told yet."""
    if text.startswith(told):
        return text[len(told) :]
    for overlap in OVERLAPS:
        # At its first place: what repeats itself is rather told twice than not at all.
        _, found, new = text.partition(told[-overlap:])
        if found:
            return new
    return text
