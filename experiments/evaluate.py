"""A trained network under other solvers, or on other data, as a run of its own that points to the one that trained it.

odenet evaluate 3 --solver euler,rk4,dopri5 --steps 1,4 --tol 1e-1,1e-3
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from sacred import Experiment
from sacred.run import Run

from experiments.ended_run import EndedRun
from experiments.one_off import run_once
from pipeline.config.sections import Config
from pipeline.device.precision import choose_device
from pipeline.reporting.console import progress_bar
from pipeline.reporting.figures import plot_solvers
from pipeline.runs.load_model import TrainedModel, restore
from pipeline.runs.query import Runs, StoredRun
from pipeline.tasks.classification.artifacts import record_hard_images, run_title
from pipeline.tasks.classification.metrics import Predictions
from pipeline.tasks.classification.solver_grid import (
    EvaluationData,
    Grid,
    Row,
    Setting,
    load_evaluation_data,
    reevaluate,
    solver_dependence,
    trained_setting,
)
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.provenance import ROOT
from pipeline.tracking.run_document import refuse_sweep
from pipeline.tracking.run_log import RunLog
from pipeline.util.errors import InvalidInput
from pipeline.util.interruption import terminable
from pipeline.util.paths import home

NAME = "reevaluation"


@dataclass(frozen=True)
class Subject:
    """What is asked, of which network, about which images."""

    parent: StoredRun
    model: TrainedModel
    settings: Sequence[Setting]
    data_name: str
    data: EvaluationData
    device: torch.device

    @property
    def config(self) -> Config:
        """The training's, with the data that are asked about."""
        trained = self.model.config
        return replace(trained, data=replace(trained.data, name=self.data_name))

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers should know of the data."""
        recorded = self.parent.info["data"]["sha256"]
        if self.data_name == self.model.config.data.name and self.data.fingerprint != recorded:
            return [f"the arrays of {self.data_name} are not those that run {self.parent.run_id} was trained on"]
        if self.data.classes != self.model.classes:
            return [f"the classes of {self.data_name} have other names than the network's: they are matched in order"]
        return []


@dataclass(frozen=True, kw_only=True)
class Reevaluation(EndedRun):
    """How a re-evaluation ended."""

    @property
    def rows(self) -> list[Row]:
        """One a setting, that of the training first; of a broken off run those that were done."""
        return [Row(**values) for values in self.document["info"][NAME]["rows"]]

    @property
    def warnings(self) -> list[str]:
        return list(self.document["info"][NAME]["warnings"])

    def to_dict(self) -> dict[str, Any]:
        """What `odenet evaluate --json` prints."""
        return {
            "run_id": self.run_id,
            "parent": self.document["info"]["parent"],
            "status": self.status,
            "result": self.document["result"],
            **self.document["info"][NAME],
            "error": self.error,
        }


def load_trained(run_id: int) -> tuple[StoredRun, TrainedModel, torch.device]:
    """The run, its network, and the device that it was put on.

    Raises:
        OdenetError: there is no such run, or it has no network of its own.
    """
    parent = Runs().get(run_id)
    refuse_sweep(parent.document)
    if parent.document["experiment"]["name"] == NAME:
        trained_by = parent.info["parent"]
        raise InvalidInput(f"run {run_id} is a re-evaluation of run {trained_by}: evaluate run {trained_by} instead")
    device = choose_device(replace(Config.from_dict(parent.config).training, device="auto"))
    return parent, restore(parent, device), device


def reevaluate_tracked(run_id: int, grid: Grid, data: str | None = None) -> Reevaluation:
    """Ask the network of run `run_id` again under the settings of `grid`, tracked in the store as a run of its own.

    Args:
        data: a data set's name or an `.npz`, whose test split is asked for; without it that of the training's data.
            A ResNet, which has no solver, is asked once, and only about other data.

    Raises:
        OdenetError: the run could not begin: its parent, the grid, the data or the store.
    """
    subject = _subject(run_id, grid, data)
    observer = StoreObserver(home())
    experiment = Experiment(NAME, base_dir=str(ROOT), save_git_info=False)

    @experiment.main
    def reevaluation(_run: Run) -> float | None:
        with terminable():
            return _evaluate(subject, RunLog(_run))

    error = run_once(experiment, _config(subject), observer, "the settings that were done are kept")
    return Reevaluation(document=observer.record.document, error=error)


def _subject(run_id: int, grid: Grid, data: str | None) -> Subject:
    parent, model, device = load_trained(run_id)
    trained = trained_setting(model.config)
    settings = grid.settings(trained)
    if not model.network.ode_blocks():
        if data is None:
            raise InvalidInput(
                f"run {run_id} is a ResNet, which has no solver to vary: ask it about other images, with --data or "
                "--predict"
            )
        settings = [trained]
    name = data or model.config.data.name
    return Subject(parent, model, settings, name, load_evaluation_data(name, model, device), device)


def _config(subject: Subject) -> dict[str, Any]:
    """The subject's configuration, and what is asked."""
    return subject.config.to_dict() | {
        NAME: {
            "parent": subject.parent.run_id,
            "settings": [setting.to_dict() for setting in subject.settings],
        }
    }


def _evaluate(subject: Subject, run_log: RunLog) -> float | None:
    """All rows, recorded as they come; the accuracy under the setting of the training, chosen before any was known."""
    images = subject.data.images
    run_log.update_info(_facts(subject))
    rows: list[Row] = []
    apart: dict[Setting, Predictions] = {}

    def keep(setting: Setting, predictions: Predictions) -> None:
        if predictions.nfe_per_image:
            apart[setting] = predictions

    with progress_bar("test", len(subject.settings) * len(images)) as progress:
        for row in reevaluate(subject.model, images, subject.settings, progress, keep):
            rows.append(row)
            run_log.update_info({NAME: _table(subject, rows, subject.notes)})
    dependence = solver_dependence(rows, len(images))
    table = _table(subject, rows, [*subject.notes, *([dependence] if dependence else [])])
    run_log.update_info({NAME: table, "test": _test(rows[0], len(images))})
    run_log.add_json("reevaluation.json", table)
    title = run_title(subject.config)
    if any(row.nfe_forward is not None for row in rows):
        run_log.add_figure("solvers.png", plot_solvers(rows, len(images), title))
    if apart:
        record_hard_images(run_log, apart, images, subject.model.classes, title)
    return rows[0].accuracy


def _facts(subject: Subject) -> dict[str, Any]:
    channels, height, width = subject.data.images.pixels.shape[1:]
    return {
        "parent": subject.parent.run_id,
        "device": str(subject.device),
        "data": {
            "sha256": subject.data.fingerprint,
            "classes": list(subject.data.classes),
            "image_shape": [channels, height, width],
            "test_images": len(subject.data.images),
        },
        "parameters": subject.parent.info["parameters"],
        NAME: _table(subject, [], subject.notes),
    }


def _table(subject: Subject, rows: Sequence[Row], warnings: Sequence[str]) -> dict[str, Any]:
    return {
        "data": subject.data_name,
        "images": len(subject.data.images),
        "batch_size": subject.model.config.evaluation.batch_size,
        "device": str(subject.device),
        "rows": [asdict(row) for row in rows],
        "warnings": list(warnings),
    }


def _test(trained: Row, images: int) -> dict[str, Any]:
    """What lists of runs show of a run's test."""
    return {
        "accuracy": trained.accuracy,
        "loss": trained.loss,
        "images": images,
        "nfe_forward": trained.nfe_forward,
        "nfe_per_image": trained.nfe_per_image,
    }
