"""Vector-Jacobian products."""

import torch

from pipeline.ode.pullback import pullback


def test_it_is_what_torch_gives_for_vectors() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, dtype=torch.complex128, requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    outputs = [(x.to(weight.dtype) @ weight).sin(), x.exp().sum()]
    vectors = [torch.randn_like(outputs[0]), torch.tensor(0.5, dtype=torch.float64)]
    right = torch.autograd.grad(outputs, [x, weight, unused], vectors, retain_graph=True, allow_unused=True)
    with torch.no_grad():  # as within a backward pass
        found = pullback(outputs, vectors, [x, weight, unused])
    assert found[2] is None
    assert right[2] is None
    assert all(torch.equal(a, b) for a, b in zip(found[:2], right[:2], strict=True))
