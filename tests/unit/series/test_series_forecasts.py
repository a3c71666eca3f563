"""Recurrent networks that say what comes next."""

import pytest
import torch
from torch.distributions import Normal

from pipeline.series import Forecaster, Series, build_forecaster, collate
from pipeline.series.trajectories import union
from pipeline.util.errors import InvalidInput

CELLS = ("rnn", "rnn_dt", "gru_d", "ode_rnn")


@pytest.fixture(params=CELLS)
def forecaster(request) -> Forecaster:
    torch.manual_seed(0)
    return build_forecaster(request.param, 1, hidden=5, noise=0.2, time_unit=2.0)


def test_each_observation_is_said_from_those_before_it(forecaster):
    """The likelihood is the sum of those of predictions made from the beginnings of the series."""
    times, values = [0.0, 0.5, 2.0, 2.2], torch.tensor([[1.0], [-1.0], [0.5], [0.0]])
    whole = forecaster.log_likelihood(collate([Series(times, values)]))
    total = torch.zeros(())
    for k in range(4):
        if k:
            beginning = collate([Series(times[:k], values[:k])])
            mean = forecaster.predict(beginning, torch.tensor(times[k : k + 1]), 1).mean[0, 0]
        else:
            mean = forecaster.decoder(forecaster.cell.features(forecaster.cell.begin(torch.zeros(1, 1))))[0]
        total = total + Normal(mean, 0.2).log_prob(values[k]).sum()
    torch.testing.assert_close(whole.value[0], total)
    torch.testing.assert_close(whole.per_value, total / 4)


def test_what_is_said_of_a_time_does_not_depend_on_how_often_it_is_asked_for(forecaster):
    """The padding of a batch asks for the last time again and again."""
    series = collate([Series([0.0, 0.5, 1.0], [[1.0], [-1.0], [0.5]])])
    once = forecaster.predict(series, torch.tensor([0.2, 1.5, 2.0, 3.0]), 1).mean[0]
    often = forecaster.predict(series, torch.tensor([3.0, 0.2, 1.5, *[2.0] * 3, *[3.0] * 30]), 1).mean[0]
    torch.testing.assert_close(often[[1, 2, 3, 0]], once)
    torch.testing.assert_close(often[6:], often[:1].expand(30, -1))


def test_a_time_that_is_an_observations_but_for_rounding_is_said_from_those_before_it(forecaster):
    times = [k / 10 for k in range(10)]
    series = collate([Series(times, [[float(k % 3)] for k in range(10)])])
    counted_up = forecaster.predict(series, torch.tensor([k * 0.1 for k in range(10)], dtype=torch.float64), 1)
    written = forecaster.predict(series, torch.tensor(times, dtype=torch.float64), 1)
    torch.testing.assert_close(counted_up.mean, written.mean)


def test_a_series_that_is_told_to_start_late_begins_with_its_first_event():
    series = Series([0.0, 1.0, 2.0], [[1.0]] * 3, start=1.5)
    assert (series.begin, series.start, series.end) == (0.0, 1.5, 2.0)
    with pytest.raises(InvalidInput, match="ends at 2, before it begins at 5"):
        Series([0.0, 1.0, 2.0], [[1.0]] * 3, begin=5.0)


def test_states_in_half_precision_whose_times_would_fall_together_are_refused_in_a_sentence():
    with pytest.raises(InvalidInput, match="float32 or float64, not torch"):
        union(torch.tensor([[0.0, 0.5]]), torch.bfloat16)


def test_a_later_value_does_not_change_what_is_said_before_it(forecaster):
    times = [0.0, 1.0, 2.0, 3.0]
    asked = torch.tensor([0.5, 1.0, 1.7, 2.0])
    said = [
        forecaster.predict(collate([Series(times, [[1.0], [2.0], [later], [later]])]), asked, 1).mean
        for later in (0.0, 9.0)
    ]
    assert torch.equal(*said)


def test_behind_the_last_observation_a_network_is_given_what_it_said(forecaster):
    times, values = [0.0, 1.0], torch.tensor([[1.0], [2.0]])
    said = forecaster.predict(collate([Series(times, values)]), torch.tensor([1.5, 2.5]), 1).mean[0]
    given_back = Series([*times, 1.5], torch.cat([values, said[:1].detach()]))
    torch.testing.assert_close(said[1], forecaster.predict(collate([given_back]), torch.tensor([2.5]), 1).mean[0, 0])


def test_bands_grow_behind_the_last_observation(forecaster):
    batch = collate([Series([0.0, 1.0], [[1.0], [2.0]])])
    prediction = forecaster.predict(batch, torch.tensor([0.5, 1.5, 2.5, 3.5]), 200, torch.Generator().manual_seed(0))
    spread = prediction.samples.std(0)[0, :, 0]
    assert spread[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-7)  # known, but for the noise of an observation
    assert (spread[2:] > 0).all()


def test_series_that_end_at_different_times_are_continued_from_their_own_ends(forecaster):
    short = Series([0.0, 1.0], [[1.0], [2.0]])
    long = Series([0.0, 1.0, 2.0, 3.0], [[1.0], [2.0], [0.0], [1.0]])
    asked = torch.tensor([0.5, 1.5, 2.5, 3.5])
    together = forecaster.predict(collate([short, long]), asked, 1).mean
    for number, one in enumerate((short, long)):
        torch.testing.assert_close(together[number], forecaster.predict(collate([one]), asked, 1).mean[0])


@pytest.fixture
def gapped() -> Series:
    """Observed at 0 and 2; wanted are those, what lies between them, and two values behind."""
    times, values = [0.0, 0.5, 1.5, 2.0, 3.0, 3.5], [[1.0], [-1.0], [0.5], [0.0], [2.0], [-2.0]]
    return Series(times, values, observed=[True, False, False, True, False, False], label=1)


def test_what_is_wanted_is_learned_from_what_a_prediction_is_given(forecaster, gapped):
    """Between observations that is what is observed before; behind them also what was to be said before."""
    found = forecaster.log_likelihood(collate([gapped]), of_wanted=True)
    given = {0.5: [0.0], 1.5: [0.0], 2.0: [0.0], 3.0: [0.0, 2.0], 3.5: [0.0, 2.0, 3.0]}
    value_at = dict(zip(gapped.times.tolist(), gapped.values, strict=True))
    first = forecaster.decoder(forecaster.cell.features(forecaster.cell.begin(torch.zeros(1, 1))))[0]
    total = Normal(first, 0.2).log_prob(value_at[0.0]).sum()
    for time, before in given.items():
        beginning = collate([Series(before, torch.stack([value_at[t] for t in before]))])
        mean = forecaster.predict(beginning, torch.tensor([time]), 1).mean[0, 0]
        total = total + Normal(mean, 0.2).log_prob(value_at[time]).sum()
    torch.testing.assert_close(found.value[0], total)
    assert found.counts.tolist() == [6]
    assert forecaster.log_likelihood(collate([gapped])).counts.tolist() == [2]


def test_what_is_wanted_is_the_same_of_a_series_alone_and_in_a_batch(forecaster, gapped):
    others = [Series([0.0, 1.0], [[1.0], [2.0]]), Series([1.0, 5.0, 9.0], [[1.0]] * 3, observed=[True, True, False])]
    together = forecaster.log_likelihood(collate([gapped, *others]), of_wanted=True)
    alone = [forecaster.log_likelihood(collate([one]), of_wanted=True) for one in (gapped, *others)]
    torch.testing.assert_close(together.value, torch.cat([one.value for one in alone]))
    assert together.counts.tolist() == [6, 2, 3]


def test_channels_that_are_observed_at_different_times_are_learned_each_from_those_before_it():
    torch.manual_seed(0)
    model = build_forecaster("rnn_dt", 2, hidden=4)
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    half = Series([0.0, 1.0], values, observed=[[True, True], [True, False]], wanted=torch.ones(2, 2, dtype=torch.bool))
    whole = model.log_likelihood(collate([Series([0.0, 1.0], values)]))
    torch.testing.assert_close(model.log_likelihood(collate([half]), of_wanted=True).value, whole.value)


def test_a_label_is_learned_from_what_is_observed_alone(gapped):
    torch.manual_seed(0)
    model = build_forecaster("rnn_dt", 1, hidden=4, classes=2)
    batch = collate([gapped])
    for of_wanted in (False, True):
        labels = model.log_likelihood(batch, of_wanted=of_wanted).labels
        torch.testing.assert_close(labels[0], torch.log_softmax(model.class_scores(batch), -1)[0, 1])


def test_the_class_is_said_from_the_state_behind_the_last_observation():
    torch.manual_seed(0)
    model = build_forecaster("rnn_dt", 1, hidden=4, classes=2)
    batch = collate([Series([0.0, 1.0], [[1.0], [2.0]], label=1), Series([0.0], [[1.0]])])
    found = model.log_likelihood(batch)
    torch.testing.assert_close(found.labels[0], torch.log_softmax(model.class_scores(batch), -1)[0, 1])
    assert found.labels[1] == 0
