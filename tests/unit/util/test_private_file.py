"""Files that hold a secret."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.sweeps.ray_environment import token_file
from pipeline.util.private_file import create_private


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
