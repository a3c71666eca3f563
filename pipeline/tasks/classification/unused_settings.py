"""Settings that somebody chose and that change nothing beside the others."""

import inspect
from collections.abc import Iterator
from dataclasses import fields

from pipeline.config import NetworkConfig
from pipeline.data.catalogue import is_of_user
from pipeline.plugins import registry
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.unused_settings import (
    Unused,
    every_setting,
    unused_in_a_solve,
    unused_in_a_training,
    unused_time_terms,
    warn_of_uneven_steps,
    warn_of_unused,
)

AROUND_A_FIELD = (
    "body",
    "blocks",
    "channels",
    "augment",
    "activation_before",
    "dropout",
    "stride",
    "final_time",
    "time_weights",
    "time_terms",
)
"""What the stem, the blocks and the head around a plug-in's field look at."""


def warn_of_unused_settings(config: ClassificationConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    warn_of_unused(_without_effect(config))
    warn_of_uneven_steps(config.model, config.solver)


def _without_effect(config: ClassificationConfig) -> Iterator[Unused]:
    """Section, name and reason."""
    model, solver, training = config.model, config.solver, config.training
    if not is_of_user(config.data.name):
        for name in ("image_size", "test_fraction"):
            yield config.data, name, f"data.name={config.data.name} is split, and its images are of one size"
    elif config.data.name.endswith(".npz"):
        yield config.data, "image_size", "the images of an .npz are of one size"
    if model.normalisation != "group":
        yield model, "groups", f"there is no group normalisation with model.normalisation={model.normalisation}"
    yield from unused_time_terms(model)
    yield from _without_effect_on_a_plugin(model)
    yield from unused_in_a_training(training)
    if model.body == "resnet":
        why = "a residual network (model.body=resnet) solves no ODE"
        yield model, "final_time", why
        if model.architecture == "complex" and model.augment > 0:
            yield model, "augment", "the complex residual network has no augmented dimensions"
        yield from every_setting((solver, config.regularisation), why)
    else:
        yield from unused_in_a_solve(solver)


def _without_effect_on_a_plugin(model: NetworkConfig) -> Iterator[Unused]:
    """The settings that a plug-in's model or field does not look at."""
    if model.architecture in registry.names("field", "classification"):
        looked_at: tuple[str, ...] = AROUND_A_FIELD
    elif (
        "config" not in inspect.signature(registry.find("model", model.architecture, "classification").build).parameters
    ):
        looked_at = ()
    else:
        return
    for f in fields(NetworkConfig):
        if f.name not in ("architecture", "options", *looked_at):
            yield model, f.name, f"the plug-in {model.architecture} has options of its own, model.options"
