"""Irregular series, and batches of them: times, values, and which of the values are known, given or asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.ode.inference_mode import outside_inference
from pipeline.util.errors import InvalidInput

Made = TypeVar("Made")


def _made_to_be_trained_on(make: Callable[["SeriesBatch"], Made]) -> Callable[["SeriesBatch"], Made]:
    """What is kept of a batch is made outside of torch's inference mode, as it may be asked for there first."""

    @wraps(make)
    def made(batch: "SeriesBatch") -> Made:
        with outside_inference():
            return make(batch)

    return made


class Series:
    """Values at times of a series' own, some of them missing.

    Attributes:
        times: ascending, shape (n,), float64.
        values: shape (n, D); 0 where the mask is False.
        mask: which values are known, shape (n, D).
        observed: which of those a model is given, shape (n, D).
        wanted: which of them it is to say and is scored on, shape (n, D).
        label: class of the series, from 0; None where it is not known.
        truth: values without noise, at all times, shape (n, D); None where they are not known.
        start: time of the latent state that a model infers.
        begin, end: between them it was watched for what is wanted, which matters for a model of the times themselves.
        name: for messages.
    """

    def __init__(
        self,
        times: Any,
        values: Any,
        mask: Any = None,
        *,
        observed: Any = None,
        wanted: Any = None,
        label: int | None = None,
        truth: Any = None,
        start: float | None = None,
        begin: float | None = None,
        end: float | None = None,
        name: str = "",
    ) -> None:
        """
        Args:
            times, values, mask, observed, wanted, truth: tensors or arrays. Masks of shape (n,) hold for whole rows.
                Without `mask` all values are known; without `observed` or `wanted`, those are all that are known.
            start: the first time with something observed, if it is not given.
            begin: the start, if it is not given.
            end: the last time with something known, if it is not given.

        Raises:
            InvalidInput: times that do not ascend, shapes that do not go together, a known value that is not finite,
                nothing observed.
        """
        self.name, self.label = name, label
        self.times = torch.as_tensor(times, dtype=torch.float64).clone()  # as the caller's may change
        values = torch.as_tensor(values)
        self.values = values if values.is_floating_point() else values.to(torch.get_default_dtype())
        self._check_times()
        self.mask = torch.ones_like(self.values, dtype=torch.bool) if mask is None else self._rows(mask, "mask")
        if not bool(torch.isfinite(self.values[self.mask]).all()):
            raise InvalidInput(f"{self} has a value that is not finite and not masked: leave it out by the mask")
        self.values = self.values.masked_fill(~self.mask, 0.0)
        self.observed = self.mask if observed is None else self._rows(observed, "observed") & self.mask
        self.wanted = self.mask if wanted is None else self._rows(wanted, "wanted") & self.mask
        if not bool(self.observed.any()):
            raise InvalidInput(f"{self} has nothing that is observed: leave it out, or observe a value at least")
        self.truth = None if truth is None else torch.as_tensor(truth).to(self.values.dtype, copy=True)
        if self.truth is not None and self.truth.shape != self.values.shape:
            raise InvalidInput(
                f"{self} has a truth of shape {tuple(self.truth.shape)}: give the shape of the values, "
                f"{tuple(self.values.shape)}"
            )
        self.start = float(self.times[self.observed.any(1)][0]) if start is None else float(start)
        known = self.times[self.mask.any(1)]
        self.begin = min(self.start, float(known[0])) if begin is None else float(begin)
        self.end = float(known[-1]) if end is None else float(end)
        if self.end < self.begin:
            raise InvalidInput(f"{self} ends at {self.end:g}, before it begins at {self.begin:g}: give a later end")

    def __len__(self) -> int:
        return len(self.times)

    def __str__(self) -> str:
        return f"the series {self.name}" if self.name else "a series"

    def _check_times(self) -> None:
        times, values = self.times, self.values
        if times.dim() != 1 or values.dim() != 2 or len(values) != len(times) or not values.numel():
            raise InvalidInput(
                f"{self} has times of shape {tuple(times.shape)} and values of shape {tuple(values.shape)}: "
                "give n times and n rows of values"
            )
        if not bool(torch.isfinite(times).all()):
            raise InvalidInput(f"{self} has a time that is not finite: leave its row out")
        wrong = (times.diff() <= 0).nonzero()
        if len(wrong):
            first, second = times[int(wrong[0]) : int(wrong[0]) + 2].tolist()
            if first == second:
                raise InvalidInput(f"{self} has the time {first:g} twice: merge the two rows, or leave one out")
            raise InvalidInput(f"{self} has the time {first:g} before {second:g}: sort the rows by their time")

    def _rows(self, mask: Any, what: str) -> Tensor:
        found = torch.as_tensor(mask, dtype=torch.bool).clone()
        if found.shape == self.times.shape:
            found = found[:, None].expand_as(self.values)
        if found.shape != self.values.shape:
            raise InvalidInput(
                f"{self} has a mask, {what}, of shape {tuple(found.shape)}: give one of shape "
                f"{tuple(self.times.shape)} or {tuple(self.values.shape)}"
            )
        return found


@dataclass(frozen=True, eq=False)
class Observations:
    """The rows that have something observed, one behind the other and then padding; in the order that they are read.

    Attributes:
        counts: rows of each series, shape (b,).
        gaps: time from the row that was read before to this one, not negative, 0 for the first and for padding,
            shape (b, k).
        rest: time from the last row that is read to the series' start, shape (b,); 0 where they are read forwards.
        times: of the rows from the series' start, shape (b, k), float64; infinite in the padding.
        values: 0 where nothing is observed, shape (b, k, D).
        mask: where something is, shape (b, k, D), in the number format of the values.
    """

    counts: Tensor
    gaps: Tensor
    rest: Tensor
    times: Tensor
    values: Tensor
    mask: Tensor

    @cached_property
    def are_all_as_long(self) -> bool:
        """Whether there is no padding."""
        return bool((self.counts == self.values.shape[1]).all())


@dataclass(frozen=True, eq=False)
class SeriesBatch:
    """Several series, padded to the length of the longest. What is derived of it is computed once.

    Attributes:
        times: shape (b, n), float64; padding repeats the last time.
        values: shape (b, n, D); 0 where the mask is False.
        mask, observed, wanted: as of a Series, shape (b, n, D); False in the padding.
        starts, begins, ends: shape (b,), float64.
        lengths: number of times of each, shape (b,).
        labels: shape (b,), -1 where it is not known.
        truth: shape (b, n, D), not a number where it is not known; None where it is of no series.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    observed: Tensor
    wanted: Tensor
    starts: Tensor
    begins: Tensor
    ends: Tensor
    lengths: Tensor
    labels: Tensor
    truth: Tensor | None = None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def dimensions(self) -> int:
        """D, the number of values at a time."""
        return self.values.shape[-1]

    def to(self, device: torch.device | str) -> "SeriesBatch":
        """The batch on another device."""
        return self._mapped(lambda tensor: tensor.to(device))

    def chosen(self, rows: Tensor) -> "SeriesBatch":
        """Some of the series, by their positions or a mask."""
        return self._mapped(lambda tensor: tensor[rows])

    def continued(self) -> "SeriesBatch":
        """The batch with that observed too which is wanted behind the last observation of its series."""
        last = self.times.masked_fill(~self.observed.any(-1), -torch.inf).amax(1, keepdim=True)
        return replace(self, observed=self.observed | (self.wanted & (self.times > last)[:, :, None]))

    def relative(self, times: Tensor) -> Tensor:
        """Times, of shape (m,) for all series or (b, m), from the start of each, shape (b, m), float64.

        Raises:
            InvalidInput: there are none.
        """
        if not times.numel():
            raise InvalidInput("there are no times to say something about: give one at least")
        return times.to(self.starts) - self.starts[:, None]

    @cached_property
    @_made_to_be_trained_on
    def relative_times(self) -> Tensor:
        """Of all rows from the start of their series, shape (b, n); 0 for rows without anything wanted."""
        return self.relative(self.times).masked_fill(~self.wanted.any(-1), 0.0)

    @cached_property
    @_made_to_be_trained_on
    def wanted_counts(self) -> Tensor:
        """Wanted values of each series, shape (b,)."""
        return self.wanted.sum((1, 2))

    @cached_property
    @_made_to_be_trained_on
    def wanted_numbers(self) -> Tensor:
        """`wanted` in the number format of the values."""
        return self.wanted.to(self.values.dtype)

    @cached_property
    @_made_to_be_trained_on
    def ascending(self) -> Observations:
        """What is observed, from the first to the last."""
        rows = self.observed.any(-1)
        counts = rows.sum(1)
        longest = int(counts.max())
        order = torch.argsort(~rows, dim=1, stable=True)[:, :longest]
        valid = torch.arange(longest, device=rows.device) < counts[:, None]
        return self._read(order, valid, counts, is_backwards=False)

    @cached_property
    @_made_to_be_trained_on
    def descending(self) -> Observations:
        """What is observed, from the last to the first."""
        rows = self.observed.any(-1)
        counts = rows.sum(1)
        longest = int(counts.max())
        order = rows.shape[1] - 1 - torch.argsort(~rows.flip(1), dim=1, stable=True)[:, :longest]
        valid = torch.arange(longest, device=rows.device) < counts[:, None]
        return self._read(order, valid, counts, is_backwards=True)

    def _read(self, order: Tensor, valid: Tensor, counts: Tensor, is_backwards: bool) -> Observations:
        """The rows in this order, of which those that are not valid are padding."""
        times = self.relative(self.times).gather(1, order)
        gaps = torch.cat([torch.zeros_like(times[:, :1]), times.diff(dim=1).abs()], dim=1).masked_fill(~valid, 0.0)
        rows = order[:, :, None].expand(-1, -1, self.dimensions)
        mask = self.observed.gather(1, rows) & valid[:, :, None]
        values = self.values.gather(1, rows).masked_fill(~mask, 0.0)
        times = times.masked_fill(~valid, torch.inf)
        last = times.gather(1, counts[:, None] - 1)[:, 0]
        rest = last if is_backwards else torch.zeros_like(last)
        dtype = values.dtype
        return Observations(counts, gaps.to(dtype), rest.to(dtype), times, values, mask.to(dtype))

    def _mapped(self, function: Any) -> "SeriesBatch":
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(tensor) for name, tensor in tensors.items() if tensor is not None})


def collate(series: Sequence[Series], dtype: torch.dtype | None = None) -> SeriesBatch:
    """A batch of series of any lengths and starts.

    Args:
        dtype: of the values; torch's default without it.

    Raises:
        InvalidInput: no series, or different numbers of values at a time.
    """
    if not series:
        raise InvalidInput("a batch needs a series at least")
    widths = sorted({one.values.shape[1] for one in series})
    if len(widths) > 1:
        raise InvalidInput(
            f"the series of a batch have {widths[0]} and {widths[-1]} values at a time: give them as many"
        )
    dtype = dtype or torch.get_default_dtype()
    longest = max(map(len, series))
    truths = [one.truth for one in series]
    truth = None
    if any(one is not None for one in truths):
        unknown = float("nan")
        known = [torch.full_like(one.values, unknown) if one.truth is None else one.truth for one in series]
        truth = torch.stack([_padded(values.to(dtype), longest, unknown) for values in known])
    return SeriesBatch(
        times=torch.stack([_padded(one.times, longest, float(one.times[-1])) for one in series]),
        values=torch.stack([_padded(one.values.to(dtype), longest, 0.0) for one in series]),
        mask=torch.stack([_padded(one.mask, longest, False) for one in series]),
        observed=torch.stack([_padded(one.observed, longest, False) for one in series]),
        wanted=torch.stack([_padded(one.wanted, longest, False) for one in series]),
        starts=torch.tensor([one.start for one in series], dtype=torch.float64),
        begins=torch.tensor([one.begin for one in series], dtype=torch.float64),
        ends=torch.tensor([one.end for one in series], dtype=torch.float64),
        lengths=torch.tensor([len(one) for one in series]),
        labels=torch.tensor([-1 if one.label is None else one.label for one in series]),
        truth=truth,
    )


def _padded(rows: Tensor, length: int, padding: float) -> Tensor:
    more = length - len(rows)
    return rows if not more else torch.cat([rows, rows.new_full((more, *rows.shape[1:]), padding)])
