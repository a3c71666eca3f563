"""Running a stored run again with the sources that the store holds."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymongo import ReturnDocument

from experiments.presets import resolve_changed
from pipeline.plugins.loading import PluginSource
from pipeline.runs.query import StoredRun
from pipeline.runs.reproduce import write_sources
from pipeline.runs.stored_parts import (
    load_plugins_of,
    refuse_object,
    refuse_other_experiment,
    stored_plugins,
    stored_sources,
)
from pipeline.tasks.lookup import get_task
from pipeline.tracking.board_entry import BOARD, board_entry
from pipeline.tracking.provenance import PACKAGES
from pipeline.tracking.readable import readable
from pipeline.tracking.store import translate_store_errors
from pipeline.util.errors import OdenetError
from pipeline.util.nested import flatten, merge
from pipeline.util.paths import data_folder, home

STARTER = Path(__file__).with_name("stored_source.py")
MODULES = ("odenet/main.py", "pipeline/cli.py")
"""Where the command line is in stored sources, the newest layout first."""


def rerun_stored_source(run: StoredRun, updates: Mapping[str, Any]) -> int:
    """Run it again with the sources that the store holds for it, plug-ins too, in a temporary folder; the new id.

    Raises:
        ArtifactError: the stored sources are not whole.
        OdenetError: the run did not begin.
    """
    plugins = stored_plugins(run)
    if not plugins:
        refuse_other_experiment(run)
    config = flatten(merge(run.config, updates))
    if "task" in run.document["experiment"]:
        config["task"] = run.task
    with tempfile.TemporaryDirectory(prefix="odenet-source-") as scratch:
        folder = str(Path(scratch).resolve())
        sources = stored_sources(run)
        write_sources(sources, Path(folder))
        command_line = next((module for module in MODULES if module in sources), None)
        if command_line is None:
            raise OdenetError(f"the stored sources of run {run.run_id} have no command line: rerun it with those here")
        plugin_folder = Path(folder) / "plugins"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([folder, str(plugin_folder)]),
            "ODENET_HOME": str(home()),
            "ODENET_DATA": str(data_folder()),
        }
        module = command_line.removesuffix(".py").replace("/", ".")
        words = [
            *_plugin_words(run, plugins, plugin_folder),
            "with",
            *(f"{key}={value!r}" for key, value in config.items()),
        ]
        own = {*PACKAGES, *(source.spec.partition(".")[0] for source in plugins if not source.is_file)}
        command = ["run", "--json", *words]
        # -P: nothing of the working folder.
        starter = [sys.executable, "-P", str(STARTER), environment["PYTHONPATH"], ",".join(own), module]
        said, interruption = _run_to_its_end([*starter, *command], environment)
    try:
        run_id = int(json.loads(said)["run_id"])
    except (ValueError, KeyError, TypeError):
        if interruption is not None:
            raise interruption from None
        raise OdenetError(f"the stored sources of run {run.run_id} did not start a run; see above") from None
    _mark(run, run_id)
    if interruption is not None:
        raise interruption
    return run_id


def fingerprint_here(run: StoredRun, updates: Mapping[str, Any]) -> tuple[str | None, str]:
    """The sha256 of the run's data as the sources here load them, or None and why they cannot."""
    try:
        load_plugins_of(run)
        resolved = resolve_changed(run.task, run.config, updates)
        sha256: str = get_task(resolved.task).load_data(resolved.config).sha256
    except OdenetError as error:
        return None, str(error)
    return sha256, ""


def _run_to_its_end(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, KeyboardInterrupt | None]:
    """What the command printed, and what interrupted this process meanwhile: the other one is told, and ends its run.

    The other has a session of its own, so that one interruption does not reach it twice.
    """
    interruption = None
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, start_new_session=True)
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt as error:
                interruption = error
                process.send_signal(signal.SIGINT)
        output.seek(0)
        return output.read(), interruption


def _mark(original: StoredRun, run_id: int) -> None:
    """Say in the new run's document what it repeats, which its own sources need not know of."""
    marks = {"info.rerun_of": original.run_id, "info.source_of": original.run_id}
    if "plugins" in original.document["experiment"]:  # where they were found, and not in the folder that is gone
        marks["experiment.plugins"] = original.document["experiment"]["plugins"]
    runs = original.database.runs
    with translate_store_errors():
        marked = runs.find_one_and_update({"_id": run_id}, {"$set": marks}, return_document=ReturnDocument.AFTER)
        if marked is not None:
            runs.update_one({"_id": run_id}, {"$set": {BOARD: board_entry(readable(marked)[0])}})


def _plugin_words(run: StoredRun, plugins: Sequence[PluginSource], folder: Path) -> list[str]:
    """Lay the run's stored plug-ins out, each file in a folder of its own; what names them on the command line."""
    words: dict[str, str] = {}
    for number, source in enumerate(plugins):
        refuse_object(run, source)
        where = folder / str(number) if source.is_file else folder
        write_sources({source.name: source.content}, where)
        words[source.spec] = str(where / source.name) if source.is_file else source.spec
    return [word for named in words.values() for word in ("--plugin", named)]
