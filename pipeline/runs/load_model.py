"""A trained network, rebuilt from the record of its run, or of the run that a name stands for.

from pipeline.runs.load_model import load_model
model = load_model("best-digits")
logits = model.network(model.preprocessing.for_evaluation(pixels))
"""

from dataclasses import dataclass
from typing import Any

import torch
from pymongo.database import Database

from pipeline.config.sections import Config, SolverConfig
from pipeline.data import Preprocessing, build_preprocessing
from pipeline.models import Network, build_model
from pipeline.runs.query import ArtifactError, Runs, StoredRun
from pipeline.runs.registry import PromotionError, get_model


@dataclass(frozen=True)
class TrainedModel:
    """A network with its best weights and all that is needed to use it."""

    network: Network
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    config: Config


def restore(run: StoredRun, device: torch.device, solver: SolverConfig | None = None) -> TrainedModel:
    """The network of `run` in evaluation mode on `device`, with its preprocessing and class names.

    Args:
        solver: solve with this instead of what the run trained with.

    Raises:
        ArtifactError: the run has no weights, they were tampered with, or they are not this network's.
        ConfigError: the stored configuration is not one of this version's.
    """
    config = Config.from_dict(run.config)
    facts = run.info.get("data")
    if facts is None:
        raise ArtifactError(f"run {run.run_id} ({run.status}) ended before its data were loaded: it has no model")
    channels, height, width = facts["image_shape"]
    preprocessing = build_preprocessing(config.data, (channels, height, width))
    classes = tuple(facts["classes"])
    with torch.random.fork_rng(devices=()):
        network = build_model(config.model, solver or config.solver, preprocessing.output_shape, len(classes))
    try:
        network.load_state_dict(run.weights())
    except RuntimeError as error:
        raise ArtifactError(
            f"the weights of run {run.run_id} do not fit its network: they were stored by another version of this "
            "software; check out the commit that `odenet show` names"
        ) from error
    return TrainedModel(network.to(device).eval(), preprocessing, classes, config)


def load_model(
    name: str, device: torch.device | str = "cpu", database: Database[dict[str, Any]] | None = None
) -> TrainedModel:
    """The network of that name with its preprocessing, its weights verified; nothing is unpickled.

    Args:
        database: the store; without it the one of `ODENET_MONGO_URL`, or the embedded one.

    Raises:
        ModelNotFound: no model has this name.
        RunNotFound: its run has been deleted.
        PromotionError: its run has other weights than those that were promoted.
        ArtifactError: the stored weights have been changed.
        ConfigError: the stored configuration is not one of this version's.
    """
    runs = Runs(database)
    promotion = get_model(name, runs.database).current
    run = runs.get(promotion.run_id)
    if run.info.get("weights", {}).get("sha256") != promotion.sha256:
        raise PromotionError(
            f"the weights of run {run.run_id} are not those that were promoted as {name}: if the run went on since, "
            f"`odenet promote {run.run_id} {name}` takes the new ones"
        )
    return restore(run, torch.device(device))
