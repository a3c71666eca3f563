"""Compiling what a network computes when it is trained on whole batches.

All else stays eager: a last smaller batch, which would be compiled for itself, and every evaluation, whose answer so
does not depend on how the network was trained.
"""

import copy
import hashlib
import os
import platform
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from pipeline.device import processor
from pipeline.device.precision import backward
from pipeline.util.files import private_folder, tighten
from pipeline.util.paths import home
from pipeline.util.user_warnings import OdenetWarning

Function = TypeVar("Function", bound=Callable[..., Any])


STEPS_WORTH_COMPILING = 2000
"""Training steps that a run is to have at least for `auto` to compile: by then the simple and Gładzik's ODE-Nets have
earned back several times, on a CPU, what compiling takes (docs/performance-measured.md)."""


class CompilationWarning(OdenetWarning):
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

    def suited_to(self, z: Tensor, function: Function) -> Function:
        """`function`, compiled where `is_compiled_for(z)`."""
        return compiled(function) if self.is_compiled_for(z) else function


def compiled(function: Function) -> Function:
    """The same function, compiled as a whole for every shape that it is called with."""
    return cast("Function", _compile(function))


@cache  # and not where a module is imported: that takes torch's compiler seconds
def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    from pipeline.device.graph_passes import options_of_passes

    # Torch tells the C++ compiler to round products before they are added, as eager code does.
    options = {"cpp.enable_floating_point_contract_flag": "fast", **options_of_passes(cxx_compiler())}
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)


def compile_for_training(network: nn.Module, images: Tensor) -> float | None:
    """Have the network's parts compiled for batches like `images`; nothing else of it changes.

    Args:
        images: a whole batch, preprocessed, on the device and in the number formats of the training.

    Returns:
        The seconds that it took; None, with a CompilationWarning that names why, where the network stays eager.

    Raises:
        SolverFailure: an ODE could not be solved.
    """
    prepare()
    if images.device.type == "cpu":
        os.environ.setdefault("TORCH_WARM_POOL", "0")  # a process a core, of use to what is compiled for GPUs alone
    started = time.perf_counter()
    parts = [module for module in network.modules() if isinstance(module, CompiledInTraining)]
    for part in parts:
        part.compiled_batch = len(images)
    try:
        # Torch would keep the masks of activations for the backward pass; computing them again from what is kept anyway
        # takes less memory and, on a CPU, less time.
        with torch._functorch.config.patch(ban_recompute_materialized_backward=False):
            _rehearse(network, images)
    except compilation_errors() as error:
        for part in parts:
            part.compiled_batch = None
        warn_of_staying_eager(error)
        return None
    seconds = time.perf_counter() - started
    if (code := Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])).is_relative_to(home()):
        tighten(code)
    return seconds


def prepare() -> None:
    """For compiling another network."""
    torch.compiler.reset()  # torch compiles a function for a few networks, and not for all that a sweep tries
    _keep_code_at_home()


def compilation_errors() -> tuple[type[Exception], ...]:
    """What is raised where torch cannot compile."""
    return torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit, OSError


def warn_of_staying_eager(error: Exception) -> None:
    """A CompilationWarning that names why."""
    reason = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    message = (
        f"torch cannot compile this network, which is trained eagerly: {reason}; `odenet doctor` looks for a "
        "compiler, and training.compile=False does without one"
    )
    warnings.warn(message, CompilationWarning, stacklevel=3)


def _keep_code_at_home() -> None:
    """Not below /tmp, unless somebody chose a folder; torch notes its own choice as if it was the user's.

    Each kind of processor has a folder of its own, as machines may share their home, and code is for the processor that
    it was compiled on, which torch does not look at.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # here, as it takes a second

    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") in (None, default_cache_dir()):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(private_folder(home() / "compiled" / _processor()))


def cxx_compiler() -> str:
    """The command of the C++ compiler that torch compiles with."""
    return os.environ.get("CXX", "g++")


def _processor() -> str:
    """The same for processors of the same abilities, as far as Linux tells of them."""
    told = [processor.name(), *sorted(processor.abilities())]
    return f"{platform.machine()}-{hashlib.sha256(' '.join(told).encode()).hexdigest()[:12]}"


def _rehearse(network: nn.Module, images: Tensor) -> None:
    """One pass forward and backward through a copy, which leaves no trace but what was compiled."""
    gpus = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        scores = copy.deepcopy(network).train()(images)
        backward(scores.float().square().mean())
