"""Settings that somebody chose and that change nothing beside the others."""

from collections.abc import Iterator

from pipeline.plugins import registry
from pipeline.tasks.series.config import DECODERS, ENCODERS, MODELS, SeriesTaskConfig
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
    series = config.series
    if series.encoder not in ENCODERS and architecture in ("latent_ode", *registry.names("field", "series")):
        yield series, "hidden", f"series.encoder={series.encoder} has options of its own"
    if series.decoder not in DECODERS:
        yield series, "decoder_hidden", f"series.decoder={series.decoder} has options of its own"
    if architecture in registry.names("field", "series"):
        why = f"the field {architecture} has options of its own"
        yield series, "activation", why
        if series.encoder != "ode_rnn":
            yield from ((series, name, why) for name in ("field_hidden", "field_layers"))
    elif architecture == "latent_ode" and series.field_layers == 0:
        yield series, "activation", "a latent field without hidden layers has none"
    if series.kl_weight == 0 and architecture not in (set(MODELS) - {"latent_ode"}):
        yield series, "kl_epochs", "series.kl_weight=0 leaves no KL to rise"
    if training.compile is True and not (architecture == "latent_ode" and solver.can_be_compiled):
        yield training, "compile", "of series the steps of a latent ODE alone are compiled, with control=batch"
    yield from unused_in_a_training(training)
