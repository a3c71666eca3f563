"""Settings of a density that somebody chose and that change nothing beside the others."""

from collections.abc import Iterator
from dataclasses import fields

from pipeline.methods import METHODS
from pipeline.tasks.density.config import CNF, GAUSSIAN, PLANAR_NF, SPLINE_NF, DensityConfig
from pipeline.tasks.density.points import DensityPoints
from pipeline.tasks.unused_settings import (
    Unused,
    every_setting,
    unused_in_a_solve,
    unused_in_a_training,
    warn_of_unused,
)

OF_AN_ODE = (
    *("field", "activation", "blocks", "final_time", "trace", "probes", "noise"),
    *("test_method", "test_rtol", "test_atol"),
)
LOOKED_AT = {
    PLANAR_NF: ("layers", "base_sd", "objective"),
    SPLINE_NF: ("layers", "width", "hidden", "objective"),
    GAUSSIAN: (),
}
"""Model without an ODE -> the keys of `flow` that it looks at."""


def warn_of_unused_settings(config: DensityConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    warn_of_unused(_without_effect(config))


def warn_of_settings_of_other_data(config: DensityConfig, data: DensityPoints) -> None:
    """The same of what data of another kind would look at."""
    warn_of_unused(_without_effect_on(config, data))


def _without_effect_on(config: DensityConfig, data: DensityPoints) -> Iterator[Unused]:
    chosen, training, is_matched = config.data, config.training, config.flow.objective == "matching"
    of_tables = ("standardise", "dequantise", "noise")
    if data.is_drawn:
        for name in (*of_tables, "logit", "validation_fraction"):
            yield chosen, name, f"the points of {chosen.name} are drawn by a formula"
    elif data.preprocessing.dequantisation is not None:
        yield from ((chosen, name, "it is of tables, and images have noise of their own") for name in of_tables)
    else:
        yield chosen, "logit", "it is of images"
    if is_matched:
        yield chosen, "size", "density matching draws from the flow"
    elif data.sample is None:
        yield training, "epoch_iterations", "an epoch is all of the points that there are to train on"


def _without_effect(config: DensityConfig) -> Iterator[Unused]:
    """Section, name and reason."""
    flow, model = config.flow, config.model.architecture
    yield from unused_in_a_training(config.training)
    if model in LOOKED_AT:
        why = f"a {model} (model.architecture={model}) solves no ODE"
        yield from every_setting((config.solver, config.regularisation), why)
        for f in fields(flow):
            if f.name not in LOOKED_AT[model]:
                yield flow, f.name, why if f.name in OF_AN_ODE else f"a {model} does not look at it"
        if config.training.compile is True:
            yield config.training, "compile", f"{why}, whose steps would be compiled"
    elif model == CNF:
        of_the_test = {"steps", "controller", "max_steps"} - {one[1] for one in unused_in_a_solve(config.test_solver)}
        yield from (one for one in unused_in_a_solve(config.solver) if one[1] not in of_the_test)
        if not METHODS[flow.test_method].is_adaptive:
            for name in ("test_rtol", "test_atol"):
                yield flow, name, f"flow.test_method={flow.test_method} takes equal steps, as many as solver.steps"
        yield flow, "layers", "it is of planar_nf and spline_nf; a cnf has flow.width and flow.blocks"
        if flow.objective == "matching":
            yield config.regularisation, "end_time_spread", "density matching solves from the base to the end time"
        if flow.field == "planar":
            yield flow, "activation", "planar units have tanh"
            yield flow, "trace", "the divergence of planar units has a closed form"
            if not config.regularisation.jacobian:  # which it estimates
                yield flow, "noise", "the divergence of planar units has a closed form"
