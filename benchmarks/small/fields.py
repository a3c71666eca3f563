"""The small fields, in torch."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.flows import MLPField, PlanarField, divergence
from pipeline.flows.fields.mlp import AtTime
from pipeline.flows.fields.planar import PlanarWeights


class Chain(nn.Module):
    """Linear layers with an activation between them, which do not see t.

    Args:
        gain: factor of torch's first weights.
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module], gain: float = 1.0) -> None:
        super().__init__()
        linear = [nn.Linear(before, after) for before, after in pairwise(sizes)]
        with torch.no_grad():
            for layer in linear:
                layer.weight.mul_(gain)
        self.layers = nn.Sequential(*(part for layer in linear for part in (layer, activation())))[:-1]

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002 - an ODE's field is given t
        return self.layers(z)


class Planar(PlanarField):
    """The planar field of our flows, with its divergence in closed form.

    The state is (z, log p), of shapes (batch, dimensions) and (batch, 1).

    Source: Chen et al. 2018, section 4; sizes and gates as in torchdiffeq's example.
    """

    def __init__(self, dimensions: int = 2, hidden: int = 32, units: int = 64) -> None:
        super().__init__(dimensions, units, hidden)

    def forward(  # type: ignore[override]
        self, t: Tensor, state: tuple[Tensor, Tensor], weights: PlanarWeights | None = None
    ) -> tuple[Tensor, Tensor]:
        slope, change = self.slope_and_divergence(t, state[0], weights)
        return slope, -change.unsqueeze(1)


class PlanarByBatches(nn.Module):
    """The same as torchdiffeq's example computes it: a batch of products for each unit, and a trace by backward passes.

    The points are repeated for every unit, and torch differentiates the slope once more for each dimension.

    Source: what `examples/cnf.py` of torchdiffeq 0.2.5 does, written anew.
    """

    def __init__(self, field: Planar) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = state[0].requires_grad_()
            inner, bias, outer = self.field.at_times(t.reshape(1))[0]
            repeated = z.unsqueeze(0).repeat(self.field.units, 1, 1)
            units = torch.tanh(torch.matmul(repeated, inner.t().unsqueeze(2)) + bias[:, None, None])
            slope = torch.matmul(units, self.field.units * outer.t().unsqueeze(1)).mean(0)
            shares = [torch.autograd.grad(column.sum(), z, create_graph=True)[0] for column in slope.unbind(1)]
            trace = torch.stack([share[:, d] for d, share in enumerate(shares)]).sum(0)
        return slope, -trace.unsqueeze(1)


class Estimated(nn.Module):
    """A flow's field of layers that see t, whose divergence is estimated from noise that is the same throughout.

    The state is (z, change), of shapes (batch, dimensions) and (batch, 1).
    """

    noise: Tensor

    def __init__(self, dimensions: int, width: int, batch: int) -> None:
        super().__init__()
        self.field = MLPField(dimensions, width, hidden=2, activation="softplus")
        noise = torch.randint(0, 2, (batch, dimensions), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
        self.register_buffer("noise", noise)

    def at_times(self, times: Tensor) -> list[list[AtTime]]:
        return self.field.at_times(times)

    def forward(
        self, t: Tensor, state: tuple[Tensor, Tensor], of_time: list[AtTime] | None = None
    ) -> tuple[Tensor, Tensor]:
        of_times = () if of_time is None else (of_time,)
        slope, change = divergence(self.field, t, state[0], self.noise, *of_times)
        return slope, -change.unsqueeze(1)


class EstimatedBackwards(nn.Module):
    """The same by FFJORD's way: layers of torch's products, and a backward pass that is differentiated again."""

    def __init__(self, estimated: Estimated) -> None:
        super().__init__()
        self.estimated = estimated

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = state[0].view_as(state[0]) if state[0].requires_grad else state[0].detach().requires_grad_()
            slope = self._slope(t, z)
            (product,) = torch.autograd.grad(slope, z, self.estimated.noise, create_graph=True)
        return slope, -(product * self.estimated.noise).sum(1, keepdim=True)

    def _slope(self, t: Tensor, z: Tensor) -> Tensor:
        for number, layer in enumerate(self.estimated.field.layers):
            scale, shift = layer.at(t.reshape(1, 1))
            z = functional.softplus(z) if number else z
            z = torch.addcmul(shift, z @ layer.linear.weight.mT, scale)
        return z
