"""The metrics of models of irregular time series."""

from pipeline.plugins import registry
from pipeline.reporting.metric_spec import MetricSpec

RESULT = "test.rmse"
"""What the result of a run is."""

_SCALED = "in the scaled unit"
_PLACES = {"": "up to the horizon", "_inside": "within the window", "_beyond": "beyond the window"}
_AFTER_FIRST = {"_after_first": "within the window, behind the first observation of each series"}
"""What is up to that, recurrent models say from nothing."""


def metric_specs() -> tuple[MetricSpec, ...]:
    """The specs of all metrics, those of loaded plug-ins included."""
    return (*_own_specs(), *(spec for part in metric_parts() for spec in _specs_of_part(part)))


def metric_parts() -> list[registry.Part]:
    """The metrics of plug-ins for series.

    Raises:
        PluginError: one has the name of what is recorded anyway.
    """
    parts = [registry.find("metric", name, "series") for name in registry.names("metric", "series")]
    recorded = {spec.name.partition(".")[2] for spec in _own_specs()}
    for part in parts:
        if part.name in recorded:
            raise registry.PluginError(f"{part.where}: the metric {part.name} is recorded already; choose another name")
    return parts


def _own_specs() -> list[MetricSpec]:
    return [*_of_training(), *_errors(), *_likelihoods(), *_others()]


def _of_training() -> list[MetricSpec]:
    says = "negative bound (of a latent ODE) or negative log likelihood of what is learned to be said"
    return [
        MetricSpec(
            f"{split}.loss",
            "loss",
            f"{says}, {split}",
            "nats per series",
            ".2f",
            better="lower",
            is_searchable=split == "validation",
        )
        for split in ("training", "validation")
    ] + [
        MetricSpec(f"{split}.kl", "KL", f"KL of the posterior from the prior, {split}", "nats per series", ".2f")
        for split in ("training", "validation")
    ]


def _errors() -> list[MetricSpec]:
    of = {"rmse": ("RMSE", "observations"), "rmse_truth": ("RMSE to truth", "the truth without noise")}
    specs = [
        MetricSpec(
            "validation.rmse",
            "RMSE",
            f"root mean squared error against observations up to the horizon, {_SCALED}, validation",
            better="lower",
            is_searchable=True,
        )
    ]
    for name, (heading, what) in of.items():
        for place, where in (_PLACES | _AFTER_FIRST).items():
            specs.append(
                MetricSpec(
                    f"test.{name}{place}",
                    f"{heading} {place[1:].replace('_', ' ')}".strip(),
                    f"root mean squared error against {what} {where}, {_SCALED}, test",
                    better="lower",
                )
            )
    says = (
        "mean squared error over the known values of the window, or with extrapolation beyond it, in the scaled unit, "
        "which is not that of Rubanova et al. 2019, times 100, test"
    )
    return [*specs, MetricSpec("test.mse_e2", "MSE × 100", says, format=".3f", better="lower")]


def _likelihoods() -> list[MetricSpec]:
    per_series, per_value = "nats per series", "nats per value"
    rows = (
        ("elbo", "ELBO", "evidence lower bound of what is learned to be said", per_series, "higher"),
        ("elbo_per_value", "ELBO/value", "evidence lower bound for each value", per_value, "higher"),
        ("kl", "KL", "KL of the posterior from the prior", per_series, None),
        ("importance_bound", "IW bound", "importance-weighted bound of the same likelihood", per_series, "higher"),
        (
            "log_likelihood",
            "log lik.",
            "log likelihood of each value given those before",
            per_series,
            "higher",
        ),
        ("log_likelihood_per_value", "log lik./value", "the same for each value", per_value, "higher"),
    )
    return [
        MetricSpec(f"test.{name}", heading, f"{says}, test", unit, ".3f", better)  # type: ignore[arg-type]
        for name, heading, says, unit, better in rows
    ]


def _others() -> list[MetricSpec]:
    coverages = [
        MetricSpec(
            f"test.coverage_{level}{place}",
            f"in {level} % band {place[1:]}".strip(),
            f"share of values in the middle {level} % band, {where}, test",
            format=".1%",
        )
        for level in (50, 90)
        for place, where in _PLACES.items()
    ]
    return [
        *coverages,
        MetricSpec("test.auc", "AUC", "area below the ROC curve of the label, test", better="higher"),
        MetricSpec("test.accuracy", "accuracy", "share of labels that are right, test", format=".2%", better="higher"),
    ]


def _specs_of_part(part: registry.Part) -> tuple[MetricSpec, ...]:
    facts = part.facts
    return tuple(
        MetricSpec(
            f"{split}.{part.name}",
            facts["heading"],
            f"{facts['says']}, {split}",
            facts["unit"],
            facts["format"],
            facts["better"],
            is_searchable=split == "validation" and facts["better"] is not None,
        )
        for split in ("validation", "test")
    )
