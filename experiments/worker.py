"""One of the workers of a training beside the first, which has the run.

`python -m experiments.worker` is one that the first has started. It reads one line of JSON from standard input, which
says what is trained, and answers on standard output with a line of facts once it has its data and its model, or with
one that says why it ends. It ends when its standard input does, with the first worker. One that torchrun has started
hears and says the same through the group of all.
"""

import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from experiments.worker_processes import LEFT_ALONE
from pipeline.config import Config
from pipeline.device.out_of_memory import IN_A_TRAINING, naming_lack_of_memory
from pipeline.device.precision import choose_device
from pipeline.device.workers import Workers, WorkersParted, joined, joined_by_torchrun
from pipeline.plugins import load_plugins
from pipeline.plugins.loading import PluginSource, load_sources, naming_plugin_failures
from pipeline.tasks.lookup import config_class, get_task
from pipeline.tracking.provenance import worker_facts
from pipeline.training import fit_along
from pipeline.util.errors import OdenetError
from pipeline.util.torchrun import gpu_number


def main() -> int:
    """Train along; the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plug-in prints is no answer
    assignment = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        with naming_plugin_failures(), naming_lack_of_memory(IN_A_TRAINING):
            _work(assignment, answers)
    except WorkersParted:
        return LEFT_ALONE
    except OdenetError as error:
        _answer(answers, {"error": str(error)})
        return 1
    except Exception as error:
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})
        raise
    return 0


def follow_torchrun() -> int:
    """What a process does that torchrun has started beside the first one; its exit status.

    Raises:
        OdenetError: it cannot.
    """
    try:
        with joined_by_torchrun() as workers, naming_plugin_failures(), naming_lack_of_memory(IN_A_TRAINING):
            share = _answered(json.loads(workers.share(None)["assignment"]), workers)
            if share is not None:
                share.train(workers)
    except WorkersParted:
        return LEFT_ALONE
    return 0


def _answered(assignment: Mapping[str, Any], workers: Workers) -> "_Share | None":
    """This worker's share of the training, when all have told each other that they are ready; None where one is not."""
    share, failed, own = None, None, dict[str, Any]()
    try:
        share = _Share(assignment, workers.rank)
        own = {"facts": share.facts}
    except OdenetError as error:
        failed, own = error, {"error": str(error)}
    answers = [workers.share(own, source=rank) for rank in range(workers.size)]
    if failed is not None:
        raise failed
    return None if any("error" in answer for answer in answers) else share


def _work(assignment: Mapping[str, Any], answers: IO[str]) -> None:
    torch.set_num_threads(assignment["threads"])
    load_plugins()
    share = _Share(assignment, assignment["rank"])
    _answer(answers, {"facts": share.facts})
    with joined(assignment["rank"], assignment["size"], Path(assignment["meeting"])) as workers:
        share.train(workers)


class _Share:
    """What a worker needs to train along.

    Attributes:
        facts: of it, for the record of the run.
    """

    def __init__(self, assignment: Mapping[str, Any], rank: int) -> None:
        load_sources([PluginSource(spec, name, base64.b64decode(text)) for spec, name, text in assignment["plugins"]])
        task = get_task(assignment["task"])
        config: Config = config_class(task.name).from_dict(assignment["config"])
        if choose_device(config.training).type == "cuda":
            torch.cuda.set_device(gpu_number(rank))
        device = choose_device(config.training)
        data = task.load_data(config)
        if data.sha256 != assignment["data_sha256"]:
            raise OdenetError(f"its {config.data.name} is not that of the first worker")
        torch.manual_seed(config.seed)
        data = data.to(device)
        self._config = config
        self._model = task.build_model(config, data).to(device)
        self._objective = task.objective(config, data)
        self.facts = worker_facts(rank, device)

    def train(self, workers: Workers) -> None:
        fit_along(self._model, self._objective, self._config.training, self._config.seed, workers)


def _answer(answers: IO[str], document: Mapping[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


def _end_with_the_first() -> None:
    sys.stdin.read()
    os._exit(LEFT_ALONE)


if __name__ == "__main__":
    sys.exit(main())
