"""Settings of a density that somebody chose and that change nothing beside the others."""

import warnings
from collections.abc import Iterator
from dataclasses import fields

from pipeline.config import Section
from pipeline.tasks.density.config import CNF, GAUSSIAN, PLANAR_NF, SPLINE_NF, DensityConfig
from pipeline.util.user_warnings import OdenetWarning

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


class UnusedSettingWarning(OdenetWarning):
    """A setting without effect: likely another one was meant to be set too."""


def warn_of_unused_settings(config: DensityConfig) -> None:
    """Name each setting that is not at its default and has no effect on a run."""
    for section, name, why in _without_effect(config):
        value = getattr(section, name)
        if value != getattr(type(section), name):
            message = f"{section.section}.{name}={value} changes nothing: {why}"
            warnings.warn(message, UnusedSettingWarning, stacklevel=2)


def _without_effect(config: DensityConfig) -> Iterator[tuple[Section, str, str]]:
    """Section, name and reason."""
    flow, model = config.flow, config.model.architecture
    if model in LOOKED_AT:
        why = f"a {model} (model.architecture={model}) solves no ODE"
        for section in (config.solver, config.regularisation):
            yield from ((section, f.name, why) for f in fields(section))
        for f in fields(flow):
            if f.name not in LOOKED_AT[model]:
                yield flow, f.name, why if f.name in OF_AN_ODE else f"a {model} does not look at it"
    elif model == CNF:
        yield flow, "layers", "it is of planar_nf and spline_nf; a cnf has flow.width and flow.blocks"
        if flow.field == "planar":
            yield flow, "activation", "planar units have tanh"
            yield flow, "trace", "the divergence of planar units has a closed form"
            yield flow, "noise", "the divergence of planar units has a closed form"
