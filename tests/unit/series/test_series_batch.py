"""Series and batches of them."""

import numpy as np
import pytest
import torch

from pipeline.series import Series, build_forecaster, build_latent_ode, collate
from pipeline.util.errors import InvalidInput

NAN = float("nan")


def test_a_batch_pads_to_the_longest_and_knows_nothing_of_the_padding(series):
    batch = collate(series)
    assert batch.times.shape == (3, 9)
    assert batch.values.shape == (3, 9, 2)
    assert not batch.mask[1, 4:].any()
    assert (batch.times[1, 4:] == series[1].times[-1]).all()
    assert batch.lengths.tolist() == [7, 4, 9]
    assert batch.labels.tolist() == [0, 1, 0]


def test_what_is_observed_is_read_in_order_without_the_rows_between():
    one = Series([0.0, 1.0, 3.0, 7.0], [[1.0], [2.0], [3.0], [4.0]], observed=[True, False, True, True])
    other = Series([5.0, 6.0], [[8.0], [9.0]])
    batch = collate([one, other])

    ascending = batch.ascending
    assert ascending.counts.tolist() == [3, 2]
    assert ascending.values[..., 0].tolist() == [[1, 3, 4], [8, 9, 0]]
    assert ascending.gaps.tolist() == [[0, 3, 4], [0, 1, 0]]
    assert ascending.times.tolist() == [[0, 3, 7], [0, 1, torch.inf]]

    descending = batch.descending
    assert descending.values[..., 0].tolist() == [[4, 3, 1], [9, 8, 0]]
    assert descending.gaps.tolist() == [[0, 4, 3], [0, 1, 0]]
    assert descending.rest.tolist() == [0, 0]
    assert descending.mask[..., 0].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_a_series_starts_where_something_is_first_observed_unless_a_start_is_given():
    times, values = [0.0, 1.0, 2.0], [[1.0], [1.0], [1.0]]
    assert Series(times, values, observed=[False, True, True]).start == 1.0
    given = Series(times, values, observed=[False, True, True], start=-4.0)
    assert given.start == -4.0
    assert collate([given]).descending.rest.tolist() == [5.0]


def test_values_under_the_mask_are_zero_whatever_was_there():
    one = Series([0.0, 1.0], [[NAN, 2.0], [3.0, float("inf")]], [[False, True], [True, False]])
    assert one.values.tolist() == [[0, 2], [3, 0]]


def test_arrays_of_whole_numbers_are_taken():
    one = Series(np.arange(3), np.arange(6).reshape(3, 2))
    assert one.values.dtype == torch.get_default_dtype()


def test_what_becomes_of_a_callers_arrays_is_nothing_to_a_series():
    times, values, mask = np.arange(2.0), np.ones((2, 1)), np.ones((2, 1), dtype=bool)
    one = Series(times, values, mask, observed=mask, truth=values)
    times[:], values[:], mask[:] = 7.0, 7.0, False
    assert one.times.tolist() == [0.0, 1.0]
    assert one.values.tolist() == [[1.0], [1.0]]
    assert one.truth is not None
    assert one.truth.tolist() == [[1.0], [1.0]]
    assert one.mask.all()
    assert one.observed.all()


def test_truth_that_is_not_known_of_all_is_no_number_for_the_others():
    known = Series([0.0, 1.0], [[1.0], [2.0]], truth=[[1.1], [2.1]])
    unknown = Series([0.0], [[1.0]])
    truth = collate([known, unknown]).truth
    assert truth is not None
    assert truth[0, :, 0].tolist() == [1.1, 2.1]
    assert truth[1].isnan().all()
    assert collate([unknown]).truth is None


def test_a_batch_can_be_chosen_from(series):
    batch = collate(series)
    chosen = batch.chosen(torch.tensor([2, 0]))
    assert len(chosen) == 2
    assert (chosen.times[0] == batch.times[2]).all()


def test_a_batch_is_continued_by_what_is_wanted_behind_the_last_observation():
    rows = {"observed": [True, False, True, False, False], "wanted": [False, True, True, False, True]}
    long, short = Series(range(5), [[1.0]] * 5, **rows), Series([0.0, 1.0], [[1.0]] * 2, observed=[True, False])
    continued = collate([long, short]).continued()
    assert continued.observed[:, :, 0].tolist() == [[True, False, True, False, True], [True, True, *[False] * 3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": [0.0, 2.0, 1.0]}, "has the time 2 before 1: sort the rows"),
        ({"times": [0.0, 1.0, 1.0]}, "has the time 1 twice: merge the two rows"),
        ({"times": [0.0, 1.0, NAN]}, "a time that is not finite"),
        ({"times": [0.0, 1.0]}, "give n times and n rows of values"),
        ({"values": [[1.0], [NAN], [1.0]]}, "not finite and not masked"),
        ({"mask": [True, True]}, r"a mask, mask, of shape \(2,\): give one of shape \(3,\) or \(3, 1\)"),
        ({"observed": [False, False, False]}, "nothing that is observed"),
        ({"truth": [[1.0]]}, r"give the shape of the values, \(3, 1\)"),
    ],
)
def test_a_wrong_series_is_refused_in_a_sentence_with_its_name(arguments, message):
    right = {"times": [0.0, 1.0, 2.0], "values": [[1.0], [1.0], [1.0]]}
    with pytest.raises(InvalidInput, match=f"the series 17 .*{message}"):
        Series(**(right | arguments), name="17")


def test_series_with_other_numbers_of_values_are_no_batch():
    with pytest.raises(InvalidInput, match="have 1 and 2 values at a time"):
        collate([Series([0.0], [[1.0]]), Series([0.0], [[1.0, 2.0]])])
    with pytest.raises(InvalidInput, match="a series at least"):
        collate([])


def test_a_batch_that_was_evaluated_in_inference_mode_can_be_trained_on() -> None:
    batch = collate([Series([0.0, 1.0, 2.0], [[1.0], [2.0], [3.0]])])
    for model in (build_latent_ode(1), build_forecaster("ode_rnn", 1)):
        with torch.inference_mode():
            model.predict(batch, torch.tensor([1.5]), samples=2)
            model(batch)
        model(batch).objective.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_prediction_at_no_times_is_refused() -> None:
    batch = collate([Series([0.0, 1.0, 2.0], [[1.0], [2.0], [3.0]])])
    for model in (build_latent_ode(1), build_forecaster("ode_rnn", 1)):
        with pytest.raises(InvalidInput, match="there are no times"):
            model.predict(batch, torch.empty(0))
