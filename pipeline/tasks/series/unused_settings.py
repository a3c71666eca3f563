"""Settings that somebody chose and that change nothing beside the others."""

from collections.abc import Iterator

from pipeline.tasks.series.config import MODELS, SeriesTaskConfig
from pipeline.tasks.unused_settings import (
    Unused,
    every_setting,
    unused_in_a_solve,
    unused_in_a_training,
    warn_of_unused,
)

OF_A_LATENT_ODE = ("encoder", "latent", "activation", "samples", "kl_epochs", "kl_weight", "poisson")
REUSE = "reuse_first_step"


def warn_of_unused_settings(config: SeriesTaskConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    warn_of_unused(_without_effect(config))


def _without_effect(config: SeriesTaskConfig) -> Iterator[Unused]:
    """Section, name and reason."""
    architecture, solver, training = config.model.architecture, config.solver, config.training
    if architecture in MODELS and architecture != "latent_ode":
        why = f"model.architecture={architecture} has no latent state"
        yield from ((config.series, name, why) for name in OF_A_LATENT_ODE)
        why = f"model.architecture={architecture} solves nothing by it"
        yield from every_setting([solver], why)
    else:
        yield from (one for one in unused_in_a_solve(solver) if one[1] != REUSE)
        yield solver, REUSE, "each solve of a latent ODE begins with an estimate of its own"
    if architecture in MODELS and architecture not in ("latent_ode", "ode_rnn"):
        why = f"model.architecture={architecture} has no field"
        yield from ((config.series, name, why) for name in ("field_hidden", "field_layers"))
    if training.compile is True and not (architecture == "latent_ode" and solver.can_be_compiled):
        yield training, "compile", "of series the steps of a latent ODE alone are compiled, with control=batch"
    yield from unused_in_a_training(training)
