"""Settings that somebody chose and that change nothing beside the others: what the tasks have in common."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import fields

from pipeline.config import Section, SolverConfig, TrainingConfig
from pipeline.config.sections import WITH_TIME_TERMS
from pipeline.methods import METHODS
from pipeline.models.time_weights import TERMS
from pipeline.training.optimisation import takes_momentum
from pipeline.util.user_warnings import OdenetWarning

OF_ADAPTIVE_METHODS = ("rtol", "atol", "controller", "max_steps", "reuse_first_step")
CONSTANT_ALONE = ("fourier", "chebyshev", "piecewise")
"""Weights that depend on time, the first of whose terms does not."""
Unused = tuple[Section, str, str]
"""A section, the name of a setting that has no effect, and why."""


class UnusedSettingWarning(OdenetWarning):
    """A setting without effect: likely another one was meant to be set too."""


def warn_of_unused(found: Iterable[Unused]) -> None:
    """Name each of the settings that is not at its default."""
    for section, name, why in found:
        value = getattr(section, name)
        if value != getattr(type(section), name):
            message = f"{section.section}.{name}={value} changes nothing: {why}"
            warnings.warn(message, UnusedSettingWarning, stacklevel=3)


def every_setting(sections: Iterable[Section], why: str) -> Iterator[Unused]:
    """All settings of these sections."""
    return ((section, one.name, why) for section in sections for one in fields(section))


def unused_in_a_solve(solver: SolverConfig) -> Iterator[Unused]:
    """What the method and the gradient of a solve do not look at."""
    if METHODS[solver.method].is_adaptive:
        yield solver, "steps", f"solver.method={solver.method} chooses its steps itself"
    else:
        for name in OF_ADAPTIVE_METHODS:
            yield solver, name, f"solver.method={solver.method} takes equal steps, as many as solver.steps"
    if solver.gradient != "adjoint":
        for name in ("adjoint_rtol", "adjoint_atol"):
            yield solver, name, f"no adjoint is solved with solver.gradient={solver.gradient}"


def unused_in_a_training(training: TrainingConfig) -> Iterator[Unused]:
    """What the optimiser does not look at."""
    if not takes_momentum(training.optimiser):
        yield training, "momentum", f"it is for sgd, not for training.optimiser={training.optimiser}"


def warn_of_endless_warm_up(training: TrainingConfig) -> None:
    """Say that the learning rate is never what was set."""
    if training.warmup_epochs > training.max_epochs:
        said = f"training.warmup_epochs={training.warmup_epochs:g} with training.max_epochs={training.max_epochs}"
        advice = f"the learning rate is still rising to {training.lr:g} at the end: use fewer epochs of warm-up"
        warnings.warn(OdenetWarning(f"{said}: {advice}"), stacklevel=2)


def warn_of_uneven_steps(model: Section, solver: SolverConfig) -> None:
    """Say that equal steps cannot be, where weights jump at other times."""
    intervals = getattr(model, "time_terms", None) or TERMS
    is_uneven = not METHODS[solver.method].is_adaptive and solver.steps % intervals != 0
    if getattr(model, "time_weights", "none") == "piecewise" and is_uneven:
        said = f"solver.steps={solver.steps} with weights that jump between {intervals} intervals (model.time_weights)"
        advice = f"a step ends at each jump, so that more steps are taken, unequal ones: use a multiple of {intervals}"
        warnings.warn(OdenetWarning(f"{said}: {advice}"), stacklevel=3)


def unused_time_terms(model: Section) -> Iterator[Unused]:
    """The number of terms, where weights that depend on time have none."""
    kind = getattr(model, "time_weights", "none")
    if kind not in WITH_TIME_TERMS:
        yield model, "time_terms", f"there are none with model.time_weights={kind}"
    elif kind in CONSTANT_ALONE and getattr(model, "time_terms", None) == 1:
        yield model, "time_weights", "with model.time_terms=1 the weights are constant: use 2 or more"
