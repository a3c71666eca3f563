"""The penalties of all ODE blocks of a model, as a training adds them to its loss."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.config import RegularisationConfig
from pipeline.ode.block import ODEBlock


def regularise(model: nn.Module, regularisation: RegularisationConfig) -> None:
    """Have the model's ODE blocks do in training what this says; without blocks, nothing."""
    for block in _blocks(model):
        block.regularise(regularisation)


def take_penalties(model: nn.Module) -> dict[str, Tensor]:
    """Name -> of each item of the batch that the model was called with last in training, shape (batch,).

    Summed over the blocks, which give them away, with their graphs. Nothing after an evaluation.
    """
    found: dict[str, Tensor] = {}
    for block in _blocks(model):
        for name, values in block.penalties.items():
            found[name] = found[name] + values if name in found else values
        block.penalties = {}
    return found


def _blocks(model: nn.Module) -> list[ODEBlock]:
    return [part for part in model.modules() if isinstance(part, ODEBlock)]


def weighted_penalty(penalties: Mapping[str, Tensor], regularisation: RegularisationConfig) -> Tensor | None:
    """What is added to the loss, a scalar: the sum of the penalties' means over the items, by their weights."""
    weighted = [weight * penalties[name].mean() for name, weight in regularisation.weights.items() if name in penalties]
    return torch.stack(weighted).sum() if weighted else None
