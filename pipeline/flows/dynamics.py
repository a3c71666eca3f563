"""What a flow integrates: points, the change of their log-density, and penalties."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pipeline.flows.divergence import (
    carries_tangents,
    divergence,
    has_closed_form,
    jacobian_products,
    squared_norm,
    trace,
)

Noise = Literal["rademacher", "gaussian"]
NOISES: tuple[Noise, ...] = get_args(Noise)
PENALTIES = ("kinetic", "jacobian")
"""∫ |f|² dt and ∫ |J|² dt (Frobenius) along each point's path, summed over the dimensions.

Source: Finlay et al. 2020, *How to train your neural ODE*.
"""
BLOCK = 128
"""Rows that are evaluated together where points have steps of their own."""


class Dynamics(nn.Module):
    """d(point, change)/dt = (f, div f), and the penalties' integrands.

    With steps for each sample, rows are evaluated in blocks of one size, filled up with zeros: kernels that multiply
    matrices differ with the number of rows in the last bit, and so would what a point comes to.
    """

    def __init__(self, field: nn.Module, is_estimated: bool, penalties: tuple[str, ...], per_sample: bool) -> None:
        """
        Args:
            is_estimated: whether the divergence, where it has no closed form, and the Jacobian's norm are estimated
                from probes, which come behind the state.
        """
        super().__init__()
        self.field = field
        self.is_estimated = is_estimated
        self.penalties = penalties
        self.per_sample = per_sample

    @property
    def at_times(self) -> Callable[[Tensor], Any] | None:
        """That of the field; not with steps for each sample, whose rows are evaluated in blocks."""
        return None if self.per_sample else getattr(self.field, "at_times", None)

    def forward(self, t: Tensor, state: Mapping[str, Tensor], *rest: Any) -> dict[str, Tensor]:
        if not self.per_sample:
            return self._of_rows(t, state["point"], *rest)
        return self._in_blocks(t, state["point"], *rest)

    def _in_blocks(self, t: Tensor, z: Tensor, *rest: Tensor) -> dict[str, Tensor]:
        missing = -len(z) % BLOCK
        # By copies of a row: at zero a field may have no gradient, and nothing times no number is none.
        filled = [torch.cat([one, one[:1].expand(missing, *one.shape[1:])]) for one in (t, z, *rest)]
        blocks = [self._of_rows(*rows) for rows in zip(*(one.split(BLOCK) for one in filled), strict=True)]
        return {name: torch.cat([block[name] for block in blocks])[: len(z)] for name in blocks[0]}

    def _of_rows(self, t: Tensor, z: Tensor, *rest: Any) -> dict[str, Tensor]:
        of_time, probes = rest, None
        if self.is_estimated:
            of_time, probes = rest[:-1], rest[-1].transpose(0, 1)
        products = z.new_zeros(())
        if not has_closed_form(self.field):
            slope, products, directions = jacobian_products(self.field, t, z, probes, *of_time)
            change = trace(products, directions, self.is_estimated)
        else:
            slope, change = divergence(self.field, t, z, None, *of_time)
            if "jacobian" in self.penalties:
                _, products, _ = jacobian_products(self.field, t, z, probes, *of_time)
        derivative = {"point": slope, "change": change}
        if "kinetic" in self.penalties:
            derivative["kinetic"] = slope.square().sum(-1)
        if "jacobian" in self.penalties:
            derivative["jacobian"] = squared_norm(products, self.is_estimated)
        return derivative


def draw_probes(z: Tensor, probes: int, noise: Noise, generator: torch.Generator | None = None) -> Tensor:
    """Random directions for each row of z, of mean 0 and covariance 1, shape (n, probes, D)."""
    shape = (len(z), probes, z.shape[1])
    device = z.device if generator is None else generator.device
    if noise == "gaussian":
        drawn = torch.randn(shape, generator=generator, device=device)
    else:
        drawn = torch.randint(0, 2, shape, generator=generator, device=device) * 2 - 1
    return drawn.to(z)


def can_be_compiled(field: nn.Module) -> bool:
    """Whether its divergence is made of products alone, and not of a backward pass."""
    return has_closed_form(field) or carries_tangents(field)
