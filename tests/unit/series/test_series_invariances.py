"""What must not change a loss or a prediction."""

from dataclasses import replace

import torch

from pipeline.series import Forecaster, LatentODE, Series, SeriesBatch, collate

TIGHT = {"rtol": 1e-6, "atol": 1e-6}
"""Steps depend on the batch and its times, within the tolerance of the solve (1e-8)."""


def losses(model: LatentODE | Forecaster, batch: SeriesBatch) -> torch.Tensor:
    """Of each series, of values, times and labels, all with the same noise."""
    if isinstance(model, LatentODE):
        return model.elbo(batch, samples=3, generator=torch.Generator().manual_seed(1)).objective
    return model.log_likelihood(batch).objective


def predictions(model: LatentODE | Forecaster, batch: SeriesBatch, times: torch.Tensor) -> torch.Tensor:
    return model.predict(batch, times, 4, torch.Generator().manual_seed(1)).samples


def changed(series: list[Series], **changes) -> list[Series]:
    """Each series with functions of it in the place of some of its attributes."""
    kept = ("times", "values", "mask", "observed", "wanted", "label", "start", "end")
    return [
        Series(**{name: changes[name](one) if name in changes else getattr(one, name) for name in kept})
        for one in series
    ]


def test_what_is_under_a_mask_changes_no_loss(model, series):
    spoilt = changed(series, values=lambda one: one.values.masked_fill(~one.mask, float("nan")))
    assert torch.equal(losses(model, collate(spoilt)), losses(model, collate(series)))


def test_gradients_are_finite_where_values_under_a_mask_are_not(model, series):
    spoilt = changed(series, values=lambda one: one.values.masked_fill(~one.mask, float("nan")))
    losses(model, collate(spoilt)).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


def test_values_that_are_neither_observed_nor_wanted_change_no_loss(model, series):
    hidden = [torch.rand(one.mask.shape, generator=torch.Generator().manual_seed(5)) < 0.3 for one in series]
    for one, rows in zip(series, hidden, strict=True):
        one.observed, one.wanted = (
            one.observed & ~rows | (one.observed.cumsum(0) <= 1) & one.observed,
            one.wanted & ~rows,
        )
    spoilt = changed(series, values=lambda one: torch.where(one.observed | one.wanted, one.values, 99.0))
    assert torch.equal(losses(model, collate(spoilt)), losses(model, collate(series)))


def test_times_at_which_nothing_was_observed_change_no_loss(model, series):
    longer = []
    for one in series:
        more = torch.tensor([-2.0, 0.123, 1.456, 40.0]) + one.start
        times = torch.cat([one.times, more])
        order = times.argsort()
        masks = {
            name: torch.cat([getattr(one, name), torch.zeros(4, 2, dtype=torch.bool)])[order]
            for name in ("mask", "observed", "wanted")
        }
        values = torch.cat([one.values, torch.full((4, 2), 7.0)])[order]
        longer.append(Series(times[order], values, **masks, label=one.label))
    torch.testing.assert_close(losses(model, collate(longer)), losses(model, collate(series)), rtol=1e-14, atol=0)


def test_a_series_has_the_same_loss_in_any_company(model, series):
    together = losses(model, collate(series)) if isinstance(model, Forecaster) else None
    if together is None:
        # Noise is drawn for the whole batch: the mean of the posterior takes its place.
        batch = collate(series)
        model.encoder.head.bias.data[model.encoder.head.out_features // 2 :] = -60.0
        together = losses(model, batch)
    alone = torch.cat([losses(model, collate([one])) for one in series])
    torch.testing.assert_close(alone, together, **TIGHT)


def test_the_order_of_the_series_changes_no_prediction(model, series):
    times = torch.stack([one.start + torch.tensor([-0.5, 0.2, 1.0, 4.0]) for one in series])
    order = torch.tensor([2, 0, 1])
    if isinstance(model, LatentODE):
        model.encoder.head.bias.data[model.encoder.head.out_features // 2 :] = -60.0
        of_those = predictions(model, collate(series), times)
        of_others = predictions(model, collate([series[k] for k in order]), times[order])
    else:
        of_those = model.predict(collate(series), times, 1).mean
        of_others = model.predict(collate([series[k] for k in order]), times[order], 1).mean
        of_those, of_others = of_those[None], of_others[None]
    torch.testing.assert_close(of_others, of_those[:, order], **TIGHT)


def test_the_order_of_the_times_changes_no_prediction(model, series):
    times = torch.tensor([0.0, 1.0, 5.0, 9.0])
    order = torch.tensor([2, 0, 3, 1])
    batch = collate(series)
    torch.testing.assert_close(
        predictions(model, batch, times[order]), predictions(model, batch, times)[:, :, order], **TIGHT
    )


def test_a_shift_of_time_changes_no_loss_and_no_prediction(model, series):
    shift = 1024.0
    later = changed(
        series,
        times=lambda one: one.times + shift,
        start=lambda one: one.start + shift,
        end=lambda one: one.end + shift,
    )
    times = torch.tensor([0.5, 4.0, 8.0])
    torch.testing.assert_close(losses(model, collate(later)), losses(model, collate(series)), **TIGHT)
    torch.testing.assert_close(
        predictions(model, collate(later), times + shift), predictions(model, collate(series), times), **TIGHT
    )


def test_another_unit_of_time_changes_no_prediction(model, series):
    times = torch.tensor([0.5, 4.0, 8.0])
    of_days = predictions(model, collate(series), times)
    hours = changed(
        series, times=lambda one: 24 * one.times, start=lambda one: 24 * one.start, end=lambda one: 24 * one.end
    )
    model.time_unit *= 24
    torch.testing.assert_close(predictions(model, collate(hours), 24 * times), of_days, **TIGHT)


def test_further_times_that_are_asked_for_change_no_prediction_within_what_is_observed(model, series):
    batch = collate(series)
    few = batch.starts[:, None] + torch.tensor([0.1, 0.3])
    more = torch.cat([few, batch.starts[:, None] + torch.tensor([0.2, 0.4, 0.05])], dim=1)
    torch.testing.assert_close(predictions(model, batch, more)[:, :, :2], predictions(model, batch, few), **TIGHT)


def test_a_batch_in_which_nothing_is_padded_is_read_as_one_that_is(model, series):
    alone = collate(series[2:])
    padded = collate([*series[2:], *series[2:]])
    padded = replace(padded, observed=padded.observed & (torch.arange(2)[:, None, None] < 1) | _first_only(padded))
    torch.testing.assert_close(_means(model, alone)[0], _means(model, padded)[0], **TIGHT)


def _first_only(batch: SeriesBatch) -> torch.Tensor:
    """Of the second series its first observed row alone."""
    rows = batch.observed.any(-1)
    first = rows & (rows.cumsum(1) == 1)
    return batch.observed & first[:, :, None] & (torch.arange(2)[:, None, None] == 1)


def _means(model: LatentODE | Forecaster, batch: SeriesBatch) -> torch.Tensor:
    return model.posterior(batch).mean if isinstance(model, LatentODE) else model.class_scores(batch)
