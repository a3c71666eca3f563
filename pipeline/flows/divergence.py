"""The divergence of a velocity field: in closed form, exactly, or estimated by random directions.

A field may have, beside `forward(t, z, *of_time)`:

- `slope_and_divergence(t, z, *of_time) -> (slope, divergence)`, a closed form;
- `with_tangents(t, z, tangents, *of_time) -> (slope, products)`, which carries tangents, shape (k, n, D), through its
  layers: a forward pass of products alone, without second derivatives, which compiles.

Any other module is differentiated by torch.
"""

from typing import Any

import torch
from torch import Tensor

from pipeline.ode.inference_mode import differentiating, ordinary
from pipeline.util.errors import InvalidInput


def divergence(field: Any, t: Tensor, z: Tensor, probes: Tensor | None = None, *of_time: Any) -> tuple[Tensor, Tensor]:
    """dz/dt = field(t, z) and its divergence, the trace of the Jacobian of each row.

    Args:
        z: shape (n, D), of which each row is a point for itself.
        probes: directions e of mean 0 and covariance 1, shape (k, n, D) or (n, D): the divergence is then estimated as
            the mean of eᵀ J e. Without them it is exact, in closed form or by D products.
        of_time: what the field takes behind z.

    Returns:
        Shapes (n, D) and (n,).

    Source: Hutchinson 1990, *A stochastic estimator of the trace of the influence matrix*; Grathwohl et al. 2019.
    """
    if probes is None and has_closed_form(field):
        slope, change = field.slope_and_divergence(t, z, *of_time)
        return slope, change
    slope, products, directions = jacobian_products(field, t, z, probes, *of_time)
    return slope, trace(products, directions, probes is not None)


def has_closed_form(field: Any) -> bool:
    """Whether the field knows its divergence without a product for every dimension."""
    return hasattr(field, "slope_and_divergence")


def carries_tangents(field: Any) -> bool:
    """Whether the field knows the products of its Jacobian."""
    return hasattr(field, "with_tangents")


def jacobian_products(
    field: Any, t: Tensor, z: Tensor, probes: Tensor | None, *of_time: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The slope, products of its Jacobian J, and the directions that they are with, both of shape (k, n or 1, D).

    They are J e where the field carries tangents and eᵀ J elsewhere. Without probes the directions are the D axes.
    """
    axes = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device).unsqueeze(1)
    directions = axes if probes is None else probes.reshape(-1, *z.shape)
    if carries_tangents(field):
        slope, products = field.with_tangents(t, z, directions, *of_time)
        return slope, products.expand(-1, *z.shape), directions
    slope, products = _by_autograd(field, t, z, directions, *of_time)
    return slope, products, directions


def trace(products: Tensor, directions: Tensor, is_estimate: bool) -> Tensor:
    """Of the Jacobian, shape (n,), from its products with some directions."""
    total = (products * directions).sum((0, 2))
    return total / len(directions) if is_estimate else total


def squared_norm(products: Tensor, is_estimate: bool) -> Tensor:
    """Of the Jacobian (Frobenius), shape (n,), from its products."""
    total = products.square().sum((0, 2))
    return total / len(products) if is_estimate else total


def _by_autograd(field: Any, t: Tensor, z: Tensor, directions: Tensor, *of_time: Any) -> tuple[Tensor, Tensor]:
    """Products eᵀ J, a backward pass each."""
    if not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None:
        slope, pulled_back, *_ = torch.func.vjp(lambda point: field(t, point, *of_time), z)
        _refuse_other_shape(slope, z)
        return slope, torch.stack([pulled_back(direction.expand_as(slope))[0] for direction in directions])
    is_differentiated = torch.is_grad_enabled()
    t, z, directions = ordinary(t), ordinary(z), ordinary(directions)
    of_time = tuple(ordinary(one) if isinstance(one, Tensor) else one for one in of_time)
    with differentiating():
        # A view made here: one made without gradients would claim to want some and not be in the graph.
        point = z.view_as(z) if is_differentiated and z.requires_grad else z.detach().requires_grad_()
        slope = field(t, point, *of_time)
        _refuse_other_shape(slope, z)
        products = []
        for number, direction in enumerate(directions):
            keeps = is_differentiated or number < len(directions) - 1
            product = None
            if slope.requires_grad:
                (product,) = torch.autograd.grad(
                    slope,
                    point,
                    direction.expand_as(slope),
                    create_graph=is_differentiated,
                    retain_graph=keeps,
                    allow_unused=True,
                )
            products.append(torch.zeros_like(z) if product is None else product)
    found = torch.stack(products)
    return (slope, found) if is_differentiated else (slope.detach(), found.detach())


def _refuse_other_shape(slope: Tensor, z: Tensor) -> None:
    if slope.shape != z.shape:
        raise InvalidInput(
            f"the field returned dz/dt of shape {tuple(slope.shape)} for points of shape {tuple(z.shape)}: return "
            "the shape of the points"
        )
