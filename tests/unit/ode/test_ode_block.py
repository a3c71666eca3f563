"""The layer around the solve, and what it carries from batch to batch."""

import copy
import math

import pytest
import torch

from pipeline.config import RegularisationConfig, SolverConfig
from pipeline.ode import ODEBlock
from pipeline.ode.block import LARGEST_REUSED_STEP
from pipeline.util.errors import InvalidInput
from tests.helpers.ode_fields import Convolved, Growth


def test_a_block_keeps_the_statistics_of_its_last_solve() -> None:
    block = ODEBlock(Convolved(), 1.0, SolverConfig(method="euler", steps=3, gradient="adjoint"))
    for _ in range(2):
        block(torch.randn(2, 6, 4, 4)).sum().backward()
        assert (block.statistics.nfe_forward, block.statistics.nfe_backward) == (3, 3)
    with torch.no_grad():
        block(torch.randn(2, 6, 4, 4))
    assert (block.statistics.nfe_forward, block.statistics.nfe_backward) == (3, 0)


def blocks(**solver: object) -> tuple[ODEBlock, torch.Tensor]:
    torch.manual_seed(0)
    return ODEBlock(Convolved(), 1.0, SolverConfig(**solver)), torch.randn(4, 6, 5, 5)


def test_a_reused_first_step_saves_evaluations_and_covers_half_of_the_interval_at_most() -> None:
    block, z = blocks(reuse_first_step=True)
    block(z)
    estimated = block.statistics.nfe_forward
    block(z)
    assert block.statistics.nfe_forward < estimated
    assert block.statistics.attempts[0].dt <= LARGEST_REUSED_STEP


def test_an_evaluation_does_not_depend_on_what_ran_before() -> None:
    block, z = blocks(reuse_first_step=True)
    fresh = block.eval()(z)
    block.train()(2 * z)
    carried = block.first_dt
    assert carried is not None
    assert torch.equal(block.eval()(z), fresh)
    assert block.first_dt == carried


def test_steps_are_estimated_anew_for_every_batch_by_default() -> None:
    block, z = blocks()
    first, again = block(z), block(z)
    assert torch.equal(first, again)
    assert block.first_dt is None


def test_a_step_is_reused_in_a_solve_that_goes_backwards_too() -> None:
    torch.manual_seed(0)
    block, z = ODEBlock(Convolved(), -1.0, SolverConfig(reuse_first_step=True)), torch.randn(4, 6, 5, 5)
    block(z)
    block(z)
    assert block.first_dt is not None
    assert 0 < block.first_dt <= LARGEST_REUSED_STEP


def test_a_final_time_that_is_a_parameter_has_its_gradient() -> None:
    final_time = torch.nn.Parameter(torch.tensor(0.8, dtype=torch.float64))
    block = ODEBlock(Growth(-0.7), final_time, SolverConfig(rtol=1e-8, atol=1e-8, reuse_first_step=True))
    block(torch.ones(1, dtype=torch.float64)).sum().backward()
    assert float(final_time.grad) == pytest.approx(-0.7 * math.exp(-0.56), rel=1e-6)
    assert 0 < block.first_dt <= 0.4


def test_a_field_that_was_replaced_is_the_one_that_is_solved_with_penalties_too() -> None:
    block = ODEBlock(Growth(0.5), 1.0, SolverConfig())
    block.regularise(RegularisationConfig(kinetic=1.0))
    z = torch.ones(1, 1)
    block.train()(z)
    block.field = Growth(-0.5)
    torch.testing.assert_close(block.train()(z), block.eval()(z), rtol=1e-3, atol=1e-3)


def test_a_method_for_states_of_two_parts_is_refused_before_anything_is_solved() -> None:
    with pytest.raises(InvalidInput, match=r"^method=leapfrog needs a state of two parts"):
        ODEBlock(Convolved(), 1.0, SolverConfig(method="leapfrog"))


def test_a_copy_of_a_block_in_training_is_without_the_penalties_of_its_batch() -> None:
    block = ODEBlock(Growth(0.5), 1.0, SolverConfig())
    block.regularise(RegularisationConfig(kinetic=1.0))
    block.train()(torch.ones(1, 1))
    assert set(block.penalties) == {"kinetic"}
    assert copy.deepcopy(block).penalties == {}
