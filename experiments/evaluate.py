"""A trained model under other solvers, or on other data, as a run of its own that points to the one that trained it.

odenet evaluate 3 --solver euler,rk4,dopri5 --steps 1,4 --tol 1e-1,1e-3
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from experiments.prepare import whole_test
from experiments.recording import record_report
from experiments.tracked import Outcome, observer_for, run_once
from pipeline.config import Config
from pipeline.device.precision import choose_device
from pipeline.ode import ODEBlock
from pipeline.ode.counts import ode_blocks
from pipeline.plugins import registry
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.reporting.console import progress_bar
from pipeline.runs.load_model import load_run_model
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.stored_parts import config_of
from pipeline.tasks.base import Task, TrainedModel
from pipeline.tasks.lookup import get_task
from pipeline.tasks.solver_grid import Grid, Listed, Row, Setting, reevaluate, trained_setting
from pipeline.tracking.run_document import REEVALUATION
from pipeline.tracking.run_log import RunLog
from pipeline.util.errors import InvalidInput, OdenetError, brief
from pipeline.util.interruption import terminable
from pipeline.util.paths import is_same_place


@dataclass(frozen=True)
class Subject:
    """What is asked, of which model, about which data."""

    parent: StoredRun
    task: Task[Any, Any, Any]
    model: TrainedModel[Any]
    settings: Sequence[Setting]
    data_name: str
    data: Any
    whole: Any
    """The data with all of their test split."""
    device: torch.device

    @property
    def items(self) -> int:
        return int(self.data.test_items)

    @property
    def config(self) -> Config:
        """The training's, with the data that are asked about."""
        trained: Config = self.model.config
        subset = self.items if self.items < self.whole.test_items else None
        evaluation = replace(trained.evaluation, subset=subset)
        return replace(trained, evaluation=evaluation, data=trained.data.of(self.data_name))

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers should know of the data."""
        recorded = str(self.parent.info["data"]["sha256"])
        return self.task.data_notes(self.model, self.data, recorded, self.parent.run_id)


@dataclass(frozen=True, kw_only=True)
class Reevaluation(Outcome):
    """How a re-evaluation ended."""

    @property
    def rows(self) -> list[Row]:
        """One a setting, that of the training first; of a broken off run those that were done."""
        return [Row.from_dict(values) for values in self.document["info"][REEVALUATION]["rows"]]

    @property
    def warnings(self) -> list[str]:
        return list(self.document["info"][REEVALUATION]["warnings"])

    def to_dict(self) -> dict[str, Any]:
        """What `odenet evaluate --json` prints."""
        return {
            "run_id": self.run_id,
            "parent": self.document["info"]["parent"],
            "status": self.status,
            "result": self.document["result"],
            **self.document["info"][REEVALUATION],
            "error": self.error,
        }


def load_trained(run_id: int) -> tuple[StoredRun, TrainedModel[Any], torch.device]:
    """The run, its model, and the device that it was put on.

    Raises:
        OdenetError: there is no such run, or it has no model of its own.
    """
    parent = Runs().get(run_id)
    device = choose_device(replace(config_of(parent).training, device="auto"))
    return parent, load_run_model(parent, device), device


def reevaluate_tracked(
    run_id: int, grid: Grid | Listed, data: str | None = None, limit: int | None = None
) -> Reevaluation:
    """Ask the model of run `run_id` again under the settings of `grid`, tracked in the store as a run of its own.

    Args:
        data: a data set's name or an `.npz`, whose test split is asked for; without it that of the training's data.
            A ResNet, which has no solver, is asked once, and only about other data or another part of its own.
        limit: so many items of the test split, the same as of `evaluation.subset`; 0 for all. Without it as many as the
            run was tested on, and of other data all.

    Raises:
        OdenetError: the run could not begin: its parent, the grid, the data or the store.
    """
    subject = _subject(run_id, grid, data, limit)
    observer = observer_for(subject.task)
    body = partial(_evaluate, subject)
    error = run_once(REEVALUATION, body, _config(subject), observer, "the settings that were done are kept")
    return Reevaluation(document=observer.record.document, metrics={}, error=error)


def _subject(run_id: int, grid: Grid | Listed, data: str | None, limit: int | None) -> Subject:
    parent, model, device = load_trained(run_id)
    task = get_task(parent.task)
    trained = trained_setting(task, model.config)
    settings, blocks = grid.settings(trained), ode_blocks(model.network)
    if not blocks:
        if data is None and limit is None:
            raise InvalidInput(
                f"run {run_id} is a model without an ODE, which has no solver to vary: ask it about other data, with "
                f"--data{', or images with --predict' if task.name == 'classification' else ''}"
            )
        settings = [trained]
    varies_time = {setting.final_time for setting in settings} != {trained.final_time}
    if varies_time and not any(isinstance(block, ODEBlock) for block in blocks):
        raise InvalidInput(
            f"run {run_id} is of the task {task.name}, whose solves have ends of their own: leave --T out"
        )
    model, data, whole = _asked_about(parent, task, model, data)
    name = data or model.config.data.name
    if limit is None and data is None:
        limit = model.config.evaluation.subset
    chosen = task.limited(whole, limit or None).to(device)
    return Subject(parent, task, model, settings, name, chosen, whole, device)


def _asked_about(
    parent: StoredRun, task: Task[Any, Any, Any], model: TrainedModel[Any], data: str | None
) -> tuple[TrainedModel[Any], str | None, Any]:
    """The model, the name of other data than the training's, None of those, and the data.

    Of the training's the test split is asked about, and not all of them, however they are spelt and wherever they lie
    now: what they hold decides.

    Raises:
        InvalidInput: a plug-in's task has nothing else under this name.
    """
    config, recorded = model.config, parent.info["data"]["sha256"]
    if data is None or is_same_place(data, config.data.name):
        return model, None, task.evaluation_data(model, None)
    comes_along = registry.find("task", task.name).is_shipped
    if comes_along and data not in registry.names("data set"):
        with suppress(OdenetError):
            there = replace(model, config=replace(config, data=replace(config.data, name=data)))
            found = task.evaluation_data(there, None)
            if found.sha256 == recorded:
                return there, None, found
    found = task.evaluation_data(model, data)
    if found.sha256 == recorded and not comes_along:  # it may look at no name at all
        raise InvalidInput(
            f"the task {task.name} has for {brief(data)} what run {parent.run_id} was trained on, and no other data: "
            "leave --data out"
        )
    return model, data, found


def _config(subject: Subject) -> dict[str, Any]:
    """The subject's configuration, and what is asked."""
    settings = [setting.to_dict() for setting in subject.settings]
    return subject.config.to_dict() | {REEVALUATION: {"parent": subject.parent.run_id, "settings": settings}}


@terminable()
@naming_plugin_failures()
def _evaluate(subject: Subject, run_log: RunLog) -> float | None:
    """All rows, recorded as they come; the result under the setting of the training, chosen before any was known."""
    task, items = subject.task, subject.items
    run_log.update_info(_facts(subject))
    rows: list[Row] = []
    answers: dict[Setting, Any] = {}
    with progress_bar("test", len(subject.settings) * items) as progress:
        again = partial(reevaluate, task, subject.model, subject.data, subject.settings, progress)
        for row in again(answered=answers.__setitem__):
            rows.append(row)
            run_log.update_info({REEVALUATION: _table(subject, rows, subject.notes)})
    warning = task.grid_warning(rows, items)
    table = _table(subject, rows, [*subject.notes, *([warning] if warning else [])])
    run_log.update_info({REEVALUATION: table, "test": _test(rows[0], items)})
    run_log.add_json("reevaluation.json", table)
    record_report(run_log, task.grid_report(rows, answers, subject.data, task.title(subject.config)))
    return rows[0].scores[task.result.removeprefix("test.")]


def _facts(subject: Subject) -> dict[str, Any]:
    return {
        "parent": subject.parent.run_id,
        "device": str(subject.device),
        "data": subject.task.test_facts(subject.data) | whole_test(subject.data, subject.whole),
        "parameters": subject.parent.info["parameters"],
        REEVALUATION: _table(subject, [], subject.notes),
    }


def _table(subject: Subject, rows: Sequence[Row], warnings: Sequence[str]) -> dict[str, Any]:
    return {
        "data": subject.data_name,
        "images": subject.items,
        "batch_size": subject.model.config.evaluation.batch_size,
        "device": str(subject.device),
        "rows": [row.to_dict() for row in rows],
        "warnings": list(warnings),
    }


def _test(trained: Row, items: int) -> dict[str, Any]:
    """What lists of runs show of a run's test."""
    costs = {"nfe_forward": trained.nfe_forward, "nfe_per_image": trained.nfe_per_image}
    return {**trained.scores, "images": items, **costs}
