"""Matrices that products are tried with."""

import torch
from torch import Tensor


def layouts(rows: int, columns: int) -> list[Tensor]:
    """Matrices as autograd and views leave them."""
    larger = torch.randn(rows + 3, columns + 5)
    return [
        torch.randn(rows, columns),
        torch.randn(columns, rows).t(),
        larger[2 : rows + 2, 1 : columns + 1],
        torch.randn(rows, 2 * columns)[:, ::2],
        torch.randn(1, columns).expand(rows, columns),
        torch.ones(()).expand(rows, columns),
    ]
