"""Messages to where somebody has asked for them, when a run or a sweep is over; sent by Apprise.

The addresses hold secrets: they are read from a file of their owner's when something is sent, and are in no record,
message or log.
"""

import logging
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from pipeline.reporting.text_table import shown
from pipeline.reporting.words import duration
from pipeline.runs.summary import RunSummary, summary
from pipeline.tracking.kind import study_of
from pipeline.tracking.run_document import NOT_TRAININGS, RunStatus, result_spec
from pipeline.util.errors import OdenetError
from pipeline.util.user_warnings import OdenetWarning

PATIENCE_SECONDS = 10.0
"""How long the end of a run waits for what it is told to."""
_TYPES = {RunStatus.COMPLETED: "success", RunStatus.FAILED: "failure"}


class NotificationError(OdenetError):
    """A notification that cannot be sent."""


@dataclass(frozen=True)
class Target:
    """Where a notification goes: an address of Apprise's, in a line of the file."""

    line: int
    address: str = field(repr=False)


def notification_file() -> Path:
    """The file with an address in each line; where there is none, nothing is sent."""
    return platformdirs.user_config_path("odenet") / "notify"


def read_targets(file: Path) -> list[Target]:
    """The addresses of the file, those behind a # left out; none where there is no file.

    Raises:
        NotificationError: it cannot be read, or others than its owner may read or change it.
    """
    try:
        mode = file.stat().st_mode & 0o777
        if mode & 0o077:
            raise NotificationError(
                f"{file} holds secrets, and others may read or change it (mode {mode:o}): chmod 600 {file}"
            )
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotificationError(f"{file} cannot be read ({error.strerror}): set that right, or remove it") from error
    except UnicodeDecodeError:
        raise NotificationError(f"{file} is no text: write an address in each line") from None
    stripped = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    return [Target(number, line) for number, line in stripped if line and not line.startswith("#")]


def send(targets: Sequence[Target], title: str, body: str, kind: str = "info") -> dict[Target, str]:
    """Send a message to all targets at once, in `PATIENCE_SECONDS` at the most.

    Args:
        kind: `info`, `success` or `failure`, which services show by a colour or a sign.

    Returns:
        Target -> why it did not get the message, in words without its address.

    Raises:
        NotificationError: Apprise is not installed.
    """
    try:
        import apprise
    except ImportError:
        raise NotificationError(
            "notifications need Apprise, which is not installed: `pip install 'odenet-pipeline[notify]'`"
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # what it says names the address
    failed = dict.fromkeys(targets, f"no answer in {PATIENCE_SECONDS:.0f} s")

    def deliver(target: Target) -> None:
        try:
            service = apprise.Apprise()
            if not service.add(target.address):
                failed[target] = "it is no address that Apprise knows"
            elif service.notify(title=title, body=body, notify_type=kind):
                del failed[target]
            else:
                failed[target] = "the service cannot be reached, or refuses it"
        except Exception as error:  # whatever it is; its message may hold the address
            failed[target] = type(error).__name__

    threads = [threading.Thread(target=deliver, args=(target,), daemon=True) for target in targets]
    deadline = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(failed)


def notify_of_end(document: Mapping[str, Any], error: str | None) -> None:
    """Say that a run or a sweep is over, where somebody has asked for it; what goes wrong is one warning.

    Trials of sweeps, runs of studies, evaluations and measurements are not told of.

    Args:
        error: what broke it off, in a sentence.
    """
    info = document.get("info", {})
    is_part = study_of(document) is not None or (isinstance(info.get("sweep"), Mapping) and "trial" in info["sweep"])
    if is_part or document["experiment"].get("name") in NOT_TRAININGS:
        return
    file = notification_file()
    with suppress(KeyboardInterrupt):  # who does not want to wait; the run itself is over
        try:
            targets = read_targets(file)
            if not targets:
                return
            row = summary(document, {})
            failed = send(targets, title_of(row), body_of(document, row, error), _TYPES.get(row.status, "info"))
        except NotificationError as problem:
            _warn(f"the end of run {document['_id']} was told to nobody: {problem}")
        else:
            if failed:
                reasons = "; ".join(f"line {target.line}: {reason}" for target, reason in failed.items())
                _warn(
                    f"the end of run {document['_id']} was not told to all of {file} ({reasons}); try `odenet notify`"
                )


def title_of(row: RunSummary) -> str:
    """As in: run 3 COMPLETED: wide field."""
    what = "sweep" if row.kind.name == "sweep" else "run"
    name = row.name or (row.task if row.kind.name == "tracked" else f"{row.model} on {row.data}")
    return f"{what} {row.run_id} {row.status}: {name}"


def body_of(document: Mapping[str, Any], row: RunSummary, error: str | None) -> str:
    """The result, how long it took, where, and what broke it off; a line each."""
    spec = result_spec(document)
    value = row.results.get(spec)
    lines = [
        f"{spec.label}: {shown(value, spec.format)}" if value is not None else None,
        f"after {duration(row.seconds)} on {document['host']['hostname']}" if row.seconds is not None else None,
        error,
    ]
    return "\n".join(line for line in lines if line)


def _warn(sentence: str) -> None:
    warnings.warn(OdenetWarning(sentence), stacklevel=3)
