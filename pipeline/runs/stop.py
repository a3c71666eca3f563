"""Ending a run that goes on, from wherever its store can be reached."""

import time

from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.kind import kind_of, study_of
from pipeline.tracking.run_document import RunStatus, is_of_task, is_tracked
from pipeline.tracking.stop_request import request_stop
from pipeline.tracking.store import translate_store_errors
from pipeline.util.errors import InvalidInput

LOOK_SECONDS = 0.5
"""Between two looks at whether the run has ended."""


def ask_to_stop(run: StoredRun) -> None:
    """Have the run end in order after its present batch, as Ctrl-C does.

    Raises:
        InvalidInput: nothing of it goes on, or it is another's part and not to be ended alone.
    """
    refuse_to_stop(run)
    with translate_store_errors():
        if not request_stop(run.database, run.document):
            raise InvalidInput(f"run {run.run_id} has just ended: there is nothing to stop")


def refuse_to_stop(run: StoredRun) -> None:
    """Refuse where it cannot be stopped.

    Raises:
        InvalidInput: as `ask_to_stop`.
    """
    if (refusal := _refusal(run)) is not None:
        raise InvalidInput(refusal)


def wait_for_end(runs: Runs, run_id: int | str, seconds: float) -> RunStatus:
    """The run's status when it has ended, or RUNNING after so long."""
    deadline = time.monotonic() + seconds
    while (status := runs.get(run_id).status) is RunStatus.RUNNING and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return status


def going_on_with(run: StoredRun) -> str | None:
    """The command that goes on with a run that has not come to its end; None where there is none."""
    kind = kind_of(run.document)
    if not is_of_task(run.document):
        return None
    match kind.name:
        case "foreign" | "evaluation":
            return None
        case "sweep":
            return f"odenet sweep --resume {run.run_id}"
        case "trial" | "check":
            return f"odenet sweep --resume {kind.of}"
        case _:
            return f"odenet resume {run.run_id}"


def _refusal(run: StoredRun) -> str | None:
    """Why it cannot be stopped, with what to do instead."""
    number, kind = run.run_id, kind_of(run.document)
    if run.status is RunStatus.DIED:
        command = going_on_with(run)
        more = f": `{command}` takes it up again" if command else ""
        return f"run {number} has died, so that nothing of it goes on{more}"
    if run.status is not RunStatus.RUNNING:
        return f"run {number} is {run.status.value}: there is nothing to stop"
    if kind.name == "foreign" or not (is_of_task(run.document) or is_tracked(run.document)):
        whose = "another program's" if kind.name == "foreign" else f"of the experiment {run.task}"
        return f"run {number} is {whose}, which does not look for requests: end its process"
    if kind.name in ("trial", "check"):
        return f"run {number} is {kind}, which ends its trials itself: `odenet stop {kind.of}` ends the sweep"
    if kind.name == "evaluation":
        return (
            f"run {number} is an evaluation, which has no batches of training to end after: press Ctrl-C where it runs"
        )
    if (study := study_of(run.document)) is not None:
        return f"run {number} is of the study {study}: press Ctrl-C where `odenet paper` runs"
    return None
