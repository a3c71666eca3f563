"""Runs of several workers as commands: their record, Ctrl-C, a worker that is lost, and what goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.conditions import machine_now
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.util.errors import InvalidInput
from pipeline.util.torchrun import workers_asked
from tests.helpers.commands import QUICK, SLOW, Command, database_of, last_epoch, start_command
from tests.helpers.waiting import wait_until

TWO = ("run", "--json", "--workers", "2")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    EmbeddedStore(tmp_path / "home").stop()


def done(home: Path, *words: str) -> Command:
    command = start_command(home, *words)
    command.wait()
    return command


def run_of(home: Path, command: Command) -> StoredRun:
    return Runs(database_of(home)).get(command.json["run_id"])


def workers_of(command: Command) -> list[psutil.Process]:
    children = psutil.Process(command.pid).children(recursive=True)
    return [child for child in children if "experiments.worker" in child.cmdline()]


def losses(run: StoredRun) -> list[float]:
    return list(run.metrics()["validation.loss"].dropna())


def test_a_run_of_two_workers_is_one_run_that_names_both_and_comes_to_what_one_process_does(home: Path) -> None:
    words = (*QUICK, "solver.method=dopri5", "model.activation=tanh", "training.max_epochs=2")
    alone, shared = done(home, "run", "--json", *words), done(home, *TWO, *words)
    assert (alone.wait(), shared.wait()) == (0, 0), shared.stderr
    one, two = run_of(home, alone), run_of(home, shared)
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    evaluations = [list(run.metrics()["solver.nfe_forward"].dropna()) for run in (one, two)]
    assert evaluations[0] == evaluations[1]
    assert two.result == pytest.approx(one.result, abs=0.02)
    workers = two.document["host"]["workers"]
    assert [worker["rank"] for worker in workers] == [0, 1]
    assert len({worker["process"] for worker in workers}) == 2
    assert {worker["hostname"] for worker in workers} == {two.document["host"]["hostname"]}
    assert "2 workers" in machine_now(two.document)
    assert "workers" not in one.document["host"]


@pytest.mark.slow
def test_ctrl_c_ends_all_and_keeps_what_there_is_and_three_go_on(home: Path) -> None:
    command = start_command(home, *TWO, *SLOW, "training.max_epochs=500")
    wait_until(lambda: last_epoch(home) >= 1, command)
    workers = workers_of(command)
    assert len(workers) == 1
    command.send(signal.SIGINT)
    assert command.wait() == 130
    kept = run_of(home, command)
    assert (kept.status, len(losses(kept)) >= 1) == ("INTERRUPTED", True)
    assert "weights.safetensors" in kept.artifacts
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    epochs = int(kept.metrics()["validation.loss"].dropna().index.max()) + 2
    resumed = done(
        home, "resume", "--json", "--workers", "3", str(kept.run_id), "with", f"training.max_epochs={epochs}"
    )
    assert resumed.wait() == 0, resumed.stderr
    assert len(run_of(home, resumed).document["host"]["workers"]) == 3


def test_a_worker_that_is_lost_fails_the_run_with_its_name_and_the_run_goes_on(home: Path) -> None:
    command = start_command(home, *TWO, *SLOW, "training.max_epochs=500")
    wait_until(lambda: last_epoch(home) >= 1, command)
    worker = workers_of(command)[0]
    worker.kill()
    assert command.wait() == 1
    said = command.stderr.splitlines()[-1]
    assert f"worker 2 of 2 (process {worker.pid}) failed: it was ended by SIGKILL" in said
    assert "`odenet resume` goes on" in said
    lost = run_of(home, command)
    assert lost.status == "FAILED"
    epochs = int(lost.metrics()["validation.loss"].dropna().index.max()) + 1
    resumed = done(home, "resume", "--json", str(lost.run_id), "with", f"training.max_epochs={epochs}")
    assert resumed.wait() == 0, resumed.stderr
    assert run_of(home, resumed).document["status"] == "COMPLETED"


@pytest.mark.slow
def test_ctrl_c_ends_a_run_whose_worker_hangs(home: Path) -> None:
    command = start_command(home, *TWO, *SLOW, "training.max_epochs=500")
    wait_until(lambda: last_epoch(home) >= 1, command)
    worker = workers_of(command)[0]
    worker.suspend()
    command.send(signal.SIGINT)
    assert command.wait() == 130
    assert run_of(home, command).status == "INTERRUPTED"
    wait_until(lambda: not worker.is_running())


@pytest.mark.slow
def test_workers_end_with_a_first_one_that_is_killed(home: Path) -> None:
    command = start_command(home, *TWO, *SLOW, "training.max_epochs=500")
    wait_until(lambda: last_epoch(home) >= 1, command)
    workers = workers_of(command)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    wait_until(lambda: not any(worker.is_running() for worker in workers))


@pytest.mark.slow
def test_a_plug_in_that_fails_in_a_worker_alone_is_told_by_its_own_sentence(home: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "fragile.py"
    plugin.write_text(
        "import sys\n"
        "from pipeline import plugins\n"
        "from torch import nn\n"
        "class Fragile(nn.Module):\n"
        "    def __init__(self, channels):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Conv2d(channels, channels, 3, padding=1)\n"
        "    def forward(self, t, z):\n"
        "        if self.training and sys.argv[0].endswith('worker.py'):\n"
        "            raise ValueError('not here')\n"
        "        return self.layer(z).tanh()\n"
        "@plugins.field('fragile')\n"
        "def build(channels: int):\n"
        "    return Fragile(channels)\n"
    )
    command = done(
        home, "run", "--json", "--workers", "2", "--plugin", str(plugin), *QUICK, "model.architecture=fragile"
    )
    assert command.wait() == 1, command.stderr
    assert "worker 2 of 2" in command.stderr
    assert "not here" in command.stderr


# torchrun, which starts processes on several machines


def torchrun(home: Path, options: tuple[str, ...], *words: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ODENET_MONGO_URL"}
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "odenet.main", *words]
    return subprocess.Popen(
        command, env=environment | {"ODENET_HOME": str(home)}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_torchrun_on_two_machines_makes_one_run(home: Path) -> None:
    """Both are this one, each with an agent of torchrun's and a process."""
    words = ("run", "--json", *QUICK, "solver.method=dopri5", "model.activation=tanh", "training.max_epochs=2")
    home.mkdir()
    port = str(free_port())
    meeting = ("--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}")
    agents = [torchrun(home, (*meeting, f"--node-rank={rank}"), *words) for rank in (0, 1)]
    first, second = (agent.communicate(timeout=250) for agent in agents)
    assert [agent.returncode for agent in agents] == [0, 0], first[1] + second[1]
    document = json.loads(first[0])
    assert second[0] == ""
    shared = Runs(database_of(home)).get(document["run_id"])
    assert [worker["rank"] for worker in shared.document["host"]["workers"]] == [0, 1]
    alone = done(home, *words)
    assert losses(shared) == pytest.approx(losses(run_of(home, alone)), rel=1e-4)


@pytest.mark.slow
def test_a_worker_of_torchruns_that_is_lost_ends_the_run_which_goes_on(home: Path) -> None:
    home.mkdir()
    words = (*SLOW, "training.max_epochs=500")
    agent = torchrun(home, ("--standalone", "--nproc-per-node=2"), "run", "--json", *words)
    wait_until(lambda: last_epoch(home) >= 1)
    others = [child for child in psutil.Process(agent.pid).children() if child.environ().get("RANK") == "1"]
    others[0].kill()
    assert agent.wait(60) != 0
    lost = Runs(database_of(home)).get(1)
    assert lost.status in ("FAILED", "INTERRUPTED")  # whichever is first, the connection's end or torchrun's signal
    epochs = int(lost.metrics()["validation.loss"].dropna().index.max()) + 1
    resumed = done(home, "resume", "--json", "1", "with", f"training.max_epochs={epochs}")
    assert resumed.wait() == 0, resumed.stderr


def test_a_number_of_workers_that_is_not_torchruns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (workers_asked(None), workers_asked(2)) == (2, 2)
    with pytest.raises(InvalidInput, match="--workers is 3, but torchrun has started 2 processes"):
        workers_asked(3)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_what_workers_cannot_do_is_refused_in_a_sentence_and_leaves_no_run(home: Path) -> None:
    refused = done(home, "run", "--workers", "2", "with", "cnf", "two_moons")
    assert refused.wait() == 2
    assert refused.stderr.splitlines()[-1].startswith("odenet: several workers share one, but the task density")
    assert done(home, "run", "--workers", "0", *QUICK).wait() == 2
