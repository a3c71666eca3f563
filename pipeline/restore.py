"""A trained network, rebuilt from the record of its run."""

from dataclasses import dataclass

import torch

from pipeline.config import Config, SolverConfig
from pipeline.data import Preprocessing, build_preprocessing
from pipeline.models import Network, build_model
from pipeline.runs import ArtifactError, StoredRun


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
