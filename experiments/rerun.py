"""Running a stored run again with the sources that the store holds."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.plugins.loading import PluginSource
from pipeline.runs.query import StoredRun
from pipeline.runs.reproduce import write_sources
from pipeline.runs.stored_parts import refuse_object, refuse_other_experiment, stored_plugins, stored_sources
from pipeline.tracking.provenance import PACKAGES
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
        done = subprocess.run(
            # -P: nothing of the working folder.
            [sys.executable, "-P", str(STARTER), environment["PYTHONPATH"], ",".join(own), module, *command],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    try:
        run_id = int(json.loads(done.stdout)["run_id"])
    except (ValueError, KeyError, TypeError):
        raise OdenetError(f"the stored sources of run {run.run_id} did not start a run; see above") from None
    marks = {"info.rerun_of": run.run_id, "info.source_of": run.run_id}
    if "plugins" in run.document["experiment"]:  # where they were found, and not in the folder that is gone
        marks["experiment.plugins"] = run.document["experiment"]["plugins"]
    run.database.runs.update_one({"_id": run_id}, {"$set": marks})
    return run_id


def _plugin_words(run: StoredRun, plugins: Sequence[PluginSource], folder: Path) -> list[str]:
    """Lay the run's stored plug-ins out, each file in a folder of its own; what names them on the command line."""
    words: dict[str, str] = {}
    for number, source in enumerate(plugins):
        refuse_object(run, source)
        where = folder / str(number) if source.is_file else folder
        write_sources({source.name: source.content}, where)
        words[source.spec] = str(where / source.name) if source.is_file else source.spec
    return [word for named in words.values() for word in ("--plugin", named)]
