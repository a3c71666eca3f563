"""Penalties on how a field moves its state: integrals along the solution that make an ODE easy to solve.

Each is a part of the state beside z, outside the norm of errors, so that it is as accurate as the solution and changes
no step of it.
"""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.ode.inference_mode import differentiating, ordinary

Evaluate = Callable[[Tensor, Tensor], Tensor]
"""(t, z) -> dz/dt, of tensors shaped as the state."""


def squared_norm(vectors: Tensor) -> Tensor:
    """|v|² of each item, shape (batch,), in float32 at least."""
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return exact.square().unsqueeze(-1).sum(tuple(range(1, vectors.dim() + 1)))


def random_signs(z: Tensor) -> Tensor:
    """A probe for `product`: ±1 with equal probability (Rademacher), shaped as `z`, of torch's global random state."""
    return torch.empty_like(z).bernoulli_(0.5).mul_(2).sub_(1)


def rates(
    names: Collection[str],
    evaluate: Evaluate,
    t: Tensor,
    z: Tensor,
    slope: Tensor,
    probe_product: Tensor | None = None,
) -> dict[str, Tensor]:
    """What the penalties grow by at (t, z), each of shape (batch,).

    Args:
        names: of `kinetic`, |f|²; `jacobian`, |eᵀ ∂f/∂z|²; `curvature`, |d²z/dt²|².
        evaluate: the field, evaluated once more for `curvature`.
        slope: dz/dt there.
        probe_product: eᵀ ∂f/∂z with a probe e, for `jacobian`; a flow has it for its divergence.

    Source: Finlay et al. 2020, section 3, for the first two; Kelly et al. 2020, section 3, for the third.
    """
    found = {}
    if "kinetic" in names:
        found["kinetic"] = squared_norm(slope)
    if "jacobian" in names:
        assert probe_product is not None
        found["jacobian"] = squared_norm(probe_product)
    if "curvature" in names:
        found["curvature"] = squared_norm(second_derivative(evaluate, t, z, slope))
    return found


def second_derivative(evaluate: Evaluate, t: Tensor, z: Tensor, slope: Tensor) -> Tensor:
    """d²z/dt² = ∂f/∂t + ∂f/∂z f along the solution, by one evaluation that carries the direction (1, f)."""
    _load_rules_of_jvp()
    directions = (torch.ones_like(t), slope.to(z.dtype))
    acceleration: Tensor = torch.func.jvp(evaluate, (t, z), directions)[1]
    return acceleration


@cache
def _load_rules_of_jvp() -> None:
    """What torch would load at the first call, with a warning of its own that concerns no user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import_module("torch._decomp.decompositions_for_jvp")


def with_product(evaluate: Evaluate, t: Tensor, z: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """dz/dt and eᵀ ∂f/∂z with the probe e, differentiable themselves where gradients are enabled.

    Where nothing of the field depends on z, the product is zero.
    """
    is_wanted = torch.is_grad_enabled()
    t, z, probe = ordinary(t), ordinary(z), ordinary(probe)
    with differentiating():
        # A view that was taken without gradients claims to want them, and no graph reaches it.
        start = z if is_wanted and z.requires_grad else z.detach().requires_grad_()
        slope = evaluate(t, start)
        if not slope.requires_grad:
            return slope, torch.zeros_like(z)
        (product,) = torch.autograd.grad(
            slope, start, probe.to(slope.dtype), create_graph=is_wanted, allow_unused=True, materialize_grads=True
        )
    return (slope, product) if is_wanted else (slope.detach(), product)


class PenalisedField(nn.Module):
    """d(z, penalties)/dt of a field for z: a state of the parts `z` and one of shape (batch,) for each penalty.

    Behind what the field takes it is given the context `probes`, which is the same throughout a solve.
    """

    def __init__(self, field: nn.Module, names: Collection[str]) -> None:
        super().__init__()
        self.field = field
        self.names = tuple(names)
        self.at_times: Callable[[Tensor], Sequence[Any]] | None = getattr(field, "at_times", None)

    def start(self, z: Tensor) -> dict[str, Tensor]:
        """The state that a solve begins with."""
        return {"z": z, **{name: z.new_zeros(len(z)) for name in self.names}}

    def probes(self, z: Tensor) -> tuple[Tensor, ...]:
        """The context of one solve that begins with `z`."""
        return (random_signs(z),) if "jacobian" in self.names else ()

    def forward(self, t: Tensor, state: Mapping[str, Tensor], *others: Tensor) -> dict[str, Tensor]:
        z = state["z"]
        product = None
        if "jacobian" in self.names:
            *of_time, probe = others
            slope, product = with_product(lambda t, z: self.field(t, z, *of_time), t, z, probe)
        else:
            slope = self.field(t, z, *others)
        return {"z": slope, **rates(self.names, self._evaluate, t, z, slope, product)}

    def _evaluate(self, t: Tensor, z: Tensor) -> Tensor:
        """The field with what it takes of time computed of this `t`, which may carry a direction."""
        of_times = () if self.at_times is None else self.at_times(t.view(1) if t.dim() == 0 else t.view(1, -1))
        slope: Tensor = self.field(t, z, *of_times)
        return slope
