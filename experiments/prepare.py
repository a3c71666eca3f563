"""What is found out of an experiment before it begins, so that what cannot be run leaves no trace in the store.

The configuration is parsed once, the data are loaded once and the model is described once.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.config import Config, ConfigError
from pipeline.device.out_of_memory import IN_A_TRAINING, naming_lack_of_memory
from pipeline.device.precision import choose_device
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.tasks.base import CONVERTED, Task, TaskData
from pipeline.tasks.lookup import get_task
from pipeline.training.division import refuse_parts, refuse_workers
from pipeline.util.errors import in_a_line
from pipeline.util.torchrun import workers_here


@dataclass(frozen=True)
class Prepared:
    """An experiment that can begin.

    Attributes:
        data: what the task has loaded, on the CPU.
        facts: what is recorded of data and model before the training.
        workers: processes that are to train it together.
    """

    task: Task[Any, Any, Any]
    config: Config
    data: Any
    facts: Mapping[str, Any]
    workers: int = 1


def prepare(task_name: str, config: Config, data: Any = None, workers: int = 1) -> Prepared:
    """Load the data, unless they are given whole, and build the model once to describe it.

    Args:
        workers: processes that are to train it together.

    Raises:
        OdenetError: the device, the data or the model cannot be what the configuration says.
    """
    task = get_task(task_name)
    _refuse_missing_gpus(choose_device(config.training), workers)
    with naming_plugin_failures(), naming_lack_of_memory(IN_A_TRAINING):
        whole = task.load_data(config) if data is None else data
        data = task.limited(whole, config.evaluation.subset)
        with torch.random.fork_rng(devices=()):
            facts = task.facts(config, data)
            _refuse_division(task, config, data, workers)
    if done := facts["data"].get(CONVERTED):
        print(in_a_line(f"{config.data.name}: {'; '.join(done)}"), file=sys.stderr)
    return Prepared(task, config, data, facts | {"data": facts["data"] | whole_test(data, whole)}, workers)


def _refuse_missing_gpus(device: torch.device, workers: int) -> None:
    here = workers_here(workers)
    if device.type == "cuda" and here > (gpus := torch.cuda.device_count()):
        raise ConfigError(
            f"{here} workers need a GPU each, and torch finds {gpus} here: use fewer, or training.device=cpu"
        )


def _refuse_division(task: Task[Any, Any, Any], config: Config, data: Any, workers: int) -> None:
    """Refuse a training whose batches cannot be taken apart as is asked for."""
    size = config.training.micro_batch_size
    if size is None and workers == 1:
        return
    if not task.divides_batches:
        asked = "several workers share one" if size is None else f"training.micro_batch_size is {size}"
        raise ConfigError(
            f"{asked}, but the task {task.name} computes each batch at once: leave that out, and use a smaller "
            "training.batch_size where memory does not hold a batch"
        )
    model = task.build_model(config, data)
    refuse_parts(model, config.training)
    if workers > 1:
        refuse_workers(model, config.training, task.objective(config, data).training_items, workers)


def whole_test(data: TaskData, whole: TaskData) -> dict[str, int]:
    """For the record of the data, how many test items there are, where only some of them are asked about."""
    return {"whole_test": whole.test_items} if data.test_items < whole.test_items else {}
