"""Where and with what a run was made, in words."""

from collections.abc import Mapping
from typing import Any


def machine(document: Mapping[str, Any]) -> str:
    """The host of a run's document with the processor that did the work; of a resumed run also those it had before."""
    return _with_earlier(machine_now(document), document, "machine_before")


def machine_now(document: Mapping[str, Any]) -> str:
    """The same of the last session alone."""
    host = document["host"]
    found = host.get("machine", {})
    gpus = found.get("gpu_names", [])
    device = str(document["info"].get("device", ""))
    processor = gpus[0] if device.startswith("cuda") and gpus else host.get("cpu", "unknown processor")
    workers = host.get("workers") or []
    names = dict.fromkeys([host.get("hostname", "unknown host"), *(worker["hostname"] for worker in workers)])
    together = f", {len(workers)} workers" if workers else ""
    return f"{', '.join(names)} ({processor}, torch threads: {found.get('torch_threads', '?')}{together})"


def software(document: Mapping[str, Any]) -> str:
    """Python, torch and the commit of a run's document; of a resumed run also those it had before."""
    return _with_earlier(software_now(document), document, "software_before")


def software_now(document: Mapping[str, Any]) -> str:
    """The same of the last session alone."""
    host = document["host"]
    repositories = document["experiment"].get("repositories") or []
    commit = ""
    if repositories:
        changed = " with uncommitted changes" if repositories[0]["dirty"] else ""
        commit = f", commit {repositories[0]['commit'][:10]}{changed}"
    return f"Python {host.get('python_version', '?')}, torch {host.get('machine', {}).get('torch', '?')}{commit}"


def _with_earlier(now: str, document: Mapping[str, Any], entry: str) -> str:
    """With what the sessions before had otherwise; those of earlier versions may lack the entry."""
    before = dict.fromkeys(session[entry] for session in document.get("resumed", []) if entry in session)
    return "; before that ".join([now, *(words for words in before if words != now)])
