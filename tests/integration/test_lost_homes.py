"""Homes that are deleted while something runs in them, and what others may do with those that are there."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from odenet.main import main
from pipeline.dashboard import board
from pipeline.tracking import embedded
from pipeline.tracking.embedded import EmbeddedStore, stray_servers
from pipeline.tracking.load_record import load_record
from tests.helpers.commands import SLOW, last_epoch, records, start_command, start_script
from tests.helpers.waiting import wait_until


def remove(home: Path) -> None:
    """Delete a folder into which a run writes meanwhile."""

    def is_gone() -> bool:
        shutil.rmtree(home, ignore_errors=True)
        return not home.exists()

    wait_until(is_gone)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder of the test's own, whose store runs."""
    EmbeddedStore(tmp_path / "home").start()
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


def server_of(home: Path) -> psutil.Process:
    pid = EmbeddedStore(home).status().pid
    assert pid is not None
    return psutil.Process(pid)


def is_over(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_server_of_a_home_that_is_deleted_ends(home: Path) -> None:
    server = server_of(home)
    remove(home)
    wait_until(lambda: is_over(server), seconds=40, told="the server goes on")


def test_the_server_of_a_home_that_is_moved_away_ends_and_its_data_are_whole(home: Path, tmp_path: Path) -> None:
    server = server_of(home)
    home.rename(tmp_path / "moved")
    wait_until(lambda: is_over(server), seconds=40, told="the server goes on")
    moved = EmbeddedStore(tmp_path / "moved")
    moved.start()
    moved.stop()


def test_a_server_whose_place_another_one_has_taken_ends(home: Path) -> None:
    server = server_of(home)
    (home / "store" / "server.json").write_text('{"pid": 1, "port": 20001}')
    wait_until(lambda: is_over(server), seconds=40, told="the server goes on")


def test_the_server_of_a_home_that_stays_goes_on(home: Path) -> None:
    server = server_of(home)
    with pytest.raises(psutil.TimeoutExpired):
        server.wait(timeout=6)
    assert EmbeddedStore(home).status().running


def test_doctor_finds_a_server_that_nobody_finds_any_more(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(home))
    monkeypatch.setattr(embedded, "START_SECONDS", 0)
    (tmp_path / "server.py").write_text("import time\ntime.sleep(600)\n")  # as servers of earlier versions go on
    gone = tmp_path / "gone" / "store"
    command = [sys.executable, "-P", str(tmp_path / "server.py"), str(gone), "0"]
    with subprocess.Popen(command) as stray:
        try:
            wait_until(lambda: (stray.pid, gone) in list(stray_servers()))
            assert server_of(home).pid not in {pid for pid, _ in stray_servers()}
            main(["doctor"])
            assert f"process {stray.pid} of {gone}" in capsys.readouterr().out
        finally:
            stray.send_signal(signal.SIGKILL)


def test_a_run_whose_home_is_deleted_writes_its_record_anew_and_says_where_it_waits(home: Path) -> None:
    command = start_command(home, "run", *SLOW, "training.max_epochs=40")
    wait_until(lambda: last_epoch(home) >= 3, command)
    remove(home)
    command.wait()
    (waiting,) = records(home)
    assert "was deleted under run 1: it is made anew" in command.stderr
    assert f"its record waits in {waiting}" in command.stderr
    assert "Traceback" not in command.stderr
    epochs = load_record(waiting).metrics()["training.loss"]["steps"]
    assert epochs == list(range(1, epochs[-1] + 1))
    assert epochs[-1] >= 3


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_home_and_everything_in_it_are_their_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    home = tmp_path / "home"
    script = tmp_path / "run.py"
    script.write_text(
        f"import os, sys\nfrom odenet.main import main\nos.umask({umask})\nsys.exit(main(sys.argv[1:]))\n"
    )
    command = start_script(home, script, "run", *SLOW, "training.max_epochs=1", "data.subset=60")
    try:
        assert command.wait() == 0, command.stderr
        wide = {str(path.relative_to(home)): oct(path.stat().st_mode) for path in [home, *home.rglob("*")]}
        assert {path: mode for path, mode in wide.items() if not mode.endswith("00")} == {}
        assert (home / "store" / "data").exists()
    finally:
        EmbeddedStore(home).stop()


def test_doctor_names_what_others_may_read_and_the_remedy(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(home))
    main(["doctor"])
    assert f"{home} and all in it are yours alone" in capsys.readouterr().out
    (home / "notes").touch(mode=0o644)
    (home / "notes").chmod(0o644)
    main(["doctor"])
    told = capsys.readouterr().out
    assert f"such as {home / 'notes'}: `chmod -R go-rwx {home}`" in told


@pytest.mark.parametrize("seconds", [-90, 90])
def test_doctor_tells_a_clock_that_is_apart_from_the_stores(
    home: Path, seconds: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from datetime import timedelta

    monkeypatch.setenv("ODENET_HOME", str(home))
    monkeypatch.setattr("pipeline.tracking.store.clock_difference", lambda _: timedelta(seconds=seconds))
    main(["doctor"])
    where = "ahead of" if seconds > 0 else "behind"
    assert f"the store's clock is 90 s {where} this machine's: set both by NTP" in capsys.readouterr().out


def test_doctor_tells_a_dashboard_of_an_older_lock(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    main(["doctor"])
    assert "what is installed is what is locked" in capsys.readouterr().out
    (tmp_path / "cache" / "odenet" / "omniboard-0123456789abcdef").mkdir(parents=True)
    main(["doctor"])
    assert "omniboard-0123456789abcdef is of an older lock: `odenet board` installs" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["dependencies", "overrides"])
def test_doctor_tells_a_lock_that_was_made_for_another_package(
    home: Path, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(home))
    package = json.loads((board.SOURCE / "package.json").read_text())
    package[key][{"dependencies": "mongoose", "overrides": "express"}[key]] = "999.0.0"
    shutil.copy(board.SOURCE / "package-lock.json", tmp_path)
    (tmp_path / "package.json").write_text(json.dumps(package))
    monkeypatch.setattr(board, "SOURCE", tmp_path)
    main(["doctor"])
    assert "package-lock.json was made for another package.json: renew it with `npm install" in capsys.readouterr().out
