"""Where a run comes from: commit, uncommitted changes, sources, packages, machine."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import psutil
import torch

from pipeline.device import processor
from pipeline.device.compilation import cxx_compiler
from pipeline.tracking.lean_sacred import SETTINGS, get_host_info

# `machine` knows the GPUs. Sacred asks nvidia-smi for their memory, and ends a run with a traceback where that has no
# number for it, as of a GPU that shares the processor's.
SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages."""
PACKAGES = ("odenet", "experiments", "pipeline")
"""Whose sources take part in a run."""
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_CEILING_DIRECTORIES")
"""Variables that lead git to another repository than the sources'."""
KINDS = ("*.py", "*.yaml", "*.j2")


def source_files() -> list[Path]:
    """Every file of ours that can take part in a run."""
    files = (path for package in PACKAGES for kind in KINDS for path in (ROOT / package).rglob(kind))
    return sorted(file for file in files if not file.is_symlink())


def installed_packages() -> list[str]:
    """A full freeze, `name==version`, sorted."""
    return sorted({_name_and_version(distribution) for distribution in distributions()}, key=str.lower)


def _name_and_version(distribution: Distribution) -> str:
    """By the first lines of its metadata: to parse all descriptions, as `metadata` does, takes a tenth of a second."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if ": " in line)
    return f"{fields.get('Name')}=={fields.get('Version')}"


def repositories() -> list[dict[str, Any]]:
    """The git commit that the sources are at, and whether they differ from it; empty where that is not known."""
    if not _is_checkout():
        return []
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return []
    return [
        {
            "url": _without_login(_git("config", "--get", "remote.origin.url")),
            "commit": commit.strip(),
            "dirty": bool(uncommitted_changes()),
        }
    ]


def repositories_of(folder: Path) -> list[dict[str, Any]]:
    """The same of a folder of somebody's own; empty where git tracks nothing there, or where it is ours."""
    if folder.is_relative_to(ROOT) or not _printed(_run(_git_in(folder, "ls-files"), _environment())):
        return []
    words = (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    commit, changed = (_printed(_run(_git_in(folder, *each), _environment())) for each in words)
    remote = _printed(_run(_git_in(folder, "config", "--get", "remote.origin.url"), _environment()))
    return [] if commit is None else [{"url": _without_login(remote), "commit": commit.strip(), "dirty": bool(changed)}]


def uncommitted_changes() -> str:
    """What the working tree's tracked files have beyond the commit, as a patch."""
    if not _is_checkout():
        return ""
    return _git("diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD", "--", *PACKAGES, "pyproject.toml") or ""


def why_unknown() -> str | None:
    """Why the commit of sources that lie in a checkout is not known, as git says it; None where nothing is amiss."""
    if not (ROOT / ".git").exists() or repositories():
        return None
    if shutil.which("git") is None:
        return "git is not installed"
    done = _run(_git_command("rev-parse", "HEAD"), _environment())
    said = done.stderr.strip().splitlines() if done is not None else []
    return said[0] if said else "git does not answer"


def _is_checkout() -> bool:
    """Whether git tracks the sources themselves; they may only lie in somebody's repository, as in a `.venv` there."""
    return bool(_git("ls-files", "--", *PACKAGES))


def host() -> dict[str, Any]:
    """This host as a run's record describes it."""
    return dict(get_host_info()) | {"machine": machine()}


def machine() -> dict[str, Any]:
    """Processor, memory, GPUs, CUDA, driver and compiler, beside what Sacred gathers of the host itself."""
    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "architecture": platform.machine(),
        "instructions": ", ".join(processor.instructions()),
        "cores": psutil.cpu_count(logical=True),
        "torch_threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "gpu_names": [gpu.name for gpu in gpus],
        "gpu_memory_gb": [round(gpu.total_memory / 2**30, 1) for gpu in gpus],
        "driver": _first_line(
            "nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"
        ),  # a line for each GPU
        "compiler": _first_line(cxx_compiler(), "--version"),
    }


def worker_facts(rank: int, device: torch.device) -> dict[str, Any]:
    """Of a process that trains with others: which it is, on which machine, with what."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"rank": rank, "hostname": platform.node(), "process": os.getpid(), "device": name}


def _without_login(remote: str | None) -> str:
    url = (remote or "").strip()
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else url


def _git(*arguments: str) -> str | None:
    return _printed(_run(_git_command(*arguments), _environment()))


def _git_command(*arguments: str) -> tuple[str, ...]:
    # The sources run here, so that there is nothing that git, which refuses other people's checkouts, could protect.
    return _git_in(ROOT, "-c", f"safe.directory={ROOT}", *arguments)


def _git_in(folder: Path, *arguments: str) -> tuple[str, ...]:
    return "git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments


def _environment() -> dict[str, str]:
    """Without what names another repository, as in a hook of git's."""
    return {key: value for key, value in os.environ.items() if key not in ELSEWHERE} | {"LC_ALL": "C"}


def _first_line(*command: str) -> str | None:
    said = _output(*command)
    return said.splitlines()[0] if said else None


def _output(*command: str) -> str | None:
    """What a program prints, None where it is missing or fails."""
    return _printed(_run(command))


def _printed(done: "subprocess.CompletedProcess[str] | None") -> str | None:
    return done.stdout if done is not None and done.returncode == 0 else None


def _run(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str] | None":
    """A program to its end; None where it is missing or does not come to it."""
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
