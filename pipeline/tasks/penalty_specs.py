"""The metrics of regularised dynamics, which any task with ODE blocks may record."""

from pipeline.reporting.metric_spec import MetricSpec

_SAYS = {
    "kinetic": "integral of |dz/dt|² along the solution",
    "jacobian": "integral of the Jacobian's estimated squared norm along the solution",
    "curvature": "integral of |d²z/dt²|² along the solution",
}


def penalty_specs() -> tuple[MetricSpec, ...]:
    """Of each penalty, its mean over the training items, without its weight; recorded where that is above 0."""
    return tuple(
        MetricSpec(f"training.{name}", name, f"{says}, training", "per item", ".4g") for name, says in _SAYS.items()
    )
