"""Torch's optimisers without torch's compiler, which they import as soon as they are made: a second and more."""

import inspect
from typing import TypeVar

import torch
from torch import optim

Optimiser = TypeVar("Optimiser", bound=optim.Optimizer)


def eager(optimiser: type[Optimiser]) -> type[Optimiser]:
    """The same optimiser for steps that nobody compiles, as ours are: it computes the same and imports no compiler.

    Torch decorates the methods of its optimisers for the case that they are called within compiled code, and each
    decorator imports the compiler at its first call. The methods here are those behind the decorators.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(optimiser, name)) for name in names}
    step = torch.no_grad()(inspect.unwrap(optimiser.step))
    return type(optimiser.__name__, (optimiser,), {**methods, "step": step, "__doc__": optimiser.__doc__})
