"""Settings that somebody chose and that change nothing beside the others."""

import inspect
import warnings
from collections.abc import Iterator
from dataclasses import fields

from pipeline.config import NetworkConfig, Section, SolverConfig
from pipeline.config.sections import WITH_TIME_TERMS
from pipeline.data.catalogue import is_of_user
from pipeline.methods import METHODS
from pipeline.plugins import registry
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.util.user_warnings import OdenetWarning

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
OF_ADAPTIVE_METHODS = ("rtol", "atol", "controller", "max_steps", "reuse_first_step")


class UnusedSettingWarning(OdenetWarning):
    """A setting without effect: likely another one was meant to be set too."""


def warn_of_unused_settings(config: ClassificationConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    for section, name, why in _without_effect(config):
        value = getattr(section, name)
        if value != getattr(type(section), name):
            message = f"{section.section}.{name}={value} changes nothing: {why}"
            warnings.warn(message, UnusedSettingWarning, stacklevel=2)


def _without_effect(config: ClassificationConfig) -> Iterator[tuple[Section, str, str]]:
    """Section, name and reason."""
    model, solver, training = config.model, config.solver, config.training
    if not is_of_user(config.data.name):
        for name in ("image_size", "test_fraction"):
            yield config.data, name, f"data.name={config.data.name} is split, and its images are of one size"
    elif config.data.name.endswith(".npz"):
        yield config.data, "image_size", "the images of an .npz are of one size"
    if model.normalisation != "group":
        yield model, "groups", f"there is no group normalisation with model.normalisation={model.normalisation}"
    if model.time_weights not in WITH_TIME_TERMS:
        yield model, "time_terms", f"there are none with model.time_weights={model.time_weights}"
    yield from _without_effect_on_a_plugin(model)
    if training.optimiser != "sgd":
        yield training, "momentum", f"it is for sgd, not for training.optimiser={training.optimiser}"
    if model.body == "resnet":
        why = "a residual network (model.body=resnet) solves no ODE"
        yield model, "final_time", why
        if model.architecture == "complex" and model.augment > 0:
            yield model, "augment", "the complex residual network has no augmented dimensions"
        yield from ((section, f.name, why) for section in (solver, config.regularisation) for f in fields(section))
    else:
        yield from _without_effect_on_a_solve(solver)


def _without_effect_on_a_solve(solver: SolverConfig) -> Iterator[tuple[Section, str, str]]:
    if METHODS[solver.method].is_adaptive:
        yield solver, "steps", f"solver.method={solver.method} chooses its steps itself"
    else:
        for name in OF_ADAPTIVE_METHODS:
            yield solver, name, f"solver.method={solver.method} takes equal steps, as many as solver.steps"
    if solver.gradient != "adjoint":
        for name in ("adjoint_rtol", "adjoint_atol"):
            yield solver, name, f"no adjoint is solved with solver.gradient={solver.gradient}"


def _without_effect_on_a_plugin(model: NetworkConfig) -> Iterator[tuple[Section, str, str]]:
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
