"""Settings of trajectories that somebody chose and that change nothing beside the others."""

from collections.abc import Iterator
from dataclasses import fields

from pipeline.plugins import registry
from pipeline.tasks.trajectories.config import SHIPPED_MODELS, MapConfig, TrajectoriesConfig
from pipeline.tasks.unused_settings import (
    Unused,
    every_setting,
    unused_in_a_solve,
    unused_in_a_training,
    unused_time_terms,
    warn_of_uneven_steps,
    warn_of_unused,
)


def warn_of_unused_settings(config: TrajectoriesConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    warn_of_unused(_without_effect(config))
    warn_of_uneven_steps(config.model, config.solver)


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
    yield from unused_time_terms(model) if name in SHIPPED_MODELS else _without_effect_on_a_plugin(model)
    yield from unused_in_a_training(config.training)


def _without_effect_on_a_plugin(model: MapConfig) -> Iterator[Unused]:
    """The settings that a plug-in's model or field does not look at."""
    if is_field := model.architecture in registry.names("field", "trajectories"):
        yield from unused_time_terms(model)
        if model.time_weights == "channel":
            yield (
                model,
                "time_weights",
                f"the field of the plug-in {model.architecture} decides itself whether it sees t",
            )
    of_a_field = ("final_time", "time_weights", "time_terms") if is_field else ()
    for one in fields(MapConfig):
        if one.name not in ("architecture", "options", "augment", *of_a_field):
            yield model, one.name, f"the plug-in {model.architecture} has options of its own, model.options"
