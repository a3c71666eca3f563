"""The metrics of image classification."""

from pipeline.tasks.metric_spec import MetricSpec

_LOSS = "mean negative log likelihood"
_ACCURACY = "share of the images whose likeliest class is the true one"

METRICS = (
    MetricSpec("training.loss", "loss", f"{_LOSS} of the training batches", "nats per image", better="lower"),
    MetricSpec("training.accuracy", "accuracy", f"{_ACCURACY}, training", format=".2%", better="higher"),
    MetricSpec(
        "validation.loss", "loss", f"{_LOSS}, validation", "nats per image", better="lower", is_searchable=True
    ),
    MetricSpec(
        "validation.accuracy", "accuracy", f"{_ACCURACY}, validation", format=".2%", better="higher", is_searchable=True
    ),
    MetricSpec("test.accuracy", "accuracy", f"{_ACCURACY}, test", format=".2%", better="higher"),
    MetricSpec("test.loss", "loss", f"{_LOSS}, test", "nats per image", better="lower"),
)

RESULT = "test.accuracy"
"""What the result of a run is."""
