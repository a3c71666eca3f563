"""A trained model, rebuilt from the record of its run, or of the run that a name stands for.

from pipeline.runs.load_model import load_model
model = load_model("best-digits")
logits = model.network(model.preprocessing.for_evaluation(pixels))
"""

from collections.abc import Mapping
from typing import Any

import torch
from pymongo.database import Database
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.device.precision import device_by_name
from pipeline.runs.query import ArtifactError, Runs, StoredRun
from pipeline.runs.registry import PromotionError, get_model
from pipeline.runs.stored_parts import config_of
from pipeline.tasks.lookup import get_task


def load_run_model(run: StoredRun, device: torch.device, solver: SolverConfig | None = None) -> Any:
    """The model of `run` in evaluation mode on `device`: the task's `TrainedModel`.

    Args:
        solver: solve with this instead of what the run tested with.

    Raises:
        InvalidInput: the run is no training.
        ArtifactError: the run has no weights, they were tampered with, or they are not this model's.
        ConfigError: the stored configuration is not one of this version's.
        PluginError: a plug-in of the run is gone, or not what it was.
    """
    config, task = config_of(run), get_task(run.task)
    if "data" not in run.info:
        raise ArtifactError(f"run {run.run_id} ({run.status}) ended before its data were loaded: it has no model")
    with torch.random.fork_rng(devices=()):
        model = task.restore(config, run.info, solver or task.test_solver(config))
    try:
        model.network.load_state_dict(weights := run.weights())
    except RuntimeError as error:
        raise ArtifactError(
            f"the weights of run {run.run_id} do not fit its network{_first_difference(weights, model.network)}: they "
            "were stored by another version of this software, whose commit `odenet show` names, or a module of a "
            "plug-in has buffers that change their shape: give them one that stays"
        ) from error
    model.network.to(device).eval()
    return model


def _first_difference(weights: Mapping[str, Tensor], network: nn.Module) -> str:
    """In brackets, of the tensors of other shapes than the network's, where there are some."""
    built = network.state_dict()
    others = (
        f" ({name} is of shape {tuple(value.shape)}, and built as {tuple(built[name].shape)})"
        for name, value in weights.items()
        if name in built and value.shape != built[name].shape
    )
    return next(others, "")


def load_model(
    name: str | int | StoredRun, device: torch.device | str = "cpu", database: Database[dict[str, Any]] | None = None
) -> Any:
    """The model of that name as its task's `TrainedModel`, its weights verified; nothing is unpickled.

    Args:
        name: of a promoted model, or the number of a run, or the run.
        database: the store; without it the one of `ODENET_MONGO_URL`, or the embedded one.

    Raises:
        ModelNotFound: no model has this name.
        RunNotFound: its run has been deleted.
        InvalidInput: the run is no training, or there is no such device here.
        PromotionError: its run has other weights than those that were promoted.
        ArtifactError: the stored weights have been changed.
        ConfigError: the stored configuration is not one of this version's.
        PluginError: a plug-in of its run is gone, or not what it was.
    """
    place, runs = device_by_name(device), Runs(database)
    if isinstance(name, StoredRun):
        name = name.run_id
    elif isinstance(name, str) and name.isdecimal():  # as a script's arguments have it; no model is called so
        name = int(name)
    if not isinstance(name, str):  # of NumPy, too
        return load_run_model(runs.get(name), place)
    promotion = get_model(name, runs.database).current
    run = runs.get(promotion.run_id)
    if run.facts.weights_sha256 != promotion.sha256:
        raise PromotionError(
            f"the weights of run {run.run_id} are not those that were promoted as {name}: if the run went on since, "
            f"`odenet promote {run.run_id} {name}` takes the new ones"
        )
    return load_run_model(run, place)
