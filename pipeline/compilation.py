"""Compiling what a network computes when it is trained on whole batches.

All else stays eager: a last smaller batch, which would be compiled for itself, and every evaluation, whose answer so
does not depend on how the network was trained.
"""

import copy
import time
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

LARGEST_NUMBER_OF_SHAPES = 64
"""For which torch compiles a function in one process; a worker of a sweep meets more than torch's own 8."""


Function = TypeVar("Function", bound=Callable[..., Any])


class CompilationWarning(UserWarning):
    """A network that was to be compiled stays eager."""


class CompiledInTraining(nn.Module):
    """A part of a network that can be compiled.

    Attributes:
        compiled_batch: size of the batches that are computed by compiled functions in training; None for none.
    """

    compiled_batch: int | None = None

    def is_compiled_for(self, z: Tensor) -> bool:
        """Whether what follows from `z`, shape (batch, …), is to be computed by compiled functions."""
        return self.training and len(z) == self.compiled_batch


def compiled(function: Function) -> Function:
    """The same function, compiled as a whole for every shape that it is called with."""
    return cast("Function", _compile(function))


@cache  # and not where a module is imported: that takes torch's compiler seconds
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, fullgraph=True, dynamic=False)


def compile_for_training(network: nn.Module, images: Tensor) -> float | None:
    """Have the network's parts compiled for batches like `images`; nothing else of it changes.

    Args:
        images: a whole batch, preprocessed, on the device and in the number formats of the training.

    Returns:
        The seconds that it took; None, with a CompilationWarning that names why, where the network stays eager.

    Raises:
        SolverFailure: an ODE could not be solved.
    """
    torch._dynamo.config.recompile_limit = LARGEST_NUMBER_OF_SHAPES
    started = time.perf_counter()
    parts = [module for module in network.modules() if isinstance(module, CompiledInTraining)]
    for part in parts:
        part.compiled_batch = len(images)
    try:
        _rehearse(network, images)
    except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
        for part in parts:
            part.compiled_batch = None
        reason = next(line for line in str(error).splitlines() if line.strip())
        message = f"training.compile is True, but torch cannot compile this network, which is trained eagerly: {reason}"
        warnings.warn(message, CompilationWarning, stacklevel=2)
        return None
    return time.perf_counter() - started


def _rehearse(network: nn.Module, images: Tensor) -> None:
    """One pass forward and backward through a copy, which leaves no trace but what was compiled."""
    gpus = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        scores = copy.deepcopy(network).train()(images)
        with torch.autocast(images.device.type, enabled=False):
            scores.float().square().mean().backward()
