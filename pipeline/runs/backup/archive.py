"""The file of a backup: a ZIP archive that other tools read, too.

    backup.json               the format, when and by what it was made, how much it holds, and the numbers, in their
                              order, of the runs that were removed while it was made, which count for nothing
    collections/<name>.bson   the documents of a collection one after the other, as `bsondump` reads them
    files/<id>                the content of each stored file
    SHA256SUMS                of all of these, as `sha256sum --check` reads it

Runs are in the order of their ids, the series of `metrics` in that of their runs.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from bson import CodecOptions, decode, decode_file_iter
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument

from pipeline.runs.backup.contents import check_contents, check_length
from pipeline.util.errors import InvalidInput, OdenetError, is_disk_full
from pipeline.util.files import whole_file

FORMAT = "odenet-backup-1"

_ABOUT, _SUMS = "backup.json", "SHA256SUMS"
EXACT: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_DAMAGE = (
    *(BadZipFile, zlib.error, BSONError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(NotImplementedError, OverflowError, RecursionError, RuntimeError, struct.error),
)
_READ_BYTES = 2**20
SMALL_BYTES, MOST_TIMES = 2**25, 100
"""A backup unpacks to at most so many times its size, unless it is small; ours do to some ten times."""
_COMPRESSION = 3
"""A store's documents take 11 % more than by the usual 6, in two fifths of the time; 1 and 2 are not quicker."""


class ArchiveError(OdenetError):
    """A backup that cannot be written, or is damaged."""


@contextmanager
def new_archive(path: Path) -> Iterator["ArchiveWriter"]:
    """A backup to be written to `path`, which is there when all of it is on the disk, and for its owner alone to read.

    Raises:
        InvalidInput: there is a file of this name.
        ArchiveError: it cannot be written; nothing is left of it.
    """
    try:
        _refuse_existing(path)
        with whole_file(path, concurrent=True) as file:
            with ZipFile(file, "w") as archive:
                writer = ArchiveWriter(archive)
                yield writer
                writer.finish()
            file.flush()
            _refuse_unrestorable(file, path)
            _refuse_existing(path)
    except OSError as error:
        raise ArchiveError(
            f"the backup {path} cannot be written ({error.strerror}): "
            f"{'make room there, or name' if is_disk_full(error) else 'name'} a file elsewhere"
        ) from error


def _refuse_unrestorable(written: IO[bytes], path: Path) -> None:
    """Before it takes its name: what a store accepts from other programs need not be what a restore may accept."""
    try:
        with os.fdopen(os.dup(written.fileno()), "rb") as again, ZipFile(again) as archive:
            _refuse_bomb(archive, path, os.fstat(again.fileno()).st_size)
            Archive(archive, json.loads(archive.read(_ABOUT))).check()
    except (*_DAMAGE, InvalidInput) as error:
        raise ArchiveError(
            f"the backup {path} was not kept, as nothing of it could be restored ({error}): what is named there is "
            "probably another program's, so remove or change it in the store"
        ) from error


@contextmanager
def open_archive(path: Path) -> Iterator["Archive"]:
    """A backup that has been read from end to end and found to be as it was written.

    Raises:
        InvalidInput: the file cannot be read, or it is no backup that this version knows.
        ArchiveError: it is damaged.
    """
    try:
        archive = ZipFile(path)
    except _DAMAGE as error:
        raise InvalidInput(
            f"{path} is no backup, or only the beginning of one: name a file of `odenet backup`"
        ) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}): name a file of `odenet backup`") from error
    with archive:
        _refuse_bomb(archive, path, path.stat().st_size)
        yield _checked(archive, path)


def _refuse_bomb(archive: ZipFile, path: Path, size: int) -> None:
    """Before anything of it is read."""
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(SMALL_BYTES, MOST_TIMES * size):
        raise InvalidInput(
            f"{path} says that it unpacks to {unpacked / 1e6:,.0f} MB, {unpacked / size:,.0f} times its size, which no "
            "backup of ours does: nothing of it was read"
        )
    if any(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for member in members):
        raise InvalidInput(f"{path} is packed as no backup of ours is: name a file of `odenet backup`")


def _checked(archive: ZipFile, path: Path) -> "Archive":
    try:
        about = json.loads(archive.read(_ABOUT))
        form = about["format"]
    except (*_DAMAGE, OSError) as error:  # RuntimeError: there is a password on it; OSError: a place before the file
        raise InvalidInput(f"{path} is no backup of ours: name a file of `odenet backup`") from error
    if form != FORMAT:
        raise InvalidInput(
            f"{path} has the format {form}, and this version reads {FORMAT}: use the software that wrote it"
        )
    try:
        backup = Archive(archive, about)
        backup.check()
    except (*_DAMAGE, OSError) as error:
        raise ArchiveError(
            f"{path} is damaged ({error}), nothing of it was restored: use another copy of it"
        ) from error
    return backup


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InvalidInput(f"{path} exists already: name a new file")


class ArchiveWriter:
    """A backup that is being written; one member at a time."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._sums: dict[str, str] = {}
        self._documents: dict[str, int] = {}
        self.files = 0
        """How many files' contents it has."""
        self.removed_runs: Sequence[int] = ()
        """Numbers, in their order, of the runs that were removed while it was written."""

    def add_collection(self, name: str, documents: Iterable[bytes]) -> None:
        """All documents of a collection, each as BSON."""
        count = 0
        with self._member(f"collections/{name}.bson", ZIP_DEFLATED) as write:
            for count, document in enumerate(documents, start=1):  # noqa: B007 - the last one counts
                write(document)
        self._documents[name] = count

    def add_file(self, file_id: Any, content: bytes) -> None:
        """The content of a stored file: pictures and weights, which do not get smaller."""
        with self._member(f"files/{file_id}", ZIP_STORED) as write:
            write(content)
        self.files += 1

    def finish(self) -> None:
        """What it holds, and the checksums."""
        about = {
            "format": FORMAT,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": f"odenet-pipeline {version('odenet-pipeline')}",
            "documents": self._documents,
            "files": self.files,
            **({"removed_runs": list(self.removed_runs)} if self.removed_runs else {}),
        }
        with self._member(_ABOUT, ZIP_STORED) as write:
            write(json.dumps(about, indent=1).encode())
        sums = "".join(f"{checksum}  {name}\n" for name, checksum in self._sums.items())
        with self._member(_SUMS, ZIP_DEFLATED) as write:
            write(sums.encode())

    @contextmanager
    def _member(self, name: str, compression: int) -> Iterator[Callable[[bytes], None]]:
        entry = ZipInfo(name, datetime.now(UTC).timetuple()[:6])
        entry.compress_type, entry.external_attr = compression, 0o600 << 16
        entry._compresslevel = _COMPRESSION  # type: ignore[attr-defined]  # the archive's is for names alone
        checksum = hashlib.sha256()
        with self._archive.open(entry, "w", force_zip64=True) as member:

            def write(content: bytes) -> None:
                checksum.update(content)
                member.write(content)

            yield write
        self._sums[name] = checksum.hexdigest()


class Archive:
    """A backup that is read."""

    def __init__(self, archive: ZipFile, about: Mapping[str, Any]) -> None:
        self._archive = archive
        self._members = frozenset(archive.namelist())
        self.documents_of: Mapping[str, int] = about["documents"]
        """Name of a collection -> how many documents there are of it."""
        self._removed_runs = frozenset(about.get("removed_runs", ()))

    def documents(self, name: str) -> Iterator[dict[str, Any]]:
        """The documents of a collection, of which it may have none, without what is of a run that was removed."""
        documents = self._all_documents(name)
        if self._removed_runs and name == "runs":
            return (run for number, run in enumerate(documents) if number not in self._removed_runs)
        if self._removed_runs and name == "metrics":
            there = {run["_id"] for run in self.documents("runs")}
            return (series for series in documents if series["run_id"] in there)
        return documents

    def _all_documents(self, name: str) -> Iterator[dict[str, Any]]:
        return (decode(document.raw, EXACT) for document in self._raw_documents(name))

    def _raw_documents(self, name: str) -> Iterator[RawBSONDocument]:
        if name in self.documents_of:
            with self._archive.open(f"collections/{name}.bson") as member:
                yield from decode_file_iter(member, DEFAULT_RAW_BSON_OPTIONS)

    def runs(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Every run with the series of its metrics."""
        series = groupby(self.documents("metrics"), key=lambda one: one["run_id"])
        run_id, found = next(series, (None, iter(())))
        for run in self.documents("runs"):
            if run["_id"] == run_id:
                yield run, list(found)
                run_id, found = next(series, (None, iter(())))
            else:
                yield run, []
        if run_id is not None:
            raise ValueError("metrics without a run, or in another order")

    def file_entries(self) -> dict[Any, bytes]:
        """Id -> entry in `fs.files`, as BSON, of the stored files."""
        entries = (bytes(document.raw) for document in self._raw_documents("fs.files"))
        return {decode(entry, EXACT)["_id"]: entry for entry in entries}

    def content(self, file_id: Any) -> bytes | None:
        """The content of a stored file; None where the store did not have it whole."""
        name = f"files/{file_id}"
        return self._archive.read(name) if name in self._members else None

    def check(self) -> None:
        """Read everything once.

        Raises:
            one of _DAMAGE: something is not as it was written.
        """
        lines = self._archive.read(_SUMS).decode().splitlines()
        sums = {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}
        if sorted([*sums, _SUMS]) != sorted(self._archive.namelist()):
            raise ValueError("members are missing")
        if not {"runs", "metrics", "fs.files"} <= self.documents_of.keys():
            raise ValueError("collections are missing")
        for name, checksum in sums.items():
            if self._checksum(name) != checksum:
                raise ValueError(f"{name} has changed")
        for name, number in self.documents_of.items():
            lengths = [len(document.raw) for document in self._raw_documents(name)]
            if len(lengths) != number:
                raise ValueError(f"{name} is not whole")
            check_length(name, max(lengths, default=0))
        for _ in self.runs():
            pass
        check_contents(self)

    def length_of(self, file_id: Any) -> int | None:
        """Bytes of the content of a stored file; None where the store did not have it whole."""
        name = f"files/{file_id}"
        return self._archive.getinfo(name).file_size if name in self._members else None

    def _checksum(self, name: str) -> str:
        checksum, length = hashlib.sha256(), 0
        with self._archive.open(name) as member:
            while block := member.read(_READ_BYTES):
                checksum.update(block)
                length += len(block)
        if length != self._archive.getinfo(name).file_size:
            raise ValueError(f"{name} is not as long as it says")
        return checksum.hexdigest()
