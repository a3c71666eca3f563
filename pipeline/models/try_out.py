"""What a plug-in moves points with, tried before anything is trained."""

import copy

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.plugins.registry import Part, PluginError
from pipeline.util.errors import OdenetError


@torch.no_grad()
def try_out(part: Part, module: nn.Module, points: Tensor, given: str, solver: SolverConfig | None = None) -> None:
    """Call a copy of a plug-in's module once, as it evaluates; the random state stays as it is.

    A module that cannot be copied is not tried: what the call left in it would stay.

    Args:
        points: of shape (n, width).
        given: says in a message what they are.
        solver: of a field, which is called with a time before the points.

    Raises:
        PluginError: it does not take them, or gives something of another shape.
    """
    # A module of one's own may be on a GPU.
    device = next((parameter.device for parameter in module.parameters()), points.device)
    values, shape = [points.to(device)], tuple(points.shape)
    if solver is not None:
        values.insert(0, values[0].new_zeros((len(points), 1) if solver.control == "sample" else ()))
    what = f"{part.where}: the {part.kind} {part.name}"
    try:
        tried = copy.deepcopy(module).eval()
    except Exception:
        return
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            if (at_times := getattr(tried, "at_times", None)) is not None:
                time = values[0]
                values += at_times(time.reshape((1, -1) if time.dim() else 1))
            found = tried(*values)
    except Exception as error:
        if isinstance(error, OdenetError) or is_out_of_memory(error):
            raise
        raise PluginError(f"{what} does not work for {given}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Tensor) or found.shape != shape:
        returned = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise PluginError(f"{what} gives {returned} for {given}: it must give {shape}")
