"""Files that are written whole or not at all, and files that hold a secret."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.sweeps.ray_environment import token_file
from pipeline.util.errors import OdenetError
from pipeline.util.files import (
    append,
    create_private,
    open_to_others,
    private_folder,
    tighten,
    whole_file,
    write_result,
    write_whole,
)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("concurrent", [True, False])
def test_a_file_that_breaks_off_leaves_the_one_that_was_there(tmp_path: Path, concurrent: bool) -> None:
    path = tmp_path / "page.html"
    path.write_text("whole")

    def write_half() -> None:
        with whole_file(path, concurrent) as file:
            file.write(b"ha")
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_half()
    assert contents(tmp_path) == {"page.html": "whole"}


def test_a_file_takes_the_place_of_the_one_that_was_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"page.html": "new"}


def test_what_a_kill_left_beside_a_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "record.json.part").write_text("half of something much longer")
    write_whole(tmp_path / "record.json", b"whole")
    assert contents(tmp_path) == {"record.json": "whole"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_and_folders_are_their_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with whole_file(private_folder(tmp_path / "home" / "runs") / "backup", concurrent=True):
            pass
        write_whole(tmp_path / "home" / "record", b"")
        append(tmp_path / "home" / "metrics", b"")
        create_private(tmp_path / "home" / "login", "")
    finally:
        os.umask(before)
    assert list(open_to_others(tmp_path / "home")) == []


def test_what_a_person_asked_for_follows_the_umask_but_not_within_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(private_folder(tmp_path / "home")))
    before = os.umask(0o027)
    try:
        for name in ("page", "home/page"):
            write_result(tmp_path / name, b"", "page")
    finally:
        os.umask(before)
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "home" / "page").stat().st_mode & 0o777 == 0o600


def test_results_of_one_name_that_are_written_at_once_are_whole_and_touch_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv.part").write_text("mine")
    together = Barrier(4)

    def write(digit: str) -> None:
        together.wait()
        write_result(tmp_path / "a.csv", digit * 100_000, "table")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, "1234"))
    found = contents(tmp_path)
    assert found.pop("a.csv.part") == "mine"
    assert found.pop("a.csv") in {digit * 100_000 for digit in "1234"}
    assert not found


def test_what_other_programs_left_open_to_others_is_found_and_closed(tmp_path: Path) -> None:
    home = private_folder(tmp_path / "home")
    (home / "compiled").mkdir(mode=0o755)
    (home / "compiled" / "code.so").touch(mode=0o644)
    (home / "link").symlink_to("/etc/hostname")
    assert sorted(path.name for path in open_to_others(home)) == ["code.so", "compiled"]
    tighten(home)
    assert list(open_to_others(home)) == []


def test_what_is_appended_follows_what_is_there(tmp_path: Path) -> None:
    for line in (b"1", b"2"):
        append(tmp_path / "metrics", line)
    assert contents(tmp_path) == {"metrics": "12"}


def test_what_cannot_be_written_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "best.yaml"
    with pytest.raises(OdenetError, match=f"cannot write the configuration {path} \\(No such file or directory\\)"):
        write_result(path, "seed: 1", "configuration")


def test_a_secret_is_its_owners_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    create_private(tmp_path / "secret", "first")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_others_may_have_read_is_not_replaced(tmp_path: Path) -> None:
    for content in ("first", "second"):
        create_private(tmp_path / "secret", content)
    assert (tmp_path / "secret").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_cannot_be_put_in_its_place_is_left_nowhere(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        create_private(tmp_path / "missing" / "secret", "content")
    assert not list(tmp_path.iterdir())


def test_first_sweeps_that_begin_at_once_agree_on_one_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = 8
    together = Barrier(sweeps)

    def begin(_: int) -> str:
        together.wait()
        return token_file().read_text()

    with ThreadPoolExecutor(sweeps) as threads:
        for attempt in range(20):
            monkeypatch.setenv("ODENET_HOME", str(tmp_path / str(attempt)))
            assert len(set(threads.map(begin, range(sweeps)))) == 1


@pytest.mark.parametrize("folder", ["/", ".."])
def test_a_folder_in_place_of_a_result_is_told(folder: str) -> None:
    with pytest.raises(OdenetError, match=r"it is a folder.*: name a file in it"):
        write_result(Path(folder), "x", "page")


def test_a_result_goes_through_a_link_and_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    write_result(tmp_path / "link.html", "whole", "page")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_text() == "whole"
    os.mkfifo(pipe := tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_result(pipe, "piped", "page")
        assert read.result(timeout=60) == "piped"
    assert pipe.is_fifo()
