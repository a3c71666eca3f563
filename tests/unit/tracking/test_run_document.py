"""What a run's document says, read by names: also of runs that older versions wrote."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.lookup import metric_specs as specs_of_task
from pipeline.tracking.liveness import effective_status
from pipeline.tracking.run_document import (
    RunInfo,
    RunStatus,
    files_of,
    metric_entry,
    metric_specs,
    result_spec,
    task_of,
    whole_config,
)
from pipeline.util.nested import flatten

NLL = MetricSpec("test.nll", "NLL", "negative log likelihood, test", "nats", ".3f", better="lower")


def test_a_run_without_metrics_of_its_own_is_of_image_classification() -> None:
    then = tuple(spec for spec in specs_of_task("classification") if spec.quantity in ("accuracy", "loss"))
    assert metric_specs({"format": "odenet-1", "experiment": {"name": "classification"}}) == then


def test_metrics_come_back_as_they_were_stored_and_what_a_later_version_says_of_them_is_left_out() -> None:
    assert metric_specs({"experiment": {"metrics": [{**metric_entry(NLL), "colour": "red"}]}}) == (NLL,)


def test_what_a_run_has_not_come_to_is_none() -> None:
    info = RunInfo.read({"info": {}})
    assert (info.epochs, info.nfe_test, info.weights_sha256) == (None, None, None)
    assert (info.failure, info.trial, info.parent, dict(info.test)) == (None, None, None, {})


def test_facts_of_a_task_stay_beside_those_that_all_tasks_have() -> None:
    stored = {"sha256": "ab", "classes": ["0", "1"], "training_images": 3, "test_images": 2}
    info = RunInfo.read({"info": {"data": stored}})
    assert (info.data_sha256, info.data) == ("ab", stored)
    assert info.sizes == {"training": (3, "images"), "test": (2, "images")}


def test_a_trial_has_a_mark_and_a_sweep_has_a_state_under_the_same_key() -> None:
    trial = RunInfo.read({"experiment": {"name": "classification"}, "info": {"sweep": {"id": 3, "trial": 5}}})
    assert (trial.trial, trial.sweep) == ({"id": 3, "trial": 5}, None)
    state: dict[str, Any] = {"trials": [], "events": [], "checks": []}
    sweep = RunInfo.read({"experiment": {"name": "sweep"}, "info": {"sweep": state}})
    assert (sweep.sweep, sweep.trial) == (state, None)


def test_entries_that_a_later_version_adds_do_no_harm() -> None:
    info = RunInfo.read({"info": {"energy_joule": 7, "training": {"epochs": 3, "mood": "good"}}})
    assert info.epochs == 3


@pytest.mark.parametrize(("minutes", "status"), [(0, RunStatus.RUNNING), (2, RunStatus.DIED)])
def test_a_run_whose_heartbeat_stopped_has_died(minutes: int, status: RunStatus) -> None:
    heartbeat = (datetime.now(UTC) - timedelta(minutes=minutes)).replace(tzinfo=None)  # as the store gives it
    assert effective_status({"status": "RUNNING", "heartbeat": heartbeat}) is status


def test_a_configuration_of_before_a_key_was_added_has_its_default() -> None:
    stored = ClassificationConfig().to_dict()
    del stored["solver"]["control"]
    assert whole_config({"config": stored}) == flatten(ClassificationConfig().to_dict())


def test_a_sweep_has_no_defaults_of_its_trials() -> None:
    document = {"experiment": {"name": "sweep", "task": "classification"}, "config": {"trials": 4, "seed": 0}}
    assert whole_config(document) == {"trials": 4, "seed": 0}


def test_a_configuration_of_a_task_that_is_not_here_stays_as_it_is() -> None:
    stored = {"data": {"name": "two_moons"}, "flow": {"layers": 3}, "seed": 0}
    document = {"experiment": {"name": "mixture"}, "config": stored}
    assert whole_config(document) == {"data.name": "two_moons", "flow.layers": 3, "seed": 0}


def test_a_run_says_its_task_and_which_metric_its_result_is() -> None:
    density = {"name": "density", "task": "density", "metrics": [metric_entry(NLL)], "result": "test.nll"}
    assert (task_of({"experiment": density}), result_spec({"experiment": density})) == ("density", NLL)
    for name in ("classification", "sweep", "reevaluation"):  # as format 1 has them
        document = {"experiment": {"name": name}}
        assert (task_of(document), result_spec(document).name) == ("classification", "test.accuracy")
    assert task_of({"experiment": {**density, "name": "sweep"}}) == "density"


def test_sources_of_plug_ins_are_files_of_the_run() -> None:
    artifact, source, plugin = ObjectId(), ObjectId(), ObjectId()
    experiment = {
        "sources": [["a.py", source]],
        "plugins": [{"spec": "net.py", "name": "net.py", "file_id": plugin}],
    }
    document = {"experiment": experiment, "artifacts": [{"name": "w", "file_id": artifact}]}
    assert files_of(document) == {artifact, source, plugin}
