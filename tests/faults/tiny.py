"""A small tracked run in a process of its own, which writes down what it was told is kept."""

import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.helpers.commands import FORKSERVER

METRICS = ("training.loss", "validation.loss")


@dataclass(frozen=True)
class Said:
    """What a run was told is kept, in its own words."""

    run_id: Any
    """None where it never came to its body."""
    points: tuple[int, ...]
    artifacts: Mapping[str, str]
    info: tuple[int, ...]
    refused: str | None
    """The sentence with which it was refused."""
    ended: str | None
    traceback: str


@dataclass
class TinyRun:
    """A run that may be going on."""

    number: int
    process: ForkServerProcess
    acks: Path

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)

    def said(self) -> Said:
        """What it wrote down, as far as it came."""
        lines = [json.loads(line) for line in _whole_lines(self.acks)]
        last = {line[0]: line[1] for line in lines}
        errors = self.acks.with_suffix(".err")
        return Said(
            run_id=last.get("run"),
            points=tuple(value for kind, value in lines if kind == "point"),
            artifacts=dict(value for kind, value in lines if kind == "artifact"),
            info=tuple(value for kind, value in lines if kind == "info"),
            refused=last.get("refused"),
            ended=last.get("ended"),
            traceback=text if "Traceback" in (text := errors.read_text() if errors.exists() else "") else "",
        )


def _whole_lines(path: Path) -> Iterator[str]:
    if path.exists():
        yield from (line for line in path.read_text().split("\n")[:-1] if line)


def start_tiny_run(home: Path, number: int, seed: int, epochs: int = 8, url: str = "", file_bytes: int = 0) -> TinyRun:
    """Start a run whose configuration has this number.

    Args:
        url: the address of the store; the home's own without it.
        file_bytes: no file of the run's may become larger; 0 for no bound.
    """
    acks = Path(tempfile.mkdtemp(dir=home.parent)) / "acks"
    process = FORKSERVER.Process(target=_work, args=(home, number, seed, epochs, url, file_bytes, acks))
    process.start()
    return TinyRun(number, process, acks)


def _work(home: Path, number: int, seed: int, epochs: int, url: str, file_bytes: int, acks: Path) -> None:
    os.environ["ODENET_HOME"] = str(home)
    os.environ.pop("ODENET_MONGO_URL", None)
    if url:
        os.environ["ODENET_MONGO_URL"] = url
    errors = os.open(acks.with_suffix(".err"), os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    descriptor = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if file_bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    def say(kind: str, value: Any) -> None:
        os.write(descriptor, (json.dumps([kind, value]) + "\n").encode())

    sys.exit(_run(home, number, random.Random(seed), epochs, say))  # noqa: S311 - comes again by its seed


def _run(home: Path, number: int, chance: random.Random, epochs: int, say: Any) -> int:
    from sacred import Experiment
    from sacred.run import Run

    from pipeline.tracking.observer import StoreObserver
    from pipeline.util.errors import OdenetError

    observer = StoreObserver(home)
    experiment = Experiment("tiny", save_git_info=False)
    experiment.observers = [observer]
    experiment.add_config(fault=number, epochs=epochs)

    @experiment.main
    def tiny(_run: Run) -> float:
        say("run", observer.record.run_id)
        for epoch in range(1, epochs + 1):
            observer.log_epoch(epoch, dict.fromkeys(METRICS, number + epoch / 100))
            say("point", epoch)
            time.sleep(chance.uniform(0, 0.15))
            if chance.random() < 0.4:
                content = chance.randbytes(chance.choice((10, 1000, 300_000)))
                try:
                    observer.add_artifact(f"{epoch}.bin", content)
                except OSError:
                    continue  # the disk is full, and it was told
                say("artifact", [f"{epoch}.bin", content.hex()[:64] + f":{len(content)}"])
            if chance.random() < 0.3:
                observer.update_info({f"fact_{epoch}": number})
                say("info", epoch)
        return number + 0.5

    try:
        run = experiment.run(options={"--capture": "no", "--loglevel": 40})
    except OdenetError as error:
        say("ended" if observer.has_started else "refused", str(error))
        return 1
    say("ended", run.status)
    return 0
