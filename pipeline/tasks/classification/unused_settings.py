"""Settings that somebody chose and that change nothing beside the others."""

import warnings
from collections.abc import Iterator
from dataclasses import fields

from pipeline.config.sections import Config, Section, SolverConfig
from pipeline.ode.tableau import TABLEAUS
from pipeline.util.user_warnings import OdenetWarning

OF_ADAPTIVE_METHODS = ("rtol", "atol", "controller", "max_steps", "reuse_first_step")


class UnusedSettingWarning(OdenetWarning):
    """A setting without effect: likely another one was meant to be set too."""


def warn_of_unused_settings(config: Config) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    for section, name, why in _without_effect(config):
        value = getattr(section, name)
        if value != getattr(type(section), name):
            message = f"{section.section}.{name}={value} changes nothing: {why}"
            warnings.warn(message, UnusedSettingWarning, stacklevel=2)


def _without_effect(config: Config) -> Iterator[tuple[Section, str, str]]:
    """Section, name and reason."""
    model, solver, training = config.model, config.solver, config.training
    if model.normalisation != "group":
        yield model, "groups", f"there is no group normalisation with model.normalisation={model.normalisation}"
    if training.optimiser != "sgd":
        yield training, "momentum", f"it is for sgd, not for training.optimiser={training.optimiser}"
    if model.body == "resnet":
        why = "a residual network (model.body=resnet) solves no ODE"
        yield model, "final_time", why
        if model.architecture == "complex" and model.augment > 0:
            yield model, "augment", "the complex residual network has no augmented dimensions"
        yield from ((solver, f.name, why) for f in fields(solver))
    else:
        yield from _without_effect_on_a_solve(solver)


def _without_effect_on_a_solve(solver: SolverConfig) -> Iterator[tuple[Section, str, str]]:
    if TABLEAUS[solver.method].is_adaptive:
        yield solver, "steps", f"solver.method={solver.method} chooses its steps itself"
    else:
        for name in OF_ADAPTIVE_METHODS:
            yield solver, name, f"solver.method={solver.method} takes equal steps, as many as solver.steps"
    if solver.gradient != "adjoint":
        for name in ("adjoint_rtol", "adjoint_atol"):
            yield solver, name, f"no adjoint is solved with solver.gradient={solver.gradient}"
