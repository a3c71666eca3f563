"""The small networks of a latent ODE: its field and what decodes a state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "softplus": nn.Softplus}
Activation = Literal["tanh", "relu", "elu", "softplus"]


def mlp(sizes: Sequence[int], activation: Activation) -> nn.Sequential:
    """Linear layers of these sizes, from the input's to the output's, with an activation between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return nn.Sequential(*parts[:-1])


class LatentField(nn.Module):
    """dz/dt = f(z) of a latent state, the same at all times: z has the shape (batch, latent).

    Chen et al. 2018, section 5.1, have one hidden layer of 20.
    """

    def __init__(self, latent: int, hidden: Sequence[int] = (20,), activation: Activation = "elu") -> None:
        super().__init__()
        self.layers = mlp([latent, *hidden, latent], activation)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002 - an ODE's field is given t
        slope: Tensor = self.layers(z)
        return slope


class Decoder(nn.Module):
    """The values that belong to a latent state, shape (…, latent) to (…, dimensions), without their noise.

    Chen et al. 2018, section 5.1, have one hidden layer of 20.
    """

    def __init__(
        self, latent: int, dimensions: int, hidden: Sequence[int] = (20,), activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.layers = mlp([latent, *hidden, dimensions], activation)

    def forward(self, z: Tensor) -> Tensor:
        values: Tensor = self.layers(z)
        return values
