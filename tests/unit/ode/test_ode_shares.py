"""Solves of some items of a batch each, whose norm is that of the whole batch: here in threads."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import ODEBlock, RootMeanSquare, Solution, SolverFailure, integrate

SHARES = (slice(0, 3), slice(3, 8))
SOLVERS: dict[str, dict[str, Any]] = {
    "dopri5": {},
    "pi": {"controller": "pi"},
    "bosh3": {"method": "bosh3"},
    "rk4": {"method": "rk4", "steps": 4},
    "checkpointed": {"gradient": "checkpointed"},
    "recursive": {"gradient": "recursive"},
    "adjoint": {"gradient": "adjoint"},
}


class Meeting:
    """Adds up what as many threads give."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size)
        self._given: list[Tensor | None] = [None] * size
        self.asked = 0

    def of(self, rank: int) -> Callable[[Tensor], Tensor]:
        def sum_of_all(values: Tensor) -> Tensor:
            self._given[rank] = values
            self._barrier.wait(20)
            total = torch.stack([given for given in self._given if given is not None]).sum(0)
            self._barrier.wait(20)
            self.asked += 1
            return total

        return sum_of_all


class Field(nn.Module):
    """Whose weights are always the same, whichever thread asks for them."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Parameter(torch.randn(4, 16, dtype=torch.float64, generator=generator) / 2)
        self.second = nn.Parameter(torch.randn(16, 4, dtype=torch.float64, generator=generator) / 4)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return 5 * (z @ self.first).tanh() @ self.second * (1 + t)


def batch() -> Tensor:
    """Of items that are not alike, so that each share by itself would take other steps."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(8, 4, dtype=torch.float64, generator=generator)
        * torch.linspace(0.1, 3, 8, dtype=torch.float64)[:, None]
    )


def solved(z: Tensor, solver: dict[str, Any], norm: RootMeanSquare) -> tuple[Solution, list[Tensor]]:
    own = Field()
    start = z.clone().requires_grad_()
    solution = integrate(own, start, (0.0, 1.0), SolverConfig(**({"rtol": 1e-5, "atol": 1e-5} | solver)), norm=norm)
    assert isinstance(solution.state, Tensor)
    solution.state.square().sum().backward()
    assert start.grad is not None
    return solution, [start.grad, *(p.grad for p in own.parameters() if p.grad is not None)]


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(SHARES)) as pool:
        return [future.result() for future in [pool.submit(work, rank) for rank in range(len(SHARES))]]


@pytest.mark.parametrize("zeros", [0, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_shares_of_a_batch_take_the_steps_of_the_whole_and_add_up_to_its_gradients(solver: str, zeros: int) -> None:
    whole, gradients = solved(batch(), SOLVERS[solver], RootMeanSquare(zeros))
    meeting = Meeting(len(SHARES))
    shares = in_threads(
        lambda rank: solved(batch()[SHARES[rank]], SOLVERS[solver], RootMeanSquare(zeros, across=meeting.of(rank)))
    )
    for solution, _ in shares:
        assert solution.statistics.nfe_forward == whole.statistics.nfe_forward
        assert solution.statistics.nfe_backward == whole.statistics.nfe_backward
        expected = [(attempt.accepted, attempt.t, attempt.dt) for attempt in whole.statistics.attempts]
        found = [(attempt.accepted, attempt.t, attempt.dt) for attempt in solution.statistics.attempts]
        assert len(found) == len(expected)
        assert [step[0] for step in found] == [step[0] for step in expected]
        torch.testing.assert_close(
            torch.tensor(found, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9
        )
    torch.testing.assert_close(torch.cat([solution.state for solution, _ in shares]), whole.state)
    torch.testing.assert_close(torch.cat([of_share[0] for _, of_share in shares]), gradients[0], rtol=1e-6, atol=1e-7)
    for position, expected_gradient in enumerate(gradients[1:], start=1):
        torch.testing.assert_close(
            sum(of_share[position] for _, of_share in shares), expected_gradient, rtol=1e-6, atol=1e-7
        )


def test_by_itself_a_share_would_take_other_steps() -> None:
    whole, _ = solved(batch(), {}, RootMeanSquare())
    alone, _ = solved(batch()[SHARES[0]], {}, RootMeanSquare())
    assert alone.statistics.nfe_forward != whole.statistics.nfe_forward


def test_parts_outside_of_the_norm_stay_outside() -> None:
    def with_integral(t: Tensor, z: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"z": torch.sin(z["z"]) * (1 + t), "energy": 1e6 * z["z"].square().sum(1)}

    def of(z: Tensor, norm: RootMeanSquare) -> Solution:
        state = {"z": z, "energy": z.new_zeros(len(z))}
        return integrate(with_integral, state, (0.0, 2.0), SolverConfig(rtol=1e-6, atol=1e-6), norm=norm)

    whole = of(batch(), RootMeanSquare(outside=("energy",)))
    meeting = Meeting(len(SHARES))
    shares = in_threads(
        lambda rank: of(batch()[SHARES[rank]], RootMeanSquare(outside=("energy",), across=meeting.of(rank)))
    )
    for share in shares:
        assert share.statistics.nfe_forward == whole.statistics.nfe_forward
    assert isinstance(whole.state, dict)
    torch.testing.assert_close(torch.cat([share.state["energy"] for share in shares]), whole.state["energy"])


def test_what_is_no_number_in_one_share_ends_the_solves_of_all_alike() -> None:
    def explodes(t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG001
        return torch.where(z > 2.0, torch.nan, z)

    z = batch().clamp(-1, 1)
    z[7] = 1.5  # of the second share, which comes to 2 at t = 0.29
    meeting = Meeting(len(SHARES))

    def fails(rank: int) -> SolverFailure:
        with pytest.raises(SolverFailure) as failure:
            integrate(
                explodes, z[SHARES[rank]], (0.0, 1.0), SolverConfig(), norm=RootMeanSquare(across=meeting.of(rank))
            )
        return failure.value

    first, second = in_threads(fails)
    assert (first.t, first.dt, first.nfe, first.status) == (second.t, second.dt, second.nfe, second.status)


def test_samples_with_steps_of_their_own_ask_nobody() -> None:
    meeting = Meeting(1)
    norm = RootMeanSquare(across=meeting.of(0))
    integrate(Field(), batch(), (0.0, 1.0), SolverConfig(control="sample"), norm=norm)
    assert meeting.asked == 0


def test_a_block_asks_the_others_in_training_alone() -> None:
    meeting = Meeting(1)
    block = ODEBlock(Field(), 1.0, SolverConfig())
    block.across = meeting.of(0)
    block.eval()(batch())
    assert meeting.asked == 0
    block.train()(batch())
    assert meeting.asked > 0
