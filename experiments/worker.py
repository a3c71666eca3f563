"""`python -m experiments.worker`: one of the workers of a training, started by the first one.

It reads one line of JSON from standard input, which says what is trained, and answers on standard output with a line of
facts once it has its data and its model, or with one that says why it ends. It ends when its standard input does, with
the first worker.
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
from pipeline.device.out_of_memory import naming_lack_of_memory
from pipeline.device.precision import choose_device
from pipeline.device.workers import WorkersParted, joined
from pipeline.plugins import load_plugins
from pipeline.plugins.loading import PluginSource, load_sources, naming_plugin_failures
from pipeline.tasks.lookup import config_class, get_task
from pipeline.tracking.provenance import worker_facts
from pipeline.training import fit_along
from pipeline.util.errors import OdenetError


def main() -> int:
    """Train along; the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plug-in prints is no answer
    assignment = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    try:
        with naming_plugin_failures(), naming_lack_of_memory():
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


def _work(assignment: Mapping[str, Any], answers: IO[str]) -> None:
    torch.set_num_threads(assignment["threads"])
    load_plugins()
    load_sources([PluginSource(spec, name, base64.b64decode(text)) for spec, name, text in assignment["plugins"]])
    task = get_task(assignment["task"])
    config: Config = config_class(task.name).from_dict(assignment["config"])
    rank = assignment["rank"]
    if choose_device(config.training).type == "cuda":
        torch.cuda.set_device(rank)
    device = choose_device(config.training)
    data = task.load_data(config)
    if data.sha256 != assignment["data_sha256"]:
        raise OdenetError(f"its {config.data.name} is not that of the first worker")
    data = data.to(device)
    torch.manual_seed(config.seed)
    model = task.build_model(config, data).to(device)
    _answer(answers, {"facts": worker_facts(rank, device)})
    with joined(rank, assignment["size"], Path(assignment["meeting"])) as workers:
        fit_along(model, task.objective(config, data), config.training, config.seed, workers)


def _answer(answers: IO[str], document: Mapping[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


def _end_with_the_first() -> None:
    sys.stdin.read()
    os._exit(LEFT_ALONE)


if __name__ == "__main__":
    sys.exit(main())
