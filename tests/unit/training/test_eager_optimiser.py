"""Optimisers without torch's compiler: torch's own, to the bit."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from pipeline.config import TrainingConfig
from pipeline.training.optimisation import build_optimiser
from tests.helpers.paths import ROOT

THEIRS: dict[str, tuple[type[optim.Optimizer], dict[str, Any]]] = {
    "adam": (optim.Adam, {}),
    "adamw": (optim.AdamW, {}),
    "rmsprop": (optim.RMSprop, {}),
    "sgd": (optim.SGD, {"momentum": 0.9}),
}
MADE = """
import sys
from torch import nn
from pipeline.config import TrainingConfig
from pipeline.training.optimisation import build_optimiser
for name in sys.argv[1:]:
    layer = nn.Linear(3, 2)
    optimiser = build_optimiser(TrainingConfig(optimiser=name), layer.parameters())
    layer(layer.weight).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    optimiser.load_state_dict(optimiser.state_dict())
assert "torch._dynamo" not in sys.modules
"""


def layer() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, 3)


def take_steps(optimiser: optim.Optimizer, network: nn.Module, number: int) -> list[Tensor]:
    x = torch.linspace(-1, 1, 20).view(5, 4)
    for _ in range(number):
        optimiser.zero_grad()
        network(x).square().sum().backward()
        optimiser.step()
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("name", THEIRS)
def test_its_steps_are_torchs_to_the_bit_and_go_on_from_torchs_state(name: str) -> None:
    kind, options = THEIRS[name]
    config = TrainingConfig(optimiser=name, lr=0.02, weight_decay=0.1)
    ours, theirs = layer(), layer()
    optimiser = build_optimiser(config, ours.parameters())
    peer = kind(theirs.parameters(), lr=0.02, weight_decay=0.1, **options)  # type: ignore[call-arg]
    assert isinstance(optimiser, kind)
    for pair in zip(take_steps(optimiser, ours, 3), take_steps(peer, theirs, 3), strict=True):
        assert torch.equal(*pair)
    again = build_optimiser(config, theirs.parameters())
    again.load_state_dict(peer.state_dict())
    for pair in zip(take_steps(optimiser, ours, 2), take_steps(again, theirs, 2), strict=True):
        assert torch.equal(*pair)


def test_its_steps_import_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", MADE, *THEIRS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
