"""Recurrent networks that say each observation from those before it: RNN, RNN with time gaps, GRU-D, ODE-RNN."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.series.batch import Observations, SeriesBatch
from pipeline.series.cells import Cell, State
from pipeline.series.likelihood import gaussian_log_likelihood
from pipeline.series.noise import ObservationNoise
from pipeline.series.prediction import Prediction
from pipeline.series.trajectories import TIME_BITS
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """The log likelihood of each series of a batch, in nats and not divided by anything; shapes (b,).

    Attributes:
        value: of the values, each given what was read before it.
        counts: of these values, for each series.
        labels: log likelihood of the label, 0 where it is not known; None without classes.
        label_weight: in what is maximised.
    """

    value: Tensor
    counts: Tensor
    labels: Tensor | None = None
    label_weight: float = 1.0

    @property
    def objective(self) -> Tensor:
        """What training maximises."""
        return self.value if self.labels is None else self.value + self.label_weight * self.labels

    @property
    def per_value(self) -> Tensor:
        """Over the number of values of all series together, a scalar."""
        return self.value.sum() / self.counts.sum()


class Forecaster(nn.Module):
    """A cell that reads a series forwards, and a decoder that says a value from what the cell knows of its time.

    It is trained to say each observation from those before it. A value at any time is said from the observations
    before that time; behind the last observation, what the model has said is given to it as if it was observed, value
    after value in the order of time. So what it says there depends on the times that it is asked for.
    """

    def __init__(
        self,
        cell: Cell,
        decoder: nn.Module,
        noise: ObservationNoise,
        *,
        time_unit: float = 1.0,
        classifier: nn.Module | None = None,
    ) -> None:
        """
        Args:
            decoder: from (…, cell.features_width) to (…, D).
            time_unit: what the networks take for a unit of time, in that of the series.
            classifier: from the features behind the last observation to scores of the classes.

        Raises:
            InvalidInput: a unit of time that is not above 0.
        """
        super().__init__()
        if not 0 < time_unit < float("inf"):
            raise InvalidInput(f"time_unit is {time_unit}: give a length of time above 0")
        self.cell, self.decoder, self.noise, self.classifier = cell, decoder, noise, classifier
        self.time_unit = time_unit

    def forward(self, batch: SeriesBatch) -> LogLikelihood:
        """The log likelihood of what is observed."""
        return self.log_likelihood(batch)

    def log_likelihood(
        self, batch: SeriesBatch, *, of_wanted: bool = False, label_weight: float = 1.0
    ) -> LogLikelihood:
        """Of each observed value given those before it, and of the label given all of them.

        Args:
            of_wanted: of the wanted values too. As in a prediction, they are said from the observations before them;
                behind the last of these, where a prediction is given what was said, each is given those before it.
        """
        read = batch.continued() if of_wanted else batch
        observations = read.ascending
        gaps = observations.gaps / self.time_unit
        states = self.cell.read(observations, gaps)
        before = tuple(part[:-1].flatten(0, 1) for part in states)
        ahead = self.cell.evolve(before, gaps.t().reshape(-1, 1))
        means = self._decoded(ahead).unflatten(0, (-1, len(batch))).transpose(0, 1)
        value = gaussian_log_likelihood(observations.values, means, self.noise.sd, observations.mask)
        counts = read.observed.sum((1, 2))
        left_out = batch.wanted & ~read.observed
        if of_wanted and bool(left_out.any()):
            means = self._between(observations, states, batch.relative_times)
            mask = left_out.to(batch.values.dtype)
            value = value + gaussian_log_likelihood(batch.values, means, self.noise.sd, mask)
            counts = counts + left_out.sum((1, 2))
        labels = None
        if self.classifier is not None:
            scores = functional.log_softmax(self._class_scores(self._chosen(states, batch.ascending.counts)), dim=-1)
            of_label = scores.gather(-1, batch.labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            labels = of_label.masked_fill(batch.labels < 0, 0.0)
        return LogLikelihood(value, counts, labels, label_weight)

    @torch.no_grad()
    def class_scores(self, batch: SeriesBatch) -> Tensor:
        """The classifier's scores behind the last observation, shape (b, classes)."""
        observations = batch.ascending
        states = self.cell.read(observations, observations.gaps / self.time_unit)
        return self._class_scores(self._chosen(states, observations.counts))

    @torch.no_grad()
    def predict(
        self, batch: SeriesBatch, times: Tensor, samples: int = 100, generator: torch.Generator | None = None
    ) -> Prediction:
        """The values at any times, each from the observations before it.

        Behind the last observation the mean is what follows from means that are given back, and the samples what
        follows from values with noise that are given back.

        Args:
            times: shape (m,) for all series, or (b, m), in the unit of the series; in any order.
        """
        observations = batch.ascending
        states = self.cell.read(observations, observations.gaps / self.time_unit)
        relative = batch.relative(times)
        last = observations.times.gather(1, observations.counts[:, None] - 1)
        whole = self._between(observations, states, relative).repeat(1 + samples, 1, 1, 1)
        is_beyond = relative - _rounding(relative) > last
        if bool(is_beyond.any()):
            self._go_beyond(
                whole, self._chosen(states, observations.counts), relative, last[:, 0], is_beyond, generator
            )
        return Prediction(relative + batch.starts[:, None], whole[0], whole[1:], self.noise.sd)

    def _between(self, observations: Observations, states: State, relative: Tensor) -> Tensor:
        """The means at times from the series' starts, shape (b, m), each from what was read before it."""
        before = (observations.times[:, None, :] < (relative - _rounding(relative))[:, :, None]).sum(-1)
        since = torch.where(before > 0, relative - observations.times.gather(1, (before - 1).clamp(min=0)), 0.0)
        return self._decoded(self._evolved(self._chosen(states, before), since))

    def _go_beyond(
        self,
        whole: Tensor,
        state: State,
        relative: Tensor,
        last: Tensor,
        is_beyond: Tensor,
        generator: torch.Generator | None,
    ) -> None:
        """Fill in the values behind the last observation, of one future without noise and of the others with it.

        A time that is asked for again, as the padding of a batch does, has one answer, and is fed back once.

        Args:
            whole: shape (1 + samples, b, m, D).
            state, last: behind the last observation, and its time.
        """
        futures, batch, _, dimensions = whole.shape
        state = tuple(part.repeat(futures, 1) for part in state)
        series = torch.arange(batch, device=whole.device)
        order = relative.masked_fill(~is_beyond, torch.inf).argsort(dim=1, stable=True)
        everything = whole.new_ones(futures * batch, dimensions)
        now, values = last, whole.new_zeros(futures, batch, dimensions)
        for k in range(int(is_beyond.sum(1).max())):
            place = order[:, k]
            going_on = is_beyond[series, place]
            then = torch.where(going_on, relative[series, place], now)
            ahead = self._evolved(state, (then - now).repeat(futures))
            is_new = (then > now)[:, None]
            values = torch.where(is_new, self._decoded(ahead).unflatten(0, (futures, batch)), values)
            whole[:, series, place] = torch.where(going_on[:, None], values, whole[:, series, place])
            device = whole.device if generator is None else generator.device
            noise = torch.randn(values.shape, generator=generator, device=device, dtype=values.dtype).to(values)
            noise[0] = 0.0
            fed_back = torch.addcmul(values, self.noise.sd, noise).flatten(0, 1)
            updated = self.cell.update(ahead, fed_back, everything)
            has_moved = is_new.repeat(futures, 1)
            state = tuple(torch.where(has_moved, new, old) for new, old in zip(updated, state, strict=True))
            now = then

    def _decoded(self, state: State) -> Tensor:
        decoded: Tensor = self.decoder(self.cell.features(state))
        return decoded

    def _class_scores(self, state: State) -> Tensor:
        if self.classifier is None:
            raise InvalidInput("this model has no classifier: build it with one")
        scores: Tensor = self.classifier(self.cell.features(state))
        return scores

    def _evolved(self, state: State, gaps: Tensor) -> State:
        """The states, of shape (…, width), as far later as `gaps` says in the unit of the series, shape (…)."""
        flat = tuple(part.flatten(0, -2) for part in state)
        unit_gaps = (gaps / self.time_unit).to(flat[0].dtype).reshape(-1, 1)
        return tuple(part.unflatten(0, gaps.shape) for part in self.cell.evolve(flat, unit_gaps))

    @staticmethod
    def _chosen(states: State, position: Tensor) -> State:
        """Behind so many observations, of shape (b,) or (b, m): tensors of that shape and their width."""
        series = torch.arange(len(position), device=position.device)
        if position.dim() == 2:
            series = series[:, None]
        return tuple(part[position, series] for part in states)


def _rounding(relative: Tensor) -> Tensor:
    """By which times of one grid differ that were subtracted from different starts, or counted up in steps."""
    rounding: Tensor = relative.abs().amax(1, keepdim=True) / 2 ** TIME_BITS[torch.float32]
    return rounding
