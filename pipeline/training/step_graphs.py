"""Training with the steps of solvers as CUDA graphs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipeline.config import TrainingConfig
from pipeline.ode import StepGraphs
from pipeline.ode.graphed import Graphed
from pipeline.ode.stepping.graphs import GraphWarning


@contextmanager
def steps_as_graphs(model: nn.Module, config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Within it steps are launched as graphs, where that is chosen and can be; their memory is freed behind it."""
    if not config.cuda_graphs:
        yield
        return
    parts = [part for part in model.modules() if isinstance(part, Graphed) and part.can_be_graphed]
    if not (parts and has_graphs(device)):
        why = (
            "only the steps of explicit methods, of solver.engine=odenet with control=batch and another gradient than "
            "adjoint, can be recorded"
            if not parts
            else f"the device is {device.type}, and they are of NVIDIA's GPUs"
        )
        warnings.warn(f"training.cuda_graphs=True changes nothing: {why}", GraphWarning, stacklevel=2)
    try:
        for part in parts if has_graphs(device) else ():
            part.graphs = StepGraphs()
        yield
    finally:
        for part in parts:
            if part.graphs is not None:
                part.graphs.close()  # a part may keep what it launched last, as penalties
            part.graphs = None


def has_graphs(device: torch.device) -> bool:
    """Whether the device launches what was recorded."""
    return device.type == "cuda"
