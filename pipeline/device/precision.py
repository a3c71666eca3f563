"""The device, its number formats and its reproducibility."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from pipeline.config import ConfigError, TrainingConfig
from pipeline.util.errors import InvalidInput, brief


def choose_device(config: TrainingConfig) -> torch.device:
    """The device that `training.device` means here.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device is cuda, but torch finds no GPU here: use training.device=cpu or auto")
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def device_by_name(name: torch.device | str) -> torch.device:
    """The device of that name.

    Raises:
        InvalidInput: there is none here.
    """
    try:
        return torch.empty(0, device=torch.device(name)).device  # of None, it would be the CPU
    except (RuntimeError, TypeError, AssertionError) as error:  # the last one of a torch that knows no GPUs
        others = " or 'cuda'" if torch.cuda.is_available() else ""
        raise InvalidInput(
            f"device is {brief(str(name))}, but torch finds no such device here: use device='cpu'{others}"
        ) from error


@contextmanager
def numerics(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """Within it torch computes in `training.precision`, deterministically where that is asked for.

    fp32 means full float32 products; tf32 lets a GPU round their inputs to 10 bits of mantissa; bf16 runs
    convolutions and linear layers in bfloat16, the state of an ODE and the weights staying in float32.
    """
    # Uncached: a cast kept from before an optimiser step, or made without gradients, would be stale.
    with (
        _deterministic() if config.deterministic else nullcontext(),
        _products_in_tf32(config.precision == "tf32"),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16", cache_enabled=False),
    ):
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
    """Where it is asked for alone: torch imports its compiler to set this, which takes a second and more."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _products_in_tf32(is_allowed: bool) -> Iterator[None]:
    """torch has two interfaces for this, and the older one refuses to tell what was set by the newer one.

    Within, both can read what is set, and nothing is left to what is said for all of torch; behind, all is what it was.
    """
    backends: Any = torch.backends  # which its annotations know in part
    newer = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul)
    before = [each.fp32_precision for each in newer]
    try:
        older = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        older = None
    torch.set_float32_matmul_precision("high" if is_allowed else "highest")
    torch.backends.cudnn.allow_tf32 = is_allowed
    for each in (backends.cudnn.conv, backends.cudnn.rnn):
        each.fp32_precision = "tf32" if is_allowed else "ieee"
    try:
        yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older[0])
            torch.backends.cudnn.allow_tf32 = older[1]
        for each, precision in zip(newer, before, strict=True):
            each.fp32_precision = precision


def backward(output: Tensor, gradient: Tensor | None = None) -> None:
    """Gradients of `output`, of a loss or by the `gradient` that it has itself, in the `numerics` around it."""
    # Outside autocast, as torch asks for: backward runs in the types that forward chose.
    with torch.autocast(output.device.type, enabled=False):
        output.backward(gradient)
