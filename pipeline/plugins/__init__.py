"""Parts that users bring: models, fields, data sets, metrics, optimisers, schedules, callbacks, tasks and more.

from typing import Literal
from pipeline import plugins

@plugins.model("tiny")
def tiny(input_shape, outputs, solver, *, width: int = 32, activation: Literal["tanh", "relu"] = "tanh"): ...

odenet run --plugin my_net.py with tiny digits model.options.width=48

The parts that come along register in the same way; docs/plugins.md has an example of each.
"""

from pipeline.plugins.decorators import (
    callback,
    data_set,
    decoder,
    encoder,
    field,
    metric,
    model,
    named_config,
    optimiser,
    schedule,
    task,
)
from pipeline.plugins.loading import load_plugins
from pipeline.plugins.registry import PluginError

__all__ = [
    "PluginError",
    "callback",
    "data_set",
    "decoder",
    "encoder",
    "field",
    "load_plugins",
    "metric",
    "model",
    "named_config",
    "optimiser",
    "schedule",
    "task",
]
