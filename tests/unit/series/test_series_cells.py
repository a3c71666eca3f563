"""Recurrent cells and encoders beside torch's own and beside what the papers say."""

import pytest
import torch
from torch import nn

from pipeline.config import SolverConfig
from pipeline.series import Encoder, GRUDCell, LatentField, ODERNNCell, RNNCell, Series, TimeGapRNNCell, collate
from pipeline.series.recurrence import tanh_recurrence


def test_the_recurrence_is_torchs_rnn_with_its_gradients():
    torch.manual_seed(0)
    inputs = torch.randn(6, 3, 5, requires_grad=True)
    weight = (0.4 * torch.randn(5, 5)).requires_grad_()
    rnn = nn.RNN(5, 5)
    rnn.weight_ih_l0.data = torch.eye(5)
    rnn.bias_ih_l0.data.zero_()
    rnn.bias_hh_l0.data.zero_()
    rnn.weight_hh_l0.data = weight.detach()
    upstream = torch.randn(6, 3, 5)
    expected = torch.autograd.grad((rnn(inputs)[0] * upstream).sum(), [inputs, rnn.weight_hh_l0])
    states, last = tanh_recurrence(inputs, weight)
    assert not states[0].any()
    torch.testing.assert_close(states[1:], rnn(inputs)[0])
    torch.testing.assert_close(last, states[-1])
    found = torch.autograd.grad((states[1:] * upstream).sum(), [inputs, weight])
    torch.testing.assert_close(found, expected)


def test_the_recurrence_has_the_gradients_of_finite_differences():
    inputs = torch.randn(4, 2, 3, requires_grad=True)
    weight = torch.randn(3, 3, requires_grad=True)
    assert torch.autograd.gradcheck(tanh_recurrence, (inputs, weight))


@pytest.mark.parametrize("kind", [RNNCell, TimeGapRNNCell])
def test_reading_all_at_once_is_reading_one_by_one(kind, series):
    torch.manual_seed(0)
    cell = kind(2, 5)
    observations = collate(series).ascending
    at_once = cell.read(observations, observations.gaps)
    one_by_one = super(RNNCell, cell).read(observations, observations.gaps)
    for found, expected in zip(at_once, one_by_one, strict=True):
        torch.testing.assert_close(found, expected)


def test_an_rnn_does_not_know_of_time_and_one_with_time_gaps_does():
    torch.manual_seed(0)
    values = torch.randn(4, 2)
    near, far = (collate([Series([0.0, 1.0 * scale, 2.0, 3.0], values)]) for scale in (1.0, 0.5))
    for kind, knows in ((RNNCell, False), (TimeGapRNNCell, True)):
        encoder = Encoder(kind(2, 5), 3)
        assert torch.equal(encoder(near).mean, encoder(far).mean) is not knows


def test_an_encoder_reads_backwards_and_knows_how_far_the_start_is():
    """What it read last is the first observation: a change of it reaches the posterior through one step alone."""
    torch.manual_seed(0)
    cell = TimeGapRNNCell(1, 4)
    encoder = Encoder(cell, 2)
    times, values = [0.0, 1.0, 3.0], torch.tensor([[1.0], [2.0], [3.0]])
    posterior = encoder(collate([Series(times, values, start=-0.5)]), time_unit=2.0)
    hidden = torch.zeros(1, 4)
    for value, gap in ((3.0, 0.0), (2.0, 1.0), (1.0, 0.5)):
        hidden = torch.tanh(cell.of_inputs(torch.tensor([[value, 1.0, gap]])) + cell.of_state(hidden))
    mean, log_variance = encoder.head(torch.cat([hidden, torch.tensor([[0.25]])], dim=1)).chunk(2, dim=1)
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(posterior.sd, log_variance.exp().sqrt())


def test_gru_d_takes_between_the_last_value_and_the_mean_for_one_that_is_missing():
    cell = GRUDCell(2, 3)
    state = cell.update(cell.begin(torch.zeros(1, 2)), torch.tensor([[4.0, 2.0]]), torch.ones(1, 2))
    seen = []
    cell.gru.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    half = torch.tensor([[2 * torch.log(torch.tensor(2.0))]])  # of rate 1/2: a factor of 1/2
    cell.update(cell.evolve(state, half), torch.tensor([[0.0, 7.0]]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(seen[0], torch.tensor([[2.0, 7.0, 0.0, 1.0]]))


def test_gru_d_takes_the_mean_of_the_training_for_what_was_never_observed():
    cell = GRUDCell(2, 3)
    cell.mean.copy_(torch.tensor([0.5, -1.0]))
    seen = []
    cell.gru.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for gap in (0.0, 2.0):
        state = cell.evolve(cell.begin(torch.zeros(1, 2)), torch.tensor([[gap]]))
        cell.update(state, torch.tensor([[0.0, 7.0]]), torch.tensor([[0.0, 1.0]]))
        torch.testing.assert_close(seen[-1], torch.tensor([[0.5, 7.0, 0.0, 1.0]]))
    assert "mean" not in cell.state_dict()  # weights of models from before it was known can be loaded


def test_gru_d_remembers_how_old_each_value_is():
    cell = GRUDCell(2, 3)
    state = cell.update(cell.begin(torch.zeros(1, 2)), torch.ones(1, 2), torch.ones(1, 2))
    state = cell.update(cell.evolve(state, torch.tensor([[1.5]])), torch.ones(1, 2), torch.tensor([[0.0, 1.0]]))
    assert cell.evolve(state, torch.tensor([[1.0]]))[2].tolist() == [[2.5, 1.0]]


def test_an_ode_rnn_follows_its_ode_between_observations():
    torch.manual_seed(0)
    field = LatentField(3, (8,), "tanh")
    precise = ODERNNCell(1, 3, field, SolverConfig(rtol=1e-9, atol=1e-9))
    coarse = ODERNNCell(1, 3, field, SolverConfig(method="euler", steps=1))
    fine = ODERNNCell(1, 3, field, SolverConfig(method="euler", steps=512))
    hidden, gaps = torch.randn(4, 3), torch.tensor([[0.0], [0.5], [1.0], [2.0]])
    (exact,) = (state.detach() for state in precise.evolve((hidden,), gaps))
    errors = [float((cell.evolve((hidden,), gaps)[0] - exact).detach().abs().max()) for cell in (coarse, fine)]
    assert errors[1] < errors[0] / 300
    torch.testing.assert_close(exact[0], hidden[0])
    torch.testing.assert_close(
        precise.evolve(precise.evolve((hidden,), gaps), gaps)[0], precise.evolve((hidden,), 2 * gaps)[0]
    )


def test_the_gaps_of_an_ode_rnn_are_solved_together_for_all_series(series):
    """As many solves as the longest series has gaps, not as many as there are times."""
    from pipeline.series import cells

    calls = []
    solved = cells.integrate

    def counting(*arguments, **options):
        calls.append(1)
        return solved(*arguments, **options)

    cells.integrate = counting
    try:
        observations = collate(series).ascending
        ODERNNCell(2, 3, LatentField(3), SolverConfig()).read(observations, observations.gaps)
    finally:
        cells.integrate = solved
    assert len(calls) == int(observations.counts.max()) - 1


def test_the_weights_of_an_ode_rnns_field_are_saved_once():
    cell = ODERNNCell(1, 3, LatentField(3), SolverConfig())
    assert len({tensor.data_ptr() for tensor in cell.state_dict().values()}) == len(cell.state_dict())


def test_a_field_that_looks_at_the_time_gets_it_by_eulers_steps_too() -> None:
    class Clock(torch.nn.Module):
        def forward(self, t: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            return t * torch.ones_like(h)

    cell = ODERNNCell(1, 2, Clock(), SolverConfig(method="euler", steps=4))
    (state,) = cell.evolve((torch.zeros(1, 2),), torch.ones(1, 1))
    assert state.tolist() == [[0.375, 0.375]]
