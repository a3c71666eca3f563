"""Torch's inference mode, in which nothing can be differentiated, and whose tensors have no versions."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from pipeline.util.errors import InvalidInput


@contextmanager
def _left() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad():
        yield


def outside_inference() -> AbstractContextManager[None]:
    """Within it nothing is in inference mode, and gradients are recorded no more than before."""
    return _left() if torch.is_inference_mode_enabled() else nullcontext()


def ordinary(tensor: Tensor) -> Tensor:
    """The same numbers as a tensor that can be differentiated, also where it was made in inference mode."""
    if torch.compiler.is_compiling() or not tensor.is_inference():
        return tensor
    with _left():
        return tensor.clone()


def differentiating() -> AbstractContextManager[None]:
    """Within it what a field computes is recorded for derivatives, whatever the mode outside.

    Raises:
        InvalidInput: the field has weights or buffers that were made in inference mode, which cannot be recorded.
    """
    return torch.enable_grad() if torch.compiler.is_compiling() else _recorded()


@contextmanager
def _recorded() -> Iterator[None]:
    try:
        with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext(), torch.enable_grad():
            yield
    except RuntimeError as error:
        if "Inference tensors" not in str(error):
            raise
        raise InvalidInput(
            "the field is differentiated, and has weights or buffers that were made within torch.inference_mode, which "
            "cannot be: build, load and move the model outside of it, or use torch.no_grad instead"
        ) from error
