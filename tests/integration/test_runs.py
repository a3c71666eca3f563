"""Runs read back: found by what they are, with their metrics, files and weights."""

import copy
import hashlib
import io
import json
import math
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pymongo.database import Database

from experiments.sweep import _Driver
from experiments.trial import find_completed
from pipeline.data import build_preprocessing, load_splits
from pipeline.models import build_model
from pipeline.plugins import loading
from pipeline.plugins.loading import PluginSource, loaded_sources, recording_source
from pipeline.runs.listing import group_runs, sorted_runs
from pipeline.runs.load_model import load_run_model
from pipeline.runs.query import PORTION, ArtifactError, RunNotFound, Runs, StoredRun
from pipeline.runs.stored_parts import config_of
from pipeline.runs.summary import summaries
from pipeline.sweeps.goal import Goal, Objective
from pipeline.sweeps.state import SweepState, Trial
from pipeline.sweeps.trial_spec import SweepOfTrial
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.evaluation import predict, score
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.gridfs import content_id
from pipeline.tracking.run_document import FORMAT, REEVALUATION
from pipeline.tracking.store import connect, next_run_id
from pipeline.util.errors import InvalidInput
from pipeline.util.json_text import to_json
from tests.helpers.paths import ROOT
from tests.helpers.two_runs import TwoRuns


@pytest.fixture(scope="module")
def runs(two_runs: TwoRuns) -> Runs:
    return Runs(connect(EmbeddedStore(two_runs.home).start()))


@pytest.fixture
def run(runs: Runs) -> StoredRun:
    return runs.get(1)


def ids(found: list[StoredRun]) -> list[int]:
    return [run.run_id for run in found]


# Found


def test_a_notebook_opens_the_store_of_its_folder(two_runs: TwoRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(two_runs.home))
    monkeypatch.delenv("ODENET_MONGO_URL", raising=False)
    assert Runs().get(1).status == "COMPLETED"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [2, 1]),
        ({"config.model.body": "odenet"}, [1]),
        ({"config.model.body": "ODENET"}, []),
        ({"config.model.body": "ode"}, []),
        ({"config.seed": 0, "status": "COMPLETED"}, [2, 1]),
        ({"config.seed": "0"}, []),
        ({"config.data.subset": 200, "config.model.body": "resnet"}, [2]),
        ({"config.training.patience": None}, [2, 1]),
        ({"status": "DIED"}, []),
        ({"config.seed": {"$gte": 0}}, []),  # a value, not an operator
        ({"status": {"$ne": ""}}, []),
    ],
)
def test_runs_are_found_by_exact_values(runs: Runs, filters: dict[str, Any], found: list[int]) -> None:
    assert ids(runs.find(filters)) == found


def test_the_newest_come_first_and_no_more_than_asked_for(runs: Runs) -> None:
    assert ids(runs.find(limit=1)) == [2]


def stored(run_id: int, status: str, heard_of: timedelta) -> dict[str, Any]:
    """As much of a run's document as finding it takes."""
    return {"_id": run_id, "format": FORMAT, "status": status, "heartbeat": datetime.now(UTC) - heard_of}


def test_who_runs_and_who_died_is_told_by_the_heartbeat(database: Database[dict[str, Any]]) -> None:
    now, long_ago = timedelta(0), timedelta(minutes=2)
    states = [("RUNNING", now), ("RUNNING", long_ago), ("DIED", long_ago), ("COMPLETED", long_ago), ("RUNNING", now)]
    database.runs.insert_many([stored(number, *state) for number, state in enumerate(states, start=1)])
    found = {status: ids(Runs(database).find({"status": status})) for status in ("RUNNING", "DIED", "COMPLETED")}
    assert found == {"RUNNING": [5, 1], "DIED": [3, 2], "COMPLETED": [4]}
    assert ids(Runs(database).find({"status": "DIED"}, limit=1)) == [3]


@pytest.mark.parametrize("portion", [3, PORTION])
def test_the_newest_runs_are_found_over_gaps_and_beside_other_programs_runs(
    database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    monkeypatch.setattr("pipeline.runs.query.PORTION", portion)
    kept = (1, 7, 250, 251, 900)
    database.runs.insert_many([stored(run_id, "COMPLETED", timedelta(0)) for run_id in kept])
    database.runs.insert_many([{"_id": 252, "format": "other"}, {"_id": "named"}])
    for counted in (False, True):  # also where nobody has asked for an id yet
        assert ids(Runs(database).find(limit=4)) == [900, 252, 251, 250]
        assert ids(Runs(database).find(limit=99)) == [900, 252, 251, 250, 7, 1, "named"]
        assert ids(Runs(database).find({"status": "COMPLETED"}, limit=4)) == [900, 251, 250, 7]
        assert counted or next_run_id(database) == 901


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["seed=0", "data=digits"], [2, 1]),
        (["config.training.patience=None"], [2, 1]),
        (["training.max_epochs>=3", "lr<1"], [2, 1]),
        (["training.max_epochs>3"], []),
        (["result>=0", "accuracy<=1"], [2, 1]),
        (["model~RESNET"], [2]),
        (["model!~resnet"], [1]),
        (["model=odenet"], [1]),
        (["data!=digits"], []),
        (["data~dig"], [2, 1]),
        (["status!=failed", "kind=training"], [2, 1]),
        (["kind!=training"], []),
        (["since=1h"], [2, 1]),
        (["until=1h"], []),
        (["started>=2026-01-01"], [2, 1]),
        (["info.training.epochs=3"], [2, 1]),
    ],
)
def test_words_with_operators_find_runs(runs: Runs, words: list[str], found: list[int]) -> None:
    assert ids(runs.find(words)) == found
    assert sorted(runs.to_frame(words).index) == sorted(found)


@pytest.mark.parametrize("word", ["digits", "=digits", "$where=1"])
def test_a_word_that_is_no_filter_is_refused(runs: Runs, word: str) -> None:
    with pytest.raises(InvalidInput, match="is not a filter; write it as in"):
        runs.find([word])


def test_a_text_in_the_place_of_a_list_of_words_is_not_taken_apart(runs: Runs) -> None:
    with pytest.raises(InvalidInput, match=r"are the text 'data=digits': give a list, as \['data=digits'\]"):
        runs.to_frame("data=digits")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("training.lrr=3", r"no run has a field training.lrr \(did you mean config.training.lr\?\)"),
        ("test.acuracy>0.5", r"no run has a field test.acuracy \(did you mean test.accuracy\?\)"),
        ("acuracy>0.5", r"no run has a field acuracy \(did you mean accuracy\?\)"),
        ("stats!=FAILED", r"no run has a field stats \(did you mean status\?\)"),
        ("nobody.has.this=3", "no run has a field nobody.has.this"),
        ("status=faild", r"there is no status 'faild' \(did you mean FAILED\?\); there are QUEUED, RUNNING, COMPLETED"),
        ("status>FAILED", "a status is compared with = or !="),
        ("kind=trail", r"there is no kind 'trail' \(did you mean trial\?\)"),
        ("result>high", "'result>high' compares with 'high', which is no number"),
        ("since=yesterday", "'since=yesterday' names no time"),
        ("since>2d", "write it as in since=2d"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_with_what_was_meant(runs: Runs, word: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        runs.find([word])


@pytest.mark.parametrize("value", [{1, 2}, 2**70, 1j])
def test_a_value_that_nothing_stored_can_have_is_refused(runs: Runs, value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^[^\n]*$"):
        runs.find({"config.seed": value})


@pytest.mark.parametrize("run_id", [0, 99, -1])
def test_an_unknown_run_is_told_in_one_sentence(runs: Runs, run_id: int) -> None:
    with pytest.raises(RunNotFound, match=rf"^there is no run {run_id}; `odenet runs` lists those there are$"):
        runs.get(run_id)


# Shown


def test_a_frame_has_a_row_for_each_run(runs: Runs) -> None:
    frame = runs.to_frame()
    assert frame.index.name == "run_id"
    assert frame.index.tolist() == [2, 1]
    assert frame.loc[1, "config.model.body"] == "odenet"
    assert frame.loc[1, "result"] == frame.loc[1, "info.test.accuracy"]
    assert frame["config.training.max_epochs"].tolist() == [3, 3]
    assert runs.to_frame({"config.model.body": "none"}).empty


def test_metrics_are_series_indexed_by_epoch(run: StoredRun) -> None:
    metrics = run.metrics()
    loss = metrics["validation.loss"]
    assert (loss.name, loss.index.name, loss.index.tolist()) == ("validation.loss", "epoch", [1, 2, 3])
    assert loss.dtype == float
    assert metrics["solver.nfe_forward"].tolist() == [1, 1, 1]


def test_the_last_values_of_several_runs_come_together(runs: Runs) -> None:
    found = runs.find()
    last = runs.last_values(found, ["solver.nfe_forward", "validation.loss"])
    assert set(last) == {1, 2}
    assert last[1] == {
        "solver.nfe_forward": 1.0,
        "validation.loss": runs.get(1).metrics()["validation.loss"].iloc[-1],
        "epoch": 3,
    }
    assert set(last[2]) == {"validation.loss", "epoch"}


# Files and weights


def test_weights_give_the_rebuilt_network_its_accuracy_on_the_test_split(run: StoredRun) -> None:
    config = ClassificationConfig.from_dict(run.config)
    splits = load_splits(config.data, config.seed, torch.device("cpu"))
    channels, height, width = splits.train.pixels.shape[1:]
    preprocessing = build_preprocessing(config.data, (channels, height, width))
    network = build_model(config.model, config.solver, preprocessing.output_shape, len(splits.classes))
    network.load_state_dict(run.weights())
    predictions = predict(network, splits.test, preprocessing, config.evaluation.batch_size)
    assert score(predictions, splits.classes).accuracy == run.result
    stored = np.load(io.BytesIO(run.artifact("predictions.npz")), allow_pickle=False)
    np.testing.assert_allclose(predictions.probabilities, stored["probabilities"], atol=1e-6)


def test_an_artifact_that_is_not_there_is_told_with_those_that_are(run: StoredRun) -> None:
    with pytest.raises(ArtifactError, match=r"^run 1 has no artifact weights\.pt; it has .*weights\.safetensors"):
        run.artifact("weights.pt")


def test_a_run_that_ended_early_has_no_weights(run: StoredRun) -> None:
    early = StoredRun({**run.document, "status": "FAILED", "info": {}}, run.database)
    with pytest.raises(ArtifactError, match=r"^run 1 has no weights: it ended \(FAILED\) before they were stored$"):
        early.weights()


def test_a_run_that_goes_on_has_no_weights_yet(run: StoredRun) -> None:
    now = datetime.now(UTC)
    live = StoredRun({**run.document, "status": "RUNNING", "heartbeat": now, "heard": now, "info": {}}, run.database)
    live.document["host"] = {**run.document["host"], "hostname": "elsewhere"}
    with pytest.raises(ArtifactError, match=r"^run 1 has no weights yet: they are stored when it ends$"):
        live.weights()


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that other tests of this process have loaded."""
    monkeypatch.setattr(loading, "_loaded", {})


@pytest.mark.usefixtures("no_plugins")
def test_a_run_on_other_data_of_the_same_name_is_not_taken_for_one_on_these(
    run: StoredRun, database: Database[dict[str, Any]]
) -> None:
    config = config_of(run)
    for uid, data_sha256 in (("same", run.facts.data_sha256), ("other", "0" * 64)):
        document = copy.deepcopy(dict(run.document)) | {"uid": uid}
        document["info"]["data"]["sha256"] = data_sha256
        database.runs.delete_many({})
        database.runs.insert_one(document)
        found = find_completed(database, "classification", config)
        assert (found is not None) == (uid == "same")


@pytest.mark.usefixtures("no_plugins")
def test_a_run_with_another_plugin_is_not_taken_for_one_with_these(
    run: StoredRun, database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    document = copy.deepcopy(dict(run.document))
    database.runs.insert_one(document)
    file = tmp_path / "mine.py"
    file.write_text("from pipeline import plugins\n\n\n@plugins.metric('odd')\ndef odd(scores, labels): return 0.0\n")
    assert find_completed(database, "classification", config_of(run)) is not None
    with recording_source(PluginSource(str(file), file.name, file.read_bytes())):
        assert find_completed(database, "classification", config_of(run)) is None
        [source] = loaded_sources()
        plugin = {"spec": source.spec, "name": source.name, "file_id": content_id(source.name, source.content)}
        database.runs.update_one({"_id": run.run_id}, {"$set": {"experiment.plugins": [plugin]}})
        assert find_completed(database, "classification", config_of(run)) is not None
        database.runs.update_one({"_id": run.run_id}, {"$set": {"info.callbacks": ["Mine"]}})  # objects, of a notebook
        assert find_completed(database, "classification", config_of(run)) is None


def test_a_trial_whose_run_ended_while_its_sweep_was_interrupted_is_over(runs: Runs, run: StoredRun) -> None:
    state = SweepState({1: Trial(1, {}, run_id=run.run_id), 2: Trial(2, {}, run_id=999), 3: Trial(3, {})})
    goal = Goal((Objective("validation.accuracy", "max"),))
    of_trials = SweepOfTrial(1, "uid", goal, None, skips_existing=False, plugins=())
    _Driver._settle_unfinished(SimpleNamespace(_state=state, _runs=runs, _of_trials=of_trials))  # type: ignore[arg-type]
    assert [trial.outcome for trial in state.trials.values()] == ["completed", "interrupted", "interrupted"]
    assert state.over() == [state.trials[1]]
    assert state.trials[1].value == max(run.metrics()["validation.accuracy"])


@pytest.fixture
def tampered(run: StoredRun, database: Database[dict[str, Any]]) -> StoredRun:
    """A copy of the run in another store, there to be changed."""
    (weights,) = (artifact for artifact in run.document["artifacts"] if artifact["name"] == "weights.safetensors")
    for name, key in (("fs.files", "_id"), ("fs.chunks", "files_id")):
        database[name].insert_many(list(run.database[name].find({key: weights["file_id"]})))
    return StoredRun(run.document, database)


def test_a_copy_that_nobody_changed_is_read(tampered: StoredRun, run: StoredRun) -> None:
    assert tampered.weights().keys() == run.weights().keys()


def test_weights_with_one_changed_byte_are_refused(tampered: StoredRun) -> None:
    chunk = tampered.database["fs.chunks"].find_one({"n": 0})
    assert chunk is not None
    data = bytearray(chunk["data"])
    data[-1] ^= 1
    tampered.database["fs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": bytes(data)}})
    with pytest.raises(ArtifactError, match="has been changed in the store"):
        tampered.weights()


def test_weights_put_in_place_of_those_that_the_run_recorded_are_refused(tampered: StoredRun) -> None:
    other = pickle.dumps("not weights at all")
    (chunk,) = tampered.database["fs.chunks"].find()
    tampered.database["fs.chunks"].update_one({"_id": chunk["_id"]}, {"$set": {"data": other}})
    entry = {"length": len(other), "metadata.sha256": hashlib.sha256(other).hexdigest()}
    tampered.database["fs.files"].update_one({"_id": chunk["files_id"]}, {"$set": entry})
    with pytest.raises(ArtifactError, match="not those that it recorded: do not use them"):
        tampered.weights()


def test_weights_whose_chunks_are_gone_are_not_whole(tampered: StoredRun) -> None:
    tampered.database["fs.chunks"].delete_many({})
    with pytest.raises(ArtifactError, match="is not whole in the store"):
        tampered.weights()


def test_nothing_that_is_read_back_is_unpickled() -> None:
    for name in ("runs/query.py", "runs/load_model.py", "tracking/record.py", "tracking/gridfs.py", "tracking/sync.py"):
        source = (ROOT / "pipeline" / name).read_text()
        assert "pickle" not in source.replace("unpickle", "")
        assert "torch.load" not in source


# Nearly found


def test_a_number_out_of_a_frame_of_ours_gets_its_run(runs: Runs) -> None:
    frame = runs.to_frame()
    best = frame["result"].idxmax()
    assert runs.get(best).run_id == best
    assert ids(runs.find({"config.seed": frame["config.seed"].max(), "status": "COMPLETED"})) == [2, 1]
    assert ids(runs.find({"_id": np.int64(2)})) == [2]


def test_what_is_no_number_of_a_run_is_told(runs: Runs) -> None:
    for wrong in ("1", 1.5, None):
        with pytest.raises(RunNotFound, match=f"there is no run {wrong!r}"):
            runs.get(wrong)


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        (["data=Digits"], "no run has data='Digits', and there is data=digits"),
        (["seed=5", "lr=3"], "no run matches seed=5 lr=3; there are 2 runs in the store"),
        (["status=FAILED"], "no run matches status=FAILED; there are 2 runs in the store"),
        ({"config.seed": "0"}, "no run has config.seed='0', and there is config.seed=0"),
        ({"config.model": {}}, "no run matches config.model={}; there are 2 runs in the store"),
    ],
)
def test_filters_that_match_nothing_are_answered_with_what_is_near(runs: Runs, filters: Any, hint: str) -> None:
    assert runs.find(filters) == []
    assert runs.why_nothing(filters) == hint


def test_runs_are_sorted_by_any_field_and_those_without_it_come_last(runs: Runs) -> None:
    found = runs.find()
    assert ids(sorted_runs(found, "params")) == [1, 2]
    assert ids(sorted_runs(found, "-params")) == [2, 1]
    assert ids(sorted_runs(found, "info.rerun_of")) == [2, 1]
    results = (0.4, nan, 0.99, 0.5, nan, 0.7, 0.3)
    many = [replace(found[0], document={**found[0].document, "_id": k, "result": one}) for k, one in enumerate(results)]
    assert ids(sorted_runs(many, "-result")) == [2, 5, 3, 0, 6, 1, 4], "what is no number comes last, too"
    assert ids(sorted_runs(many, "result")) == [6, 0, 3, 5, 2, 1, 4]
    with pytest.raises(InvalidInput, match="none of these runs has a field 'parms'"):
        sorted_runs(found, "parms")


def test_runs_that_differ_in_their_seed_alone_are_a_group_with_mean_and_deviation(runs: Runs) -> None:
    run = runs.get(1)
    document = {**run.document, "_id": 9, "result": 1.0, "config": {**run.config, "seed": 5}}
    document["info"] = {**run.info, "test": {**run.facts.test, "accuracy": run.result + 0.1}}
    found = [StoredRun(document, runs.database), runs.get(2), run]
    groups = group_runs(found, summaries(runs, found), "seed")
    assert [[row.run_id for row in group.rows] for group in groups] == [[9, 1], [2]]
    told = groups[0].to_dict()
    assert told["mean"]["accuracy"] == pytest.approx(run.result + 0.05)
    assert told["standard_deviation"]["accuracy"] == pytest.approx(0.1 / 2**0.5)
    assert len(group_runs(found, summaries(runs, found), "config")) == 3


def test_a_number_that_was_written_otherwise_is_the_same_in_a_group(runs: Runs) -> None:
    run = runs.get(1)
    assert isinstance(run.config["model"]["final_time"], float)
    config = {**run.config, "model": {**run.config["model"], "final_time": 1}}
    found = [StoredRun({**run.document, "_id": 9, "config": config}, runs.database), run]
    assert len(group_runs(found, summaries(runs, found), "config")) == 1


def test_a_seed_that_was_trained_again_counts_once_in_a_group(runs: Runs) -> None:
    run = runs.get(1)
    found = []
    for run_id, seed, accuracy in ((9, 5, 0.6), (8, 1, 0.4), (7, 1, 0.4), (6, 1, 0.4)):
        document = {**run.document, "_id": run_id, "config": {**run.config, "seed": seed}}
        document["info"] = {**run.info, "test": {**run.facts.test, "accuracy": accuracy}}
        found.append(StoredRun(document, runs.database))
    [group] = group_runs(found, summaries(runs, found), "seed")
    told = group.to_dict()
    assert (told["completed"], told["seeds"]) == (4, 2)
    assert told["mean"]["accuracy"] == pytest.approx(0.5)
    assert told["standard_deviation"]["accuracy"] == pytest.approx(0.2 / 2**0.5)
    assert group.counted == "4 of 4, 2 seeds"


def test_a_result_that_is_no_number_is_in_no_mean_and_said_to_be_missing(runs: Runs) -> None:
    run = runs.get(1)
    found = []
    for run_id, accuracy in ((9, 0.5), (8, math.nan), (7, 0.7), (6, math.inf)):
        document = {**run.document, "_id": run_id, "config": {**run.config, "seed": run_id}}
        document["info"] = {**run.info, "test": {**run.facts.test, "accuracy": accuracy}}
        found.append(StoredRun(document, runs.database))
    [group] = group_runs(found, summaries(runs, found), "seed")
    assert group.to_dict()["mean"]["accuracy"] == pytest.approx(0.6)
    spec = next(spec for spec in group.rows[0].results if spec.quantity == "accuracy")
    assert group.spread(spec) == "60.00% ± 14.14% (2 of 4)"


def test_a_metric_whose_description_was_reworded_is_the_same_metric_in_a_group(runs: Runs) -> None:
    run, found = runs.get(1), []
    for run_id, says in ((9, "in other words"), (8, None)):
        experiment = copy.deepcopy(run.document["experiment"])
        for entry in experiment["metrics"]:
            entry["says"] = says or entry["says"]
        document = {**run.document, "_id": run_id, "experiment": experiment, "config": {**run.config, "seed": run_id}}
        document["info"] = {**run.info, "test": {**run.facts.test, "accuracy": run_id / 10}}
        found.append(StoredRun(document, runs.database))
    [group] = group_runs(found, summaries(runs, found), "seed")
    assert group.to_dict()["mean"]["accuracy"] == pytest.approx(0.85)


def test_runs_of_other_sources_of_a_plug_in_are_no_group(runs: Runs) -> None:
    run, found = runs.get(1), []
    for run_id in (9, 8):
        plugins = [{"name": "my_field.py", "file_id": f"{run_id}" * 12, "spec": "my_field.py"}]
        experiment = {**run.document["experiment"], "plugins": plugins}
        found.append(StoredRun({**run.document, "_id": run_id, "experiment": experiment}, runs.database))
    assert len(group_runs(found, summaries(runs, found), "seed")) == 2
    assert len(group_runs(found, summaries(runs, found), "config")) == 2


def test_an_empty_store_is_said_to_be_empty(database: Database[dict[str, Any]]) -> None:
    assert Runs(database).why_nothing([]).startswith("there is no run in the store yet: `odenet run with")


def test_what_is_no_training_has_no_weights_for_that_reason(runs: Runs) -> None:
    run = runs.get(1)
    info = {key: value for key, value in run.document["info"].items() if key != "weights"}
    experiment = {**run.document["experiment"], "name": REEVALUATION}
    evaluation = {**run.document, "_id": 9, "info": {**info, "parent": 1}, "experiment": experiment}
    with pytest.raises(InvalidInput, match=r"^run 9 is a re-evaluation of run 1"):
        StoredRun(evaluation, runs.database).weights()
    evaluation["config"] = {**run.config, REEVALUATION: {"parent": 1}}
    with pytest.raises(InvalidInput, match=r"^run 9 is a re-evaluation of run 1.*: name run 1$"):
        load_run_model(StoredRun(evaluation, runs.database), torch.device("cpu"))
    script = {**run.document, "_id": 9, "info": info, "experiment": {**experiment, "name": "my_script"}}
    script["experiment"].pop("task", None)
    with pytest.raises(ArtifactError, match=r"^run 9 has no weights: it is no training of a task$"):
        StoredRun(script, runs.database).weights()


def test_times_in_json_say_their_zone(runs: Runs) -> None:
    shown = json.loads(to_json(runs.get(1).to_dict()))
    assert datetime.fromisoformat(shown["start_time"]).utcoffset() == timedelta(0)
    [row, _] = summaries(runs, runs.find())
    assert datetime.fromisoformat(row.started).utcoffset() == timedelta(0)
