"""A block among what torch has around modules: copies, checkpoints, caches, compiled functions."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from pipeline.config import SolverConfig
from pipeline.ode import ODEBlock, integrate
from pipeline.util.errors import OdenetError

SIZES = (5, 2**14)
"""Rows of a small state, whose graph is not cut, and of a large one."""
TIGHT = {"rtol": 1e-5, "atol": 1e-6}


class Scaled(nn.Module):
    """A field with a buffer that nothing changes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 3)
        self.register_buffer("scale", torch.full((3,), 0.5))

    def forward(self, _t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(self.linear(z)) * self.scale


def block(gradient: str = "auto", field: nn.Module | None = None) -> ODEBlock:
    return ODEBlock(field or Scaled(), 1.0, SolverConfig(gradient=gradient, **TIGHT))


def test_a_copy_of_a_compiled_block_is_a_block_of_its_own_and_can_be_stored() -> None:
    original = block()
    original.compile(backend="eager")
    z = torch.ones(2, 3)
    original(z)
    twin = copy.deepcopy(original)
    with torch.no_grad():
        twin.field.linear.weight.mul_(2)
    assert not torch.equal(twin(z), original(z))
    twin(z).sum().backward()
    assert twin.field.linear.weight.grad is not None
    assert original.field.linear.weight.grad is None
    torch.save(original, io.BytesIO())


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("gradient", ["direct", "auto", "checkpointed"])
def test_what_stands_before_it_in_a_checkpoint_is_computed_twice_and_no_more(gradient: str, rows: int) -> None:
    norm = nn.BatchNorm1d(3)
    checkpoint(nn.Sequential(norm, block(gradient)), 5 + torch.randn(rows, 3), use_reentrant=False).sum().backward()
    assert norm.num_batches_tracked == 2


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("gradient", ["direct", "auto", "checkpointed", "recursive", "adjoint"])
def test_a_buffer_that_nothing_changes_hinders_no_gradient(gradient: str, rows: int) -> None:
    layer, direct, z = block(gradient), block("direct"), torch.ones(rows, 3)
    for one in (layer, direct):
        (one(one(z)) + one(2 * z) + one.field(torch.tensor(0.0), z).square()).mean().backward()
    torch.testing.assert_close(layer.field.linear.weight.grad, direct.field.linear.weight.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*rounds")
def test_neither_does_it_where_rounding_is_looked_at() -> None:
    layer = block()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        end = layer(torch.rand(5, 3))
    end.sum().backward()
    assert layer.field.linear.weight.grad is not None


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = parametrizations.weight_norm(nn.Linear(3, 3))

    def forward(self, _t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(self.linear(z))


@pytest.mark.parametrize("rows", SIZES)
def test_weights_that_torch_computes_once_for_all_evaluations_have_their_gradients(rows: int) -> None:
    z, gradients = torch.ones(rows, 3), []
    for is_cached in (False, True):
        layer = block(field=Normed())
        if is_cached:
            with parametrize.cached():
                total = layer(z).mean()
        else:
            total = layer(z).mean()
        total.backward()
        gradients.append(next(layer.field.parameters()).grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("gradient", ["checkpointed", "recursive", "adjoint"])
def test_where_steps_are_differentiated_one_by_one_that_is_refused_in_a_sentence(gradient: str) -> None:
    layer = block(gradient, Normed())
    with parametrize.cached(), pytest.raises(OdenetError, match=r"parametrize\.cached\(\) does.*: use gradient=direct"):
        layer(torch.ones(5, 3)).sum().backward()


def test_a_configuration_can_be_made_within_what_is_compiled() -> None:
    def end(z: Tensor) -> Tensor:
        state = integrate(lambda _t, z: -z, z, (0.0, 1.0), SolverConfig(rtol=1e-5)).state
        assert isinstance(state, Tensor)
        return state

    z = torch.ones(3)
    assert torch.equal(torch.compile(end, backend="eager")(z), end(z))


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_an_empty_batch_of_parts_stays_empty(control: str) -> None:
    state = {"x": torch.empty(0, 2), "c": torch.empty(0, dtype=torch.complex64)}
    solver = SolverConfig(control=control)
    found = integrate(lambda _t, z: {name: -part for name, part in z.items()}, state, (0.0, 1.0), solver).state
    assert {name: part.shape for name, part in found.items()} == {name: part.shape for name, part in state.items()}
