"""Whether and how a run can go on from its checkpoint on this machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pymongo.database import Database

from pipeline.config import Config, ConfigError
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.stored_parts import config_of
from pipeline.tasks.lookup import get_task
from pipeline.tracking.run_document import RunStatus
from pipeline.tracking.run_folder import claimed, run_folder
from pipeline.tracking.sync import sync_folder
from pipeline.training import load_checkpoint
from pipeline.util.errors import InvalidInput, OdenetError

CHANGEABLE = ("max_epochs", "patience", "device")


class StillRunning(InvalidInput):
    """A run that another process is at work on."""


def take_over(run_id: int, home: Path, database: Database[dict[str, Any]]) -> StoredRun:
    """A run whose process is gone, complete in the store.

    Raises:
        StillRunning: it is not gone.
        OdenetError: a record of it waits on this machine that this store does not take, or does not alone.
    """
    run = Runs(database).get(run_id)
    folder = run_folder(home, run.document)
    _refuse_live(run, folder)
    if (folder / "record.json").exists():
        delivery = sync_folder(folder, database)
        if (folder / "record.json").exists():  # what waits in it would be written over
            raise OdenetError(f"run {run_id} cannot go on with this store: {delivery.message}")
    return Runs(database).get(run_id)


def prepare_resume(
    run_id: int, updates: Mapping[str, Any], home: Path, database: Database[dict[str, Any]]
) -> tuple[StoredRun, Config, Any]:
    """The run, complete in the store, the configuration with which it goes on, and its data, on the CPU.

    Raises:
        InvalidInput: it is alive, over, or `updates` would make it another run.
        CheckpointError: its checkpoint is missing here or damaged.
        OdenetError: its data are not what they were.
    """
    run = take_over(run_id, home, database)
    config = _config(run, updates)
    state = load_checkpoint(run_folder(home, run.document) / "checkpoint.pt")
    if run.status is RunStatus.COMPLETED:
        _refuse_finished(run, config, state)
    if (epoch := state["epoch"]) > config.training.max_epochs:  # their weights may be those of a later epoch
        raise InvalidInput(
            f"run {run_id} has had {epoch} epochs already, more than training.max_epochs={config.training.max_epochs}: "
            f"end it there with training.max_epochs={epoch}"
        )
    task = get_task(run.task)
    data = task.load_data(config)
    fingerprint, then = data.sha256, run.facts.data_sha256 or ""
    if fingerprint != then:
        raise OdenetError(
            f"{config.data.name} is not what run {run_id} was trained on (sha256 {fingerprint[:12]}…, then "
            f"{then[:12]}…): bring the old data back, or start a new run"
        )
    return run, config, data


def _refuse_live(run: StoredRun, folder: Path) -> None:
    with claimed(folder) as is_free:  # on this machine the lock knows better than the heartbeat
        is_live = not is_free if folder.exists() else run.status is RunStatus.RUNNING
    if is_live:
        raise StillRunning(f"run {run.run_id} is still running on {run.document['host']['hostname']}: stop it first")


def _config(run: StoredRun, updates: Mapping[str, Any]) -> Config:
    config = config_of(run)
    changes = dict(updates.get("training", {})) if set(updates) <= {"training"} else None
    if changes is None or not set(changes) <= set(CHANGEABLE):
        allowed = ", ".join(f"training.{name}" for name in CHANGEABLE)
        raise ConfigError(
            f"a run goes on with its own configuration; only {allowed} can be changed: "
            f"`odenet rerun {run.run_id} with …` starts a new run with another one"
        )
    training = replace(config.training, **changes)
    if training.schedule != "constant" and training.max_epochs != config.training.max_epochs:
        raise ConfigError(
            f"the {training.schedule} schedule of run {run.run_id} was laid out for "
            f"{config.training.max_epochs} epochs: `odenet rerun {run.run_id} with "
            f"training.max_epochs={training.max_epochs}` starts it anew"
        )
    return replace(config, training=training)


def _refuse_finished(run: StoredRun, config: Config, state: Mapping[str, Any]) -> None:
    epoch, since = state["epoch"], state["early_stopping"]["epochs_since"]
    patience = config.training.patience
    if patience is not None and since >= patience:
        raise InvalidInput(
            f"run {run.run_id} stopped early: {since} epochs without a lower validation loss; "
            f"give it more with training.patience={since + 5}"
        )
    if epoch >= config.training.max_epochs:
        raise InvalidInput(
            f"run {run.run_id} has had all of its {epoch} epochs: give it more with training.max_epochs={epoch * 2}"
        )
