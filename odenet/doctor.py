"""`odenet doctor`: what works on this machine and what to do about the rest."""

import platform
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import psutil

from odenet.arguments import JSON, examples
from odenet.output import print_json
from pipeline.device import processor
from pipeline.reporting.terminal import Terminal, styled
from pipeline.reporting.words import counted
from pipeline.util.errors import OdenetError
from pipeline.util.paths import data_folder, home

if TYPE_CHECKING:
    from pymongo.database import Database

CLOCKS_APART_SECONDS = 5.0
MOST_LOOKED_AT = 1000
GIGABYTE = 2**30
ENOUGH_DISK_GB = 5.0
ENOUGH_SHARED_MEMORY_GB = 1.0
PACKAGES = ("torch", "torchvision", "torchdiffeq", "sacred", "pymongo", "secantusdb")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Literal["ok", "warning", "problem"]
    message: str
    """What was found and, unless it is fine, what to do."""


@click.command(short_help="What works on this machine and what to do about the rest.", epilog=examples("odenet doctor"))
@JSON
def doctor(as_json: bool) -> int:
    """Look at everything that a run needs, and say what works and what to do about the rest."""
    colours = {"ok": "green", "warning": "yellow", "problem": "red"}
    findings = []
    console = Terminal(soft_wrap=True)
    for finding in examine():
        findings.append(finding)
        if not as_json:
            verdict = (f"{finding.verdict:7}", colours[finding.verdict])
            console.print(styled(verdict, " ", (finding.name, "bold"), f": {finding.message}"))
    if as_json:
        print_json([vars(finding) for finding in findings])
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Look at everything that a run needs, one finding after the other."""
    for look in LOOKS:
        try:
            yield from look()
        except (OSError, OdenetError) as error:  # what it looks at may be what is wrong
            said = str(error)
            if isinstance(error, OSError) and error.filename:
                said = f"{error.filename} cannot be used ({error.strerror})"
            yield Finding(look.__name__.strip("_").replace("_", " "), "problem", said)


def _versions() -> Iterator[Finding]:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {packages}")


def _store() -> Iterator[Finding]:
    from pipeline.tracking.store import INDEXES, connect, store_address

    try:
        address = store_address()
        database = connect(address)
    except OdenetError as error:
        yield Finding("store", "problem", str(error))
        return
    yield Finding("store", "ok", f"{address.redacted()} answers and the login works")
    missing = [
        f"{collection}.{index.document['name']}"
        for collection, indexes in INDEXES.items()
        for index in indexes
        if index.document["name"] not in database[collection].index_information()
    ]
    if missing:
        yield Finding("indexes", "problem", f"{', '.join(missing)} missing: give the user the role readWrite and retry")
    else:
        yield Finding("indexes", "ok", "all there")
    yield _clock(database)
    database.client.close()


def _clock(database: "Database[dict[str, Any]]") -> Finding:
    from pipeline.tracking.store import clock_difference

    apart = clock_difference(database).total_seconds()
    ahead = "ahead of" if apart > 0 else "behind"
    trouble = (
        f"the store's clock is {abs(apart):,.0f} s {ahead} this machine's: set both by NTP, or times of runs cannot be "
        "compared"
    )
    return _finding("clock", trouble if abs(apart) > CLOCKS_APART_SECONDS else "", "the store's is as this machine's")


def _strays() -> Iterator[Finding]:
    from pipeline.tracking.embedded import stray_servers

    strays = list(stray_servers())
    folders = ", ".join(f"process {pid} of {folder}" for pid, folder in strays)
    pids = " ".join(str(pid) for pid, _ in strays)
    trouble = f"store servers that nobody finds any more ({folders}): `kill {pids}` ends them" if strays else ""
    yield _finding("strays", trouble, "every store server that runs can be found")


def _waiting() -> Iterator[Finding]:
    from pipeline.tracking.run_folder import is_locked, waiting_records

    waiting = [folder for folder in waiting_records(home()) if not is_locked(folder)]
    names = ", ".join(folder.name for folder in waiting)
    trouble = names and f"{names} not delivered: `odenet sync` delivers them"
    yield _finding("records", trouble, "nothing waits to be delivered but what live runs deliver themselves")
    damaged = sorted(path.name for path in (home() / "damaged").glob("*"))
    trouble = (
        f"{', '.join(damaged)} set aside in {home() / 'damaged'} with what could be read of them delivered: look at "
        "the rest, then delete them"
    )
    yield _finding("damaged records", trouble if damaged else "", "none")


def _permissions() -> Iterator[Finding]:
    from pipeline.util.files import open_to_others

    found = list(islice(open_to_others(home()), MOST_LOOKED_AT)) if home().is_dir() else []
    trouble = (
        f"{len(found)} files and folders in {home()} can be read or changed by others, such as {found[0]}: "
        f"`chmod -R go-rwx {home()}` keeps them yours"
        if found
        else ""
    )
    yield _finding("permissions", trouble, f"{home()} and all in it are yours alone")


def _device() -> Iterator[Finding]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    without = (
        f"no GPU that torch can use, so runs use the CPU ({psutil.cpu_count()} cores): "
        "ODE-Nets of the papers' sizes take minutes an epoch; install a CUDA driver where there is a GPU"
    )
    yield _finding("device", "" if names else without, f"{', '.join(names)}; CUDA {torch.version.cuda}")


def _precision() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        bf16, tf32 = torch.cuda.is_bf16_supported(False), torch.cuda.get_device_capability()[0] >= 8
        where = "this GPU"
    else:
        bf16, tf32, where = processor.is_quick_in_bfloat16(), False, "this CPU"
    quick = ["fp32", *(["tf32"] if tf32 else []), *(["bf16"] if bf16 else [])]
    yield Finding("precision", "ok", f"{', '.join(quick)} are quick on {where}; all of training.precision work")


def _compiler() -> Iterator[Finding]:
    from pipeline.device.compilation import cxx_compiler

    name, trouble = cxx_compiler(), ""
    if shutil.which(name) is None:
        trouble = f"{name} missing: long runs on the CPU are not compiled; install g++ to have them so"
    elif not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        trouble = "Python's headers missing: long runs on the CPU are not compiled; install python3-dev"
    yield _finding("compiler", trouble, f"{name} and Python's headers are there; long runs on the CPU are compiled")


def _data() -> Iterator[Finding]:
    from pipeline.data.catalogue import TASK, list_data_sets

    statuses = list_data_sets()  # a name is there once for each task that reads it
    present = dict.fromkeys(status.name for status in statuses if status.present)
    absent = {status.name: status.task for status in statuses if not status.present}
    yield Finding("data", "ok", f"{', '.join(present)} are there; files go to {data_folder()}")
    images = [name for name, task in absent.items() if task == TASK]
    if images:
        yield Finding("data", "warning", f"{', '.join(images)} absent: `odenet data prepare NAME` downloads one")
    if others := [name for name in absent if name not in images]:
        yield Finding("data", "warning", f"{', '.join(others)} absent: `odenet data list` says where they come from")


def _disk() -> Iterator[Finding]:
    folder = next(parent for parent in (home(), *home().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        said = f"{folder} cannot be written ({error.strerror}): set that right, or name another folder in ODENET_HOME"
        yield Finding("home", "problem", said)
    yield _free("disk", folder, ENOUGH_DISK_GB, "make room or set ODENET_HOME to another disk")


def _shared_memory() -> Iterator[Finding]:
    folder = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    if folder.is_dir():
        yield _free("shared memory", folder, ENOUGH_SHARED_MEMORY_GB, "in a container, start it with --shm-size=2g")


def _board() -> Iterator[Finding]:
    from pipeline.dashboard.board import outdated_dashboard

    missing = " and ".join(name for name in ("node", "npm") if shutil.which(name) is None)
    trouble = missing and f"{missing} missing: `odenet board` needs Node.js 20 or newer"
    yield _finding("dashboard", trouble, "node and npm are there; `odenet board` starts Omniboard")
    trouble = "; ".join(outdated_dashboard())
    yield _finding("dashboard's lock", trouble, "what is installed is what is locked, or nothing is")


def _free(name: str, folder: Path, enough_gb: float, remedy: str) -> Finding:
    free = shutil.disk_usage(folder).free / GIGABYTE
    found = f"{free:.1f} GB free at {folder}"
    return _finding(name, "" if free >= enough_gb else f"only {found}: {remedy}", found)


def _finding(name: str, trouble: str, fine: str) -> Finding:
    """A warning of the trouble, if there is some."""
    return Finding(name, "warning", trouble) if trouble else Finding(name, "ok", fine)


def _notifications() -> Iterator[Finding]:
    from pipeline.runs.notification import notification_file, read_targets

    try:
        targets = read_targets(notification_file())
    except OdenetError as error:
        yield Finding("notifications", "problem", str(error))
        return
    if targets:
        places = counted(len(targets), "place")
        yield Finding("notifications", "ok", f"{places} in {notification_file()}; `odenet notify` tries them")


LOOKS = (
    *(_versions, _store, _strays, _waiting, _permissions, _device, _precision, _compiler, _data, _disk, _shared_memory),
    _board,
    _notifications,
)
