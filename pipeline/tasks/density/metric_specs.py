"""The metrics of densities."""

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks.penalty_specs import penalty_specs

RESULT = "test.nll"
"""What the result of a run is."""

_LOSS = "what is minimised: mean of -log p of the data, or KL(q‖p) to it"
"""Without penalties."""


def metric_specs() -> tuple[MetricSpec, ...]:
    """The specs of all metrics; the likelihood first, and its errors behind it."""
    return (
        MetricSpec("training.loss", "loss", f"{_LOSS}, training", "nats", better="lower"),
        MetricSpec("validation.loss", "loss", f"{_LOSS}, validation", "nats", better="lower", is_searchable=True),
        *penalty_specs(),
        MetricSpec("test.nll", "NLL", "mean of -log p of the test points", "nats", better="lower"),
        MetricSpec("test.nll_se", "± se", "standard error of that mean", "nats"),
        MetricSpec("test.nll_shift", "shift", "what a hundredth of the tolerances adds to the NLL", "nats", "+.1e"),
        MetricSpec(
            "test.bits_per_dim", "bits/dim", "upper bound of the bits that a dimension takes", "bits", better="lower"
        ),
        MetricSpec("test.integral", "integral", "of the density over a grid, in one and two dimensions", format=".5f"),
        MetricSpec("test.kl", "KL(q‖p)", "from the model to the density that it matches", "nats", better="lower"),
        MetricSpec("test.kl_se", "± se of KL", "standard error of the KL divergence", "nats"),
        MetricSpec(
            "test.excess", "KL(p‖q)", "NLL less that of the density that the data are of", "nats", better="lower"
        ),
        MetricSpec("test.round_trip", "round trip", "largest error of a coordinate, there and back", format=".1e"),
        MetricSpec("test.trace_sd", "trace sd", "standard deviation of log p by the trace's estimate", "nats", ".1e"),
        MetricSpec("test.nfe_sample", "NFE of samples", "evaluations of the field for samples", format=".0f"),
    )
