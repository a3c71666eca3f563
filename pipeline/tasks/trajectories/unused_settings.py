"""Settings of trajectories that somebody chose and that change nothing beside the others."""

from collections.abc import Iterator

from pipeline.tasks.trajectories.config import SHIPPED_MODELS, TrajectoriesConfig
from pipeline.tasks.unused_settings import (
    Unused,
    every_setting,
    unused_in_a_solve,
    unused_in_a_training,
    unused_time_terms,
    warn_of_unused,
)


def warn_of_unused_settings(config: TrajectoriesConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    warn_of_unused(_without_effect(config))


def _without_effect(config: TrajectoriesConfig) -> Iterator[Unused]:
    model, name = config.model, config.model.architecture
    if name == "odenet":
        yield model, "layers", "model.architecture=odenet has no layers"
    if name == "resnet":
        yield model, "final_time", "a residual network (model.architecture=resnet) has no time"
    if name not in SHIPPED_MODELS or name == "odenet":
        yield from unused_in_a_solve(config.solver)
    else:
        yield from every_setting((config.solver, config.regularisation), f"model.architecture={name} solves no ODE")
    if name in SHIPPED_MODELS:
        yield from unused_time_terms(model)
    yield from unused_in_a_training(config.training)
