"""What is timed: the papers' networks at their data sets' sizes, on images made of noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.device import Device
from pipeline.config import NetworkConfig, SolverConfig
from pipeline.models import Network, build_model
from pipeline.ode import ODEBlock

CLASSES = 10


@dataclass(frozen=True)
class Workload:
    """A network, the batch that it is given, how closely its ODE is solved (as rtol and atol), and where."""

    model: NetworkConfig
    image_shape: tuple[int, int, int]
    batch_size: int = 128
    tolerance: float = 1e-3
    device: Device = "cpu"

    def batch(self) -> tuple[Tensor, Tensor]:
        """Images and labels, the same ones every time."""
        generator = torch.Generator().manual_seed(1)
        images = 2 * torch.rand(self.batch_size, *self.image_shape, generator=generator) - 1
        labels = torch.randint(CLASSES, (self.batch_size,), generator=generator)
        return images.to(self.device), labels.to(self.device)

    def network(self, solver: SolverConfig) -> Network:
        """With the same first weights every time."""
        torch.manual_seed(0)
        return build_model(self.model, solver, self.image_shape, CLASSES).to(self.device)


GREY, COLOUR = (1, 28, 28), (3, 32, 32)
"""MNIST's and Fashion-MNIST's size, which is also that of Gładzik's crops, and CIFAR-10's."""
_GLADZIK = NetworkConfig(architecture="gladzik", augment=0)
WORKLOADS = {
    "digits": Workload(NetworkConfig(), (1, 8, 8)),
    "simple": Workload(NetworkConfig(), GREY),
    "simple-resnet": Workload(NetworkConfig(body="resnet"), GREY),
    "simple-resnet-3": Workload(NetworkConfig(body="resnet", blocks=3), GREY),
    "simple-colour": Workload(NetworkConfig(), COLOUR),
    "simple-colour-resnet": Workload(NetworkConfig(body="resnet"), COLOUR),
    "complex": Workload(NetworkConfig(architecture="complex", augment=1), GREY),
    "complex-resnet": Workload(NetworkConfig(architecture="complex", body="resnet", augment=0), GREY),
    "complex-colour": Workload(NetworkConfig(architecture="complex", augment=1), COLOUR),
    "complex-colour-resnet": Workload(NetworkConfig(architecture="complex", body="resnet", augment=0), COLOUR),
    "gladzik-1": Workload(replace(_GLADZIK, time_weights="channel"), GREY),
    "gladzik-2": Workload(replace(_GLADZIK, time_weights="channel", blocks=2), GREY),
    "gladzik-resnet-1": Workload(replace(_GLADZIK, body="resnet"), GREY),
    "gladzik-resnet-2": Workload(replace(_GLADZIK, body="resnet", blocks=2), GREY),
}


def replace_blocks(network: Network, build: Callable[[ODEBlock], nn.Module]) -> None:
    """Have every ODE block of `network` solved by what `build` makes of it."""
    for name, module in list(network.named_modules()):
        if isinstance(module, ODEBlock):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, build(module))
