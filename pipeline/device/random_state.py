"""The state of random numbers: torch's on a device, Python's and NumPy's."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

RandomState = tuple[Tensor, Tensor | None]
"""Of the CPU's generator, and of the GPU's."""


def get_random_state(device: torch.device) -> RandomState:
    """What a network on `device` will draw from."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def is_same_random_state(one: RandomState, other: RandomState) -> bool:
    """Whether nothing was drawn between two states of the same device."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None)


def set_random_state(state: RandomState | None, device: torch.device) -> None:
    """Draw again what was drawn after `state`, if there is one, as far as it is of this kind of device."""
    if state is None:
        return
    on_cpu, on_gpu = state
    torch.set_rng_state(on_cpu)
    if on_gpu is not None and device.type == "cuda":
        torch.cuda.set_rng_state(on_gpu, device)


def get_other_random_state() -> dict[str, Any]:
    """What Python's and NumPy's own generators will draw from, as plain values."""
    name, keys, *others = np.random.get_state()
    return {"python": random.getstate(), "numpy": (name, np.asarray(keys).tolist(), *others)}


def set_other_random_state(state: dict[str, Any] | None) -> None:
    """Draw again what was drawn after `state`, if there is one."""
    if state is not None:
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
