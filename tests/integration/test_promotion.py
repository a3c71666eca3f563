"""Models by name: what a name stands for, and that nothing but the promoted weights ever answers to it."""

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import jsonpickle
import numpy as np
import pytest
import torch
from bson import ObjectId

from odenet.main import main
from pipeline.config import ConfigError
from pipeline.data import load_splits
from pipeline.runs.load_model import load_model
from pipeline.runs.query import ArtifactError, RunNotFound, Runs
from pipeline.runs.registry import ModelNotFound, PromotionError, demote, get_model, list_models, promote
from pipeline.util.errors import OdenetError
from tests.helpers.pages import run_example
from tests.helpers.paths import ROOT
from tests.helpers.trained import TrainedHome


class Bomb:
    """An object that leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def asking_for_an_object(trap: Path) -> dict[str, Any]:
    """What Sacred stores for an object, here one whose making creates the folder `trap`."""
    return {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(trap)]}]}


def weights_file(trained: TrainedHome, run_id: int) -> ObjectId:
    document = trained.database.runs.find_one({"_id": run_id})
    assert document is not None
    return next(a["file_id"] for a in document["artifacts"] if a["name"] == "weights.safetensors")


def replace_weights(trained: TrainedHome, run_id: int, content: bytes) -> str:
    """Other bytes in the file's one chunk, and nothing else changed; their sha256."""
    file_id = weights_file(trained, run_id)
    trained.database.fs.chunks.update_one({"files_id": file_id}, {"$set": {"data": content}})
    trained.database.fs.files.update_one({"_id": file_id}, {"$set": {"length": len(content)}})
    return hashlib.sha256(content).hexdigest()


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def one_sentence(error: Exception) -> str:
    assert isinstance(error, OdenetError)
    assert "\n" not in str(error)
    return str(error)


def test_a_promoted_model_predicts_what_its_run_predicted(trained: TrainedHome) -> None:
    run = Runs(trained.database).get(2)
    promote(run, "digits-ode")
    model = load_model("digits-ode")
    images = load_splits(model.config.data, model.config.seed, torch.device("cpu")).test
    with torch.no_grad():
        logits = model.network(model.preprocessing.for_evaluation(images.pixels))
    stored = np.load(io.BytesIO(run.artifact("predictions.npz")))["probabilities"]
    np.testing.assert_allclose(logits.softmax(1).numpy(), stored, atol=1e-5)
    assert len(model.classes) == 10


@pytest.mark.parametrize("device", ["cuda:99", "gpu", torch.device("cuda:99"), None])
@pytest.mark.usefixtures("trained")
def test_a_device_that_is_not_there_is_refused_in_a_sentence(device: Any) -> None:
    with pytest.raises(OdenetError, match=f"^device is '{device}', but torch finds no such device here") as refused:
        load_model(1, device)
    assert one_sentence(refused.value)


def test_a_name_moves_to_another_run_and_remembers_where_it_was(trained: TrainedHome) -> None:
    runs = Runs(trained.database)
    promote(runs.get(1), "best")
    model = promote(runs.get(2), "best")
    assert model.current.run_id == 2
    assert [promotion.run_id for promotion in get_model("best", trained.database).history] == [1, 2]
    assert model.current.sha256 == runs.get(2).info["weights"]["sha256"]
    assert load_model("best").config.model.body == "odenet"


def test_the_command_promotes_lists_and_gives_up(trained: TrainedHome, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "1", "best"]) == 0
    assert main(["promote", "2", "best"]) == 0
    capsys.readouterr()
    assert main(["models"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "best" in line)
    result = Runs(trained.database).get(2).result
    assert line.split()[:3] == ["best", "2", f"{result:.2%}"]
    assert main(["models", "--json"]) == 0
    (model,) = json.loads(capsys.readouterr().out)
    assert [promotion["run_id"] for promotion in model["history"]] == [1, 2]
    assert main(["promote", "--remove", "best"]) == 0
    assert list_models(trained.database) == []


def test_what_another_program_keeps_beside_the_models_is_none(trained: TrainedHome) -> None:
    promote(Runs(trained.database).get(2), "best")
    theirs = {"run_id": 1, "sha256": "f", "promoted_at": 3}
    trained.database.models.insert_many([{"_id": "bert", "path": "/x"}, {"_id": "gpt", "history": [theirs]}])
    assert [model.name for model in list_models(trained.database)] == ["best"]
    with pytest.raises(ModelNotFound, match="there is no model bert"):
        get_model("bert", trained.database)


@pytest.mark.parametrize("words", [["1"], [], ["1", "best", "--remove", "best"]])
def test_half_a_promotion_is_wrong_use(trained: TrainedHome, words: list[str]) -> None:
    assert main(["promote", *words]) == 2
    assert list_models(trained.database) == []


@pytest.mark.parametrize("name", ["", "two words", "$set", "../up", "-x", "a\n", "12"])
def test_a_name_that_cannot_be_typed_is_refused(trained: TrainedHome, name: str) -> None:
    with pytest.raises(OdenetError, match="cannot name a model"):
        promote(Runs(trained.database).get(1), name)


def test_a_run_that_goes_on_is_not_promoted(trained: TrainedHome) -> None:
    elsewhere = {"status": "RUNNING", "host.hostname": "elsewhere"}
    trained.database.runs.update_one(
        {"_id": 1}, {"$set": elsewhere, "$currentDate": {"heartbeat": True, "heard": True}}
    )
    with pytest.raises(OdenetError, match="run 1 is still running"):
        promote(Runs(trained.database).get(1), "best")


def test_a_run_without_weights_is_not_promoted(trained: TrainedHome) -> None:
    trained.database.runs.update_one({"_id": 1}, {"$unset": {"info.weights": True}})
    with pytest.raises(ArtifactError, match="run 1 has no weights"):
        promote(Runs(trained.database).get(1), "best")
    assert list_models(trained.database) == []


def test_a_promoted_run_is_removed_only_when_its_name_is_given_up(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(Runs(trained.database).get(1), "best")
    before = trained.everything()
    assert main(["rm", "2", "1", "--yes"]) == 2
    assert "odenet promote --remove best" in capsys.readouterr().err
    assert trained.everything() == before
    demote("best", trained.database)
    assert main(["rm", "2", "1", "--yes"]) == 0
    assert trained.database.runs.count_documents({}) == 0


def test_a_run_that_the_name_has_left_can_be_removed(trained: TrainedHome) -> None:
    runs = Runs(trained.database)
    promote(runs.get(1), "best")
    promote(runs.get(2), "best")
    assert main(["rm", "1", "--yes"]) == 0
    assert load_model("best").config.model.body == "odenet"


def test_a_name_that_does_not_exist_is_told_with_the_nearest_one(trained: TrainedHome) -> None:
    promote(Runs(trained.database).get(1), "best-digits")
    with pytest.raises(ModelNotFound) as raised:
        load_model("best-digit")
    assert "did you mean best-digits?" in one_sentence(raised.value)


def test_a_model_is_loaded_by_its_run_and_by_its_number_as_a_text(trained: TrainedHome) -> None:
    run = Runs(trained.database).get(1)
    for name in (run, "1"):
        assert load_model(name).config.model.architecture == run.config["model"]["architecture"]


def test_a_model_whose_run_was_deleted_in_omniboard_says_so(trained: TrainedHome) -> None:
    promote(Runs(trained.database).get(1), "best")
    trained.database.runs.delete_one({"_id": 1})
    with pytest.raises(RunNotFound, match="no run 1"):
        load_model("best")


def test_tampered_weights_are_refused_however_far_the_tampering_went(trained: TrainedHome) -> None:
    run = Runs(trained.database).get(1)
    promote(run, "best")
    sha256 = replace_weights(trained, 1, flipped(run.artifact("weights.safetensors")))
    with pytest.raises(ArtifactError) as raised:
        load_model("best")
    assert "has been changed in the store" in one_sentence(raised.value)

    trained.database.fs.files.update_one(
        {"_id": weights_file(trained, 1)}, {"$set": {"metadata.sha256": sha256}}
    )  # the file now agrees with itself
    with pytest.raises(ArtifactError) as raised:
        load_model("best")
    assert "not those that it recorded" in one_sentence(raised.value)

    trained.database.runs.update_one({"_id": 1}, {"$set": {"info.weights.sha256": sha256}})  # and with its run
    with pytest.raises(PromotionError) as raised:
        load_model("best")
    assert "not those that were promoted" in one_sentence(raised.value)


def test_weights_that_are_a_pickle_are_never_unpickled(trained: TrainedHome, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    content = pickle.dumps(Bomb(trap))
    promote(Runs(trained.database).get(1), "best")
    sha256 = replace_weights(trained, 1, content)
    everywhere = {"$set": {"metadata.sha256": sha256, "info.weights.sha256": sha256, "history.0.sha256": sha256}}
    trained.database.fs.files.update_one({"_id": weights_file(trained, 1)}, everywhere)
    trained.database.runs.update_one({"_id": 1}, everywhere)
    trained.database.models.update_one({"_id": "best"}, everywhere)
    with pytest.raises(ArtifactError) as raised:
        load_model("best")
    assert "are no safetensors" in one_sentence(raised.value)
    assert not trap.exists()


@pytest.mark.parametrize(
    "place", ["config", "config.model", "config.model.channels", "config.data.name", "config.seed"]
)
def test_a_config_that_asks_for_objects_is_refused_and_makes_none(
    trained: TrainedHome, tmp_path: Path, place: str
) -> None:
    trap = tmp_path / "sprung"
    promote(Runs(trained.database).get(1), "best")
    trained.database.runs.update_one({"_id": 1}, {"$set": {place: asking_for_an_object(trap)}})
    with pytest.raises(ConfigError) as raised:
        load_model("best")
    assert place.removeprefix("config").removeprefix(".") in one_sentence(raised.value)
    assert not trap.exists()


def test_the_objects_of_the_test_above_would_be_made_by_sacreds_own_reader(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    jsonpickle.decode(json.dumps(asking_for_an_object(trap)), keys=True)  # noqa: S301
    assert trap.exists()


@pytest.mark.parametrize("other", ["MongoObserver-0.7.0", None])
def test_a_run_of_another_program_has_no_model_and_is_shown(trained: TrainedHome, other: str | None) -> None:
    promote(Runs(trained.database).get(1), "best")
    trained.database.runs.update_one({"_id": 1}, {"$set": {"format": other}})
    with pytest.raises(OdenetError) as raised:
        load_model("best")
    assert "(another program's)" in one_sentence(raised.value)
    assert main(["show", "1"]) == 0


def test_a_run_of_another_format_is_named_with_both_formats(
    trained: TrainedHome, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(Runs(trained.database).get(1), "best")
    trained.database.runs.update_one({"_id": 1}, {"$set": {"format": "odenet-4"}})
    with pytest.raises(OdenetError) as raised:
        load_model("best")
    sentence = one_sentence(raised.value)
    assert "odenet-4" in sentence
    assert "odenet-2 and odenet-3" in sentence
    assert main(["show", "1"]) == 1
    assert capsys.readouterr().err == f"odenet: {sentence}\n"


def test_the_pages_example_asks_a_promoted_model(trained: TrainedHome) -> None:
    promote(Runs(trained.database).get(1), "best-digits")
    page = ROOT / "docs" / "housekeeping.md"
    pixels = "__import__('torch').zeros(3, 1, 8, 8, dtype=__import__('torch').uint8)"
    assert run_example(page, ("pixels", pixels))["logits"].shape == (3, 10)
