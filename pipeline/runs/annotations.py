"""What a person adds to a run: a name, and tags and notes, where Omniboard shows and changes them, and files."""

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from pipeline.runs.query import StoredRun
from pipeline.tracking.gridfs import put_file
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.run_folder import run_folder
from pipeline.tracking.storable import storable_text
from pipeline.tracking.store import translate_store_errors
from pipeline.util.errors import InvalidInput, OdenetError, brief

LONGEST_NAME = 100


def annotations(name: str | None = None, tags: Sequence[str] = (), note: str | None = None) -> dict[str, Any]:
    """What a run that begins has of them, as it is stored.

    Raises:
        InvalidInput: a name or a tag without a letter, tags that are one text, or a note that is none, or of signs that
            are none.
    """
    if isinstance(tags, str):
        raise InvalidInput(f"tags is the text {brief(tags)}: give a list of them, as in [{brief(tags)}]")
    for what, text in [("name", name), ("note", note), *(("a tag", tag) for tag in tags)]:
        if not isinstance(text, str | None):
            raise InvalidInput(f"{what} is {brief(text)}, which is no text: give one")
    _refuse_unsuitable(tags)
    _refuse_no_text("note", note or "")
    given = {"name": None if name is None else _checked_name(name), "tags": list(tags), "notes": note}
    return {key: value for key, value in given.items() if value}


def rename(run: StoredRun, name: str) -> None:
    """Give the run a name in place of the one that it had.

    Raises:
        InvalidInput: a name without a letter, or the run has been removed.
    """
    _change(run, {"$set": {"omniboard.name": _checked_name(name)}})


def add_tags(run: StoredRun, tags: Sequence[str]) -> list[str]:
    """Add tags; all that the run now has.

    Raises:
        InvalidInput: a tag without a letter or with signs that are no text, or the run has been removed.
    """
    _refuse_unsuitable(tags)
    return _change(run, {"$addToSet": {"omniboard.tags": {"$each": list(tags)}}})


def remove_tags(run: StoredRun, tags: Sequence[str]) -> list[str]:
    """Take tags away, those that the run does not have without a word; all that it still has.

    Raises:
        InvalidInput: the run has been removed.
    """
    return _change(run, {"$pullAll": {"omniboard.tags": list(tags)}})


def set_note(run: StoredRun, text: str) -> None:
    """Write the run's note in place of the one that it had.

    Raises:
        InvalidInput: signs that are no text, or the run has been removed.
    """
    _refuse_no_text("note", text)
    _change(run, {"$set": {"omniboard.notes": text}})


def attach(run: StoredRun, file: Path, home: Path) -> None:
    """Add a file to the artifacts of a run that has ended, under the file's own name.

    Args:
        home: where runs of this machine keep records that the store does not have in full.

    Raises:
        InvalidInput: the run has not ended, has an artifact of this name, or the file cannot be read.
    """
    refuse_unfinished(run, home)
    if file.exists() and not (file.is_file() or file.is_dir()):  # a device may have no end
        raise InvalidInput(f"{file} is no ordinary file: name a file to attach")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read ({error.strerror}): name a file to attach") from error
    attach_content(run, file.name, content)


def attach_content(run: StoredRun, name: str, content: bytes) -> None:
    """The same of content that is no file yet, to a run that has ended.

    Raises:
        InvalidInput: the run has an artifact of this name.
        OdenetError: the run has changed meanwhile.
    """
    name = storable_text(name)
    if name in run.artifacts:
        raise InvalidInput(f"run {run.run_id} has an artifact {name} already: rename the file")
    file_id = ObjectId()
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    with translate_store_errors():
        put_file(run.database, file_id, f"artifact://runs/{run.run_id}/{name}", content, content_type)
        unchanged = {"_id": run.run_id, "status": run.document["status"], "artifacts.name": {"$ne": name}}
        entry = {"name": name, "file_id": file_id}
        added = run.database.runs.update_one(unchanged, {"$push": {"artifacts": entry}}).matched_count
    if not added:  # the file that nobody refers to is left to `odenet gc`
        raise OdenetError(f"run {run.run_id} has changed just now: look at it with `odenet show` and try again")


def refuse_unfinished(run: StoredRun, home: Path) -> None:
    """A run's own process, or who delivers its record later, would write its list of artifacts over ours.

    Raises:
        InvalidInput: the run has such a process, or a record that waits.
    """
    if run.status is RunStatus.RUNNING:
        raise InvalidInput(f"run {run.run_id} is still running: attach files when it has ended")
    if run.document["status"] == RunStatus.RUNNING or (run_folder(home, run.document) / "record.json").exists():
        raise InvalidInput(
            f"the record of run {run.run_id} ({run.status}) still waits on the disk of "
            f"{run.document['host']['hostname']}: run `odenet sync` there, then attach"
        )


def _refuse_unsuitable(tags: Sequence[str]) -> None:
    if not all(tag.strip() for tag in tags):
        raise InvalidInput("a tag needs at least one letter, as in: odenet tag 3 paper")
    for tag in tags:
        _refuse_no_text("tag", tag)


def _refuse_no_text(what: str, text: str) -> None:
    if storable_text(text) != text:
        raise InvalidInput(f"the {what} {brief(text)} has bytes that are no text in UTF-8: write it anew")


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidInput(
            f"the name {brief(name)} of a run must have a letter, no line breaks and at most {LONGEST_NAME} characters"
        )
    return name.strip()


def _change(run: StoredRun, change: dict[str, object]) -> list[str]:
    """Change what Omniboard shows of the run; the tags that it then has."""
    with translate_store_errors():
        changed = run.database.runs.find_one_and_update(
            {"_id": run.run_id}, change, projection={"omniboard": True}, return_document=ReturnDocument.AFTER
        )
    if changed is None:
        raise InvalidInput(f"run {run.run_id} has been removed meanwhile; `odenet runs` lists those there are")
    return list(changed.get("omniboard", {}).get("tags", []))
