"""Settings that somebody chose and that change nothing beside the others."""

import warnings
from collections.abc import Iterator
from dataclasses import fields

from pipeline.config import Section
from pipeline.methods import METHODS
from pipeline.tasks.series.config import MODELS, SeriesTaskConfig
from pipeline.util.user_warnings import OdenetWarning

OF_A_LATENT_ODE = ("encoder", "latent", "activation", "samples", "kl_epochs", "kl_weight", "poisson")
OF_ADAPTIVE_METHODS = ("rtol", "atol", "controller", "max_steps")


def warn_of_unused_settings(config: SeriesTaskConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    for section, name, why in _without_effect(config):
        value = getattr(section, name)
        if value != getattr(type(section), name):
            message = f"{section.section}.{name}={value} changes nothing: {why}"
            warnings.warn(OdenetWarning(message), stacklevel=2)


def _without_effect(config: SeriesTaskConfig) -> Iterator[tuple[Section, str, str]]:
    """Section, name and reason."""
    architecture, solver, training = config.model.architecture, config.solver, config.training
    if architecture in MODELS and architecture != "latent_ode":
        why = f"model.architecture={architecture} has no latent state"
        yield from ((config.series, name, why) for name in OF_A_LATENT_ODE)
        why = f"model.architecture={architecture} solves nothing by it"
        yield from ((solver, f.name, why) for f in fields(solver))
    elif METHODS[solver.method].is_adaptive:
        yield solver, "steps", f"solver.method={solver.method} chooses its steps itself"
    else:
        why = f"solver.method={solver.method} takes equal steps, as many as solver.steps"
        yield from ((solver, name, why) for name in OF_ADAPTIVE_METHODS)
    yield solver, "reuse_first_step", "each solve of a latent ODE begins with an estimate of its own"
    if training.optimiser != "sgd":
        yield training, "momentum", f"it is for sgd, not for training.optimiser={training.optimiser}"
