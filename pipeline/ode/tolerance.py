"""How large an error may be: the tolerances, and the norm that an error is measured by."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config.section import nearest
from pipeline.ode.state import Layout, State
from pipeline.util.errors import InvalidInput

Sum = Callable[[Tensor], Tensor]
"""Adds a vector up over all processes that solve for some items of one batch each; the same in all of them."""
PackedNorm = Callable[[Tensor], Tensor]
"""Size of something packed as the state: shape (1,), or with step control per sample (n,)."""


@dataclass(frozen=True)
class RootMeanSquare:
    """The usual norm of an error, which does not depend on the number of elements; of several parts, the largest.

    Attributes:
        zeros: elements of each sample's state that were left out of it, since they are zero and stay so. Errors are
            averaged over them too, so that the steps are those of the whole state.
        outside: names (of a tuple, positions) of the parts whose errors do not count: integrals along the way, which
            then leave the steps as they are. That they are finite is still seen to.
        across: of several processes that have some items of one batch each: the norm is then that of the whole batch,
            so that all take its steps. Each must make the same solves. With steps of each sample's own it is not asked.
    """

    zeros: int = 0
    outside: tuple[str | int, ...] = ()
    across: Sum | None = None


Norm = RootMeanSquare | Callable[[State], Tensor | float]
"""A root mean square, or a function of a state that returns a scalar, with step control per sample one a sample."""


@dataclass(frozen=True)
class Tolerance:
    """An error e of a step from z to z' is as large as is allowed where norm(e / (atol + rtol max(|z|, |z'|))) is 1."""

    rtol: float
    atol: float
    norm: PackedNorm

    def of(self, size: Tensor) -> Tensor:
        """The error that is allowed in each element of a state of this size."""
        return size.mul(self.rtol).add_(self.atol)

    @torch.no_grad()
    def ratio(self, error: Tensor, z: Tensor, end: Tensor) -> Tensor:
        """Size of the error of a step from `z` to `end`, 1 being what is allowed; no number where it is not finite."""
        ratio = self.norm(error / self.of(torch.maximum(z.abs(), end.abs())))
        return ratio + 0 * ratio


def packed_norm(norm: Norm, layout: Layout, batch: int) -> PackedNorm:
    """`norm` as a function of packed states.

    Args:
        batch: samples of the state, whose `zeros` count where they are measured together.
    """
    if not isinstance(norm, RootMeanSquare):
        return lambda packed: _own(norm, packed, layout)
    outside = {str(name) for name in norm.outside}
    names = [part.name for part in layout.parts]
    for name in sorted(outside - set(names)):
        raise InvalidInput(f"the norm leaves out the part {name}{nearest(name, names)}; there are {', '.join(names)}")
    counted = [part.name not in outside and part.size > 0 for part in layout.parts]
    if layout.per_sample:
        return lambda packed: _largest(packed, layout, counted, norm.zeros)
    if (across := norm.across) is not None:
        return lambda packed: _largest_across(packed, layout, counted, norm.zeros * batch, across)
    if layout.is_plain:
        zeros = norm.zeros * batch
        return lambda packed: root_mean_square(packed, zeros)
    return lambda packed: _largest(packed, layout, counted, norm.zeros * batch)


def _own(norm: Callable[[State], Tensor | float], packed: Tensor, layout: Layout) -> Tensor:
    """By a function of a state.

    Raises:
        InvalidInput: it does not return one number, of samples with steps of their own one for each.
    """
    size = torch.as_tensor(norm(layout.unpack(packed)), device=packed.device)
    if size.numel() != (len(packed) if layout.per_sample else 1):
        wanted = f"one for each of the {len(packed)} samples" if layout.per_sample else "one number"
        raise InvalidInput(f"the norm returned a tensor of shape {tuple(size.shape)}: return {wanted}")
    return size.reshape(-1)


def root_mean_square(z: Tensor, zeros: int = 0) -> Tensor:
    """Of all elements together and so many zeros, shape (1,)."""
    length: Tensor = torch.linalg.vector_norm(z)
    return length.div((z.numel() + zeros) ** 0.5).reshape(1)


def _largest(packed: Tensor, layout: Layout, counted: list[bool], zeros: int) -> Tensor:
    """Of the parts' root mean squares, each sample's own where the layout is per sample."""
    if layout.is_plain:
        lengths: Tensor = torch.linalg.vector_norm(packed.unsqueeze(-1), dim=tuple(range(1, packed.dim() + 1)))
        return lengths.div((packed.numel() / len(packed) + zeros) ** 0.5)
    rows = packed if layout.per_sample else packed.unsqueeze(0)
    pieces = rows.split(layout.sizes, dim=1)
    of_parts = [
        torch.linalg.vector_norm(piece, dim=1).div((piece.shape[1] + zeros) ** 0.5)
        for piece, counts in zip(pieces, counted, strict=True)
        if counts
    ]
    largest = torch.stack(of_parts).amax(0) if of_parts else rows.new_zeros(len(rows))
    for piece, counts in zip(pieces, counted, strict=True):
        if not counts:
            largest = largest + 0 * piece.sum(1)
    return largest


def _largest_across(packed: Tensor, layout: Layout, counted: list[bool], zeros: int, across: Sum) -> Tensor:
    """Of the parts' root mean squares in all processes together, shape (1,).

    What is no number in one process is none in the sum, so that all hear of it.
    """
    pieces = (packed,) if layout.is_plain else packed.split(layout.sizes)
    squares, sizes = [], []
    for piece, counts in zip(pieces, counted, strict=True):
        length = torch.linalg.vector_norm(piece, dtype=torch.float64)
        squares.append(length.square() if counts else 0 * length)
        sizes.append(float(piece.numel() + zeros))
    own = torch.stack([*squares, *torch.tensor(sizes, dtype=torch.float64, device=packed.device)])
    of_all, size = across(own).to(packed.device).split(len(pieces))
    largest: Tensor = (of_all / size.clamp(min=1)).sqrt().amax(0, keepdim=True)
    return largest.to(packed.dtype)
