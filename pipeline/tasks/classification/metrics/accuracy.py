"""Accuracy."""

from typing import TYPE_CHECKING

from pipeline import plugins

if TYPE_CHECKING:
    from torch import Tensor


@plugins.metric(
    "accuracy",
    says="share of the images whose likeliest class is the true one",
    format=".2%",
    better="higher",
    per="item",
)
def accuracy(scores: "Tensor", labels: "Tensor") -> "Tensor":
    """Whether the likeliest class is the true one, shape (n,)."""
    return scores.argmax(1) == labels
