"""Training with the steps of solvers as CUDA graphs."""

import warnings
from collections.abc import Iterator, Sequence
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
    if why := _why_not(parts, device):
        warnings.warn(f"training.cuda_graphs=True changes nothing: {why}", GraphWarning, stacklevel=2)
        yield
        return
    try:
        for part in parts:
            part.graphs = StepGraphs()
        yield
    finally:
        for part in parts:
            if part.graphs is not None:
                part.graphs.close()  # a part may keep what it launched last, as penalties
            part.graphs = None


def _why_not(parts: Sequence[Graphed], device: torch.device) -> str:
    if not parts:
        return (
            "only the steps of explicit methods, of solver.engine=odenet with control=batch and another gradient than "
            "adjoint, can be recorded"
        )
    return "" if has_graphs(device) else f"the device is {device.type}, and they are of NVIDIA's GPUs"


def has_graphs(device: torch.device) -> bool:
    """Whether the device launches what was recorded."""
    return device.type == "cuda"
