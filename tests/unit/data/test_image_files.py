"""A person's own images, as they lie in folders."""

from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.image_files import read_images
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A PNG beside what a Mac and a camera leave."""
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    return tmp_path


def test_hidden_files_that_are_called_like_images_are_no_images(folder: Path) -> None:
    assert read_images([folder], (1, 8, 8)).names == (f"{folder}/a.png",)


def test_pictures_of_other_formats_are_left_out_and_said(folder: Path) -> None:
    for name in ("b.gif", "c.BMP"):
        Image.new("L", (8, 8)).save(folder / name)
    with pytest.warns(OdenetWarning, match=r"2 pictures of other formats, such as b.gif, are left out of .*: convert"):
        assert len(read_images([folder], (1, 8, 8)).names) == 1


def test_a_folder_of_such_pictures_alone_is_refused_with_what_it_has(folder: Path) -> None:
    (folder / "a.png").unlink()
    (folder / "b.webp").write_bytes(b"x")
    with pytest.raises(
        InvalidInput, match=r"has no PNG or JPEG files; it has 1 pictures of other formats, such as b.webp: convert"
    ):
        read_images([folder], (1, 8, 8))
