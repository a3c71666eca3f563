"""Runs on images of one's own, from the command line to the record: what was converted is said, and kept."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config import ImageConfig
from pipeline.data import load_splits
from pipeline.data.sets.digits import read_digits
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from tests.helpers.commands import database_of, start_command
from tests.helpers.pages import run_example
from tests.helpers.paths import ROOT

FOLDER, FLOATS = 1, 2
"""The runs: on a folder of photos, and on floats with text for labels."""
QUICK = ("model.channels=4", "solver.method=euler", "training.max_epochs=1", "training.device=cpu")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs, and beside their home the images that they were trained on."""
    folder = tmp_path_factory.mktemp("own")
    digits = read_digits()
    for number, (image, label) in enumerate(zip(digits.x_train[:200, :, :, 0], digits.y_train, strict=False)):
        place = folder / "photos" / f"number {label}"
        place.mkdir(parents=True, exist_ok=True)
        size = (16, 16) if number % 2 else (12, 9)
        ending = "jpg" if number % 3 else "png"
        Image.fromarray(image).resize(size).save(place / f"{number}.{ending}")
    np.savez(
        folder / "floats.npz",
        x_train=digits.x_train[:200].transpose(0, 3, 1, 2) / 255,
        y_train=np.array([f"number {label}" for label in digits.y_train[:200]]),
    )
    home = folder / "home"
    photos = ("with", "odenet_simple", f"{folder / 'photos'}/", "data.image_size=8", *QUICK)
    floats = ("with", "odenet_simple", str(folder / "floats.npz"), *QUICK)
    for words in (photos, floats):
        command = start_command(home, "run", *words)
        assert command.wait() == 0, command.stderr
        (folder / f"said_{len(list(folder.glob('said_*'))) + 1}").write_text(command.stderr)
    yield home
    EmbeddedStore(home).stop()


@pytest.fixture(scope="module")
def runs(home: Path) -> Runs:
    return Runs(database_of(home))


def said(home: Path, run_id: int) -> str:
    return (home.parent / f"said_{run_id}").read_text()


CONVERTED = {
    FOLDER: [
        "200 of 200 images were resized to 8 × 8",
        "40 of 200 images were held out as the test split, the same for every seed",
    ],
    FLOATS: [
        "channels, which came first, were put last",
        "numbers from 0 to 1 became whole ones from 0 to 255",
        "the labels 'number 0' to 'number 9' became 0 to 9",
        "40 of 200 images were held out as the test split, the same for every seed",
    ],
}


@pytest.mark.parametrize("run_id", CONVERTED)
def test_what_was_converted_is_one_line_and_in_the_record(run_id: int, home: Path, runs: Runs) -> None:
    info = runs.get(run_id).info["data"]
    assert info["converted"] == CONVERTED[run_id]
    name = runs.get(run_id).config["data"]["name"]
    assert said(home, run_id).splitlines().count(f"{name}: {'; '.join(CONVERTED[run_id])}") == 1
    assert info["classes"] == [f"number {digit}" for digit in range(10)]
    assert (info["image_shape"], info["test_images"]) == ([1, 8, 8], 40)


def test_a_run_on_a_folder_is_run_again_and_comes_out_the_same(home: Path) -> None:
    command = start_command(home, "rerun", str(FOLDER), "--json")
    assert command.wait() == 0, command.stderr
    document = command.json
    assert document["status"] == "COMPLETED"
    assert not document["deviations"]


def test_a_network_is_asked_about_a_whole_folder_in_its_own_size_which_is_kept(home: Path, runs: Runs) -> None:
    photos = str(home.parent / "photos")
    words = ("--solver", "euler", "--steps", "1", "--data", photos, "--json")
    command = start_command(home, "evaluate", str(FLOATS), *words)
    assert command.wait() == 0, command.stderr
    done = command.json
    assert done["images"] == 200
    expected = [
        f"{photos}: 200 of 200 images were resized to 8 × 8",
        f"{photos}: all images are taken for test images, as they are not split",
    ]
    assert done["warnings"][:2] == expected
    assert runs.get(done["run_id"]).info["reevaluation"]["warnings"][:2] == expected


def test_of_the_trainings_images_those_held_out_are_asked_about_wherever_they_lie_now(home: Path) -> None:
    moved = home.parent / "moved"
    shutil.copytree(home.parent / "photos", moved)
    words = ("--solver", "euler", "--steps", "1", "--data", str(moved), "--json")
    command = start_command(home, "evaluate", str(FOLDER), *words)
    assert command.wait() == 0, command.stderr
    assert command.json["images"] == 40
    assert command.json["data"] == str(moved)
    assert "all images are taken for test images" not in command.stderr
    (next(moved.rglob("*.png"))).unlink()
    command = start_command(home, "evaluate", str(FOLDER), *words)
    assert command.wait() == 0, command.stderr
    assert command.json["images"] == 199


def test_jpegs_and_pngs_are_predicted_alike(home: Path) -> None:
    folder = home.parent / "photos" / "number 3"
    command = start_command(home, "evaluate", str(FOLDER), "--predict", str(folder), "--json")
    assert command.wait() == 0, command.stderr
    endings = {Path(answer["image"]).suffix for answer in json.loads(command.stdout)["images"]}
    assert endings == {".jpg", ".png"}
    assert "left out" not in command.stderr


def test_photos_of_several_sizes_are_refused_before_a_run_is_entered(home: Path, runs: Runs) -> None:
    before = runs.database.runs.count_documents({})
    command = start_command(home, "run", "with", "odenet_simple", f"{home.parent / 'photos'}/", *QUICK)
    assert command.wait() == 1
    assert (
        "have 2 sizes, from 9 × 12 to 16 × 16: have them resized to one, as with data.image_size=32" in command.stderr
    )
    assert runs.database.runs.count_documents({}) == before


def test_the_pages_example_says_what_the_page_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "data.md"
    run_example(page)
    notes = load_splits(ImageConfig(name=str(tmp_path / "flowers.npz")), seed=0, device=torch.device("cpu")).notes
    told = " ".join(page.read_text().split())
    assert len(notes) == 4
    assert f"*flowers.npz: {'; '.join(notes)}*" in told
