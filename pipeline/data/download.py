"""Data sets brought from the internet: whole, verified and at once, or not at all."""

import gzip
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.data.catalogue import find, layout_of
from pipeline.data.errors import DataError
from pipeline.data.layout import Archive, TorchvisionLayout
from pipeline.util.errors import is_disk_full
from pipeline.util.files import PRIVATE, private_folder, tighten, whole_file
from pipeline.util.paths import data_folder, home
from pipeline.util.streams import with_controls

_TIMEOUT_SECONDS = 15
_CHUNK_BYTES = 1 << 18


def prepare(name: str) -> Path:
    """Where data set `name` lies, after downloading it if it is not there.

    Archives go into `.partial-NAME` of the data folder, and the data set moves from there into its place in one
    step when it is verified. An interrupt leaves that folder alone, whose whole archives the next attempt uses.
    One process at a time prepares a data set; `.lock-NAME` sees to that and stays.

    Raises:
        InvalidInput: `name` is neither known nor an `.npz` that is there.
        DataError: it cannot be downloaded or written; the data folder is as it was, but for whole archives.
    """
    where, layout = find(name), layout_of(name)
    if where is not None:
        return where
    if layout is None:
        raise DataError(f"{name} cannot be downloaded: it has no addresses")
    folder = data_folder()
    try:
        is_ours = folder.is_relative_to(home())
        if is_ours:
            private_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with only_one_process(name, folder / f".lock-{name}"):
            where = find(name) or _install(name, layout, folder)
        if is_ours:
            tighten(folder)
        return where
    except OSError as error:
        if is_disk_full(error):
            raise DataError(
                f"the disk is full: free some space for {name} in {folder}, or set ODENET_DATA to another folder"
            ) from error
        raise DataError(
            f"{name} cannot be written to {folder} ({error.strerror or error}); "
            "make the folder writable, or set ODENET_DATA to another one"
        ) from error


@contextmanager
def only_one_process(name: str, path: Path) -> Iterator[None]:
    lock = FileLock(path, mode=PRIVATE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"waiting for another process to prepare {name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _install(name: str, layout: TorchvisionLayout, folder: Path) -> Path:
    from torchvision.datasets.utils import extract_archive  # here, as `_is_official` says

    target, partial = folder / layout.folder, folder / f".partial-{name}"
    if target.exists():
        _unpack_in_place(name, layout, folder)
        if not layout.missing(folder):
            layout.read(folder)
            return target
        raise DataError(
            f"{target} is there but lacks {Path(layout.missing(folder)[0]).name}; "
            f"add it, or remove the folder and run `odenet data prepare {name}`"
        )
    unpacked = partial / "unpacked"
    partial.mkdir(exist_ok=True)
    try:
        # What an interrupt left half unpacked is worthless; archives are verified by their md5.
        shutil.rmtree(unpacked, ignore_errors=True)
        (unpacked / layout.unpack_into).mkdir(parents=True)
        _download(name, layout, partial, folder)
        for archive in layout.archives():
            extract_archive(str(partial / archive.name), str(unpacked / layout.unpack_into))
        layout.read(unpacked)
        (unpacked / layout.folder).rename(target)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
        if target.exists() or not any(partial.iterdir()):
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack_in_place(name: str, layout: TorchvisionLayout, folder: Path) -> None:
    """Unpack the archives that somebody laid where their files belong, as MNIST's four `.gz` into `raw`.

    Raises:
        DataError: one is not the official archive; what it would have become is not there then.
    """
    for archive in layout.archives():
        laid = folder / layout.unpack_into / archive.name
        unpacked = laid.with_suffix("")
        if laid.suffix != ".gz" or not laid.is_file() or unpacked.name not in map(_last, layout.missing(folder)):
            continue
        if not _is_official(laid, archive):
            raise DataError(
                f"{laid} is not the official archive (its md5 is another than {archive.md5}): remove it and run "
                f"`odenet data prepare {name}`"
            )
        with gzip.open(laid, "rb") as packed, whole_file(unpacked) as file:
            shutil.copyfileobj(packed, file)


def _last(path: str) -> str:
    return Path(path).name


def _download(name: str, layout: TorchvisionLayout, into: Path, folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=with_controls(sys.stderr))) as progress:
        for archive in layout.archives():
            problems = []
            for url in archive.urls:
                if _is_official(into / archive.name, archive):
                    break
                problems.append(_fetch(url, archive, into / archive.name, progress))
            if not (into / archive.name).is_file():
                raise DataError(
                    f"{name} is not in {folder} and cannot be downloaded ({'; '.join(problems)}); "
                    f"run `odenet data prepare {name}` where there is internet access, put torchvision's "
                    f"{layout.folder} or {name}.npz there, or set ODENET_DATA to a folder that has it"
                )


def _fetch(url: str, archive: Archive, path: Path, progress: Progress) -> str:
    """Download `url` to `path`; afterwards the file is whole, or it is gone and the answer says why."""
    problem = "it arrived damaged"
    request = urllib.request.Request(url, headers={"User-Agent": "odenet"})  # noqa: S310
    try:
        with (
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response,  # noqa: S310
            path.open("wb") as file,
        ):
            bar = progress.add_task(archive.name, total=response.length)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                progress.advance(bar, len(chunk))
    except URLError as error:
        problem = str(error.reason)
    except (OSError, HTTPException) as error:
        if is_disk_full(error):
            raise
        problem = str(error)
    finally:
        if not _is_official(path, archive):
            path.unlink(missing_ok=True)
    return f"{urlsplit(url).netloc}: {problem}"


def _is_official(path: Path, archive: Archive) -> bool:
    """Whether `path` is the whole archive, by its md5."""
    from torchvision.datasets.utils import check_integrity  # takes seconds to import, which a download alone needs

    return bool(check_integrity(path, archive.md5))
