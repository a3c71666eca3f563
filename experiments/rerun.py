"""Running a stored run again: with the sources that are here, or with those that the store holds."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.classification import Outcome, run_tracked
from pipeline.config.presets import merge
from pipeline.runs.query import StoredRun, flatten
from pipeline.runs.reproduce import stored_sources, write_sources
from pipeline.util.errors import OdenetError
from pipeline.util.paths import data_folder, home


def rerun(run: StoredRun, updates: Mapping[str, Any]) -> Outcome:
    """The stored configuration and seed, `updates` over them, as a new run that points to the old one.

    Raises:
        OdenetError: the run could not begin.
    """
    return run_tracked([], merge(run.config, updates), info={"rerun_of": run.run_id})


def rerun_stored_source(run: StoredRun, updates: Mapping[str, Any]) -> int:
    """The same with the sources that the store holds for `run`, in a temporary folder; the new run's id.

    Raises:
        ArtifactError: the stored sources are not whole.
        OdenetError: the run did not begin.
    """
    config = flatten("", merge(run.config, updates))
    with tempfile.TemporaryDirectory(prefix="odenet-source-") as folder:
        write_sources(stored_sources(run), Path(folder))
        environment = os.environ | {
            "PYTHONPATH": folder,
            "ODENET_HOME": str(home()),
            "ODENET_DATA": str(data_folder()),
        }
        done = subprocess.run(
            # -P: the stored packages, not those of the working folder
            [sys.executable, "-P", "-m", "odenet.main", "run", "--json", "with"]
            + [f"{key}={value!r}" for key, value in config.items()],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    try:
        run_id = int(json.loads(done.stdout)["run_id"])
    except (ValueError, KeyError, TypeError):
        raise OdenetError(f"the stored sources of run {run.run_id} did not start a run; see above") from None
    run.database.runs.update_one({"_id": run_id}, {"$set": {"info.rerun_of": run.run_id, "info.source_of": run.run_id}})
    return run_id
