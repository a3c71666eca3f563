"""A generative model of series: a latent state that follows an ODE, of which values are observed with noise.

Source: Chen et al. 2018, section 5; Rubanova, Chen & Duvenaud 2019, section 3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.config import SolverConfig
from pipeline.device.compilation import compilation_errors, warn_of_staying_eager
from pipeline.ode import Statistics
from pipeline.ode.graphed import Graphed
from pipeline.series import poisson
from pipeline.series.batch import SeriesBatch
from pipeline.series.encoders import Posterior
from pipeline.series.likelihood import gaussian_log_likelihood
from pipeline.series.noise import ObservationNoise
from pipeline.series.prediction import Prediction
from pipeline.series.trajectories import Union, states_at, union
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Elbo:
    """The evidence lower bound of each series of a batch, in nats and not divided by anything; shapes (b,).

    Attributes:
        likelihood: the expected log likelihood of the wanted values.
        kl: of the posterior from the prior.
        counts: wanted values of each series.
        times: the expected log likelihood of the times of observation; None for a model that does not have any.
        labels: the expected log likelihood of the label, 0 where it is not known; None without classes.
        kl_weight, label_weight: in what is maximised.
    """

    likelihood: Tensor
    kl: Tensor
    counts: Tensor
    times: Tensor | None = None
    labels: Tensor | None = None
    kl_weight: float = 1.0
    label_weight: float = 1.0

    @property
    def value(self) -> Tensor:
        """The bound of the log likelihood of the values, and of the times where the model has them."""
        return self._of_series - self.kl

    @property
    def objective(self) -> Tensor:
        """What training maximises: the KL and the label's likelihood with their weights."""
        weighted = self._of_series - self.kl_weight * self.kl
        return weighted if self.labels is None else weighted + self.label_weight * self.labels

    @property
    def per_value(self) -> Tensor:
        """The bound over the number of wanted values of all series together, a scalar."""
        return self.value.sum() / self.counts.sum()

    @property
    def _of_series(self) -> Tensor:
        return self.likelihood if self.times is None else self.likelihood + self.times


class LatentODE(Graphed):
    """z0 ~ N(0, 1), dz/dt = field(t, z), values ~ N(decoder(z(t)), noise²), and an encoder for the posterior of z0.

    Time counts from the start of each series, so that a series that is observed later has the same predictions. The
    times of all series of a batch are one union, for which the ODE is solved once, and once more backwards where
    something before the start is asked for.

    Attributes:
        statistics: of the last solve.
        is_compiled: compute the steps of a training's solves by compiled functions, where the solver can be.
    """

    def __init__(
        self,
        encoder: Callable[..., Posterior],
        field: nn.Module,
        decoder: nn.Module,
        noise: ObservationNoise,
        solver: SolverConfig = SolverConfig(rtol=1e-5, atol=1e-5),  # noqa: B008 - frozen
        *,
        time_unit: float = 1.0,
        intensity: poisson.Intensity | None = None,
        classifier: nn.Module | None = None,
    ) -> None:
        """
        Args:
            encoder: of a SeriesBatch and a unit of time, as `pipeline.series.Encoder`.
            field: called with t and z, shape (…, latent).
            decoder: from (…, latent) to (…, D).
            solver: of the latent ODE.
            time_unit: what the networks take for a unit of time, in that of the series; a typical length of a series
                serves, or whatever makes the solution change by about its own size in one unit.
            intensity: of observations, for a model of their times too.
            classifier: from z0, shape (…, latent), to scores of the classes, for series with labels.

        Raises:
            InvalidInput: a unit of time that is not above 0.
        """
        super().__init__()
        if not 0 < time_unit < float("inf"):
            raise InvalidInput(f"time_unit is {time_unit}: give a length of time above 0")
        self.encoder, self.field, self.decoder, self.noise = encoder, field, decoder, noise
        self.intensity, self.classifier = intensity, classifier
        self.solver = solver
        self.time_unit = time_unit
        self.is_compiled = False
        self.statistics = Statistics()

    @property
    def can_be_graphed(self) -> bool:
        return self.solver.can_be_compiled

    def posterior(self, batch: SeriesBatch) -> Posterior:
        """Of the state at the start of each series, from what is observed of it."""
        found = self.encoder(batch, self.time_unit)
        if not isinstance(found, Posterior):
            raise InvalidInput(
                f"the encoder of a latent ODE returned a {type(found).__name__}: return a pipeline.series.Posterior"
            )
        return found

    def trajectory(self, z0: Tensor, times: Tensor) -> Tensor:
        """The latent states.

        Args:
            z0: shape (samples, b, latent).
            times: from the start of each series, in the unit of the series, shape (b, n).

        Returns:
            Shape (samples, b, n, latent).
        """
        moments = union(times / self.time_unit, z0.dtype)
        # As elsewhere, what is not trained on stays eager: each size of a batch is compiled for itself.
        if self.is_compiled and self.training and torch.is_grad_enabled():
            try:
                return self._solved(z0, moments, is_compiled=True)
            except compilation_errors() as error:
                warn_of_staying_eager(error)
                self.is_compiled = False
        return self._solved(z0, moments, is_compiled=False)

    def _solved(self, z0: Tensor, moments: Union, is_compiled: bool) -> Tensor:
        states, self.statistics = states_at(
            self.field, z0, moments, self.solver, is_compiled=is_compiled, graphs=self.graphs_now()
        )
        return states

    def forward(self, batch: SeriesBatch, generator: torch.Generator | None = None) -> Elbo:
        """The bound, with one sample."""
        return self.elbo(batch, generator=generator)

    def elbo(
        self,
        batch: SeriesBatch,
        samples: int = 1,
        kl_weight: float = 1.0,
        generator: torch.Generator | None = None,
        *,
        label_weight: float = 1.0,
    ) -> Elbo:
        """The bound of log p(wanted values), the posterior being that given the observed ones.

        Args:
            samples: of z0, over which the expectation is taken.
            generator: of their noise.
        """
        posterior = self.posterior(batch)
        z0 = posterior.sample(samples, generator)
        values, times = self._log_likelihoods(batch, z0)
        labels = self._label_log_likelihood(batch, z0)
        return Elbo(
            likelihood=values.mean(0),
            kl=posterior.kl(),
            counts=batch.wanted_counts,
            times=None if times is None else times.mean(0),
            labels=None if labels is None else labels.mean(0),
            kl_weight=kl_weight,
            label_weight=label_weight,
        )

    @torch.no_grad()
    def importance_bound(self, batch: SeriesBatch, k: int = 50, generator: torch.Generator | None = None) -> Tensor:
        """A tighter bound of the same log likelihood, log 1/k Σ p(values | z0) p(z0) / q(z0), in nats, shape (b,).

        Source: Burda, Grosse & Salakhutdinov 2016, *Importance weighted autoencoders*.
        """
        posterior = self.posterior(batch)
        z0 = posterior.sample(k, generator)
        values, times = self._log_likelihoods(batch, z0)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z0).sum(-1)
        drawn = torch.distributions.Normal(posterior.mean, posterior.sd).log_prob(z0).sum(-1)
        weights = values + prior - drawn if times is None else values + times + prior - drawn
        return torch.logsumexp(weights, dim=0) - log(k)

    @torch.no_grad()
    def predict(
        self, batch: SeriesBatch, times: Tensor, samples: int = 100, generator: torch.Generator | None = None
    ) -> Prediction:
        """The values at any times, before, within and beyond what is observed.

        Args:
            times: shape (m,) for all series, or (b, m), in the unit of the series; in any order.
        """
        z0 = self.posterior(batch).sample(samples, generator)
        relative = batch.relative(times)
        decoded = self.decoder(self.trajectory(z0, relative))
        return Prediction(relative + batch.starts[:, None], decoded.mean(0), decoded, self.noise.sd)

    def class_scores(self, batch: SeriesBatch) -> Tensor:
        """The classifier's scores at the mean of the posterior, shape (b, classes)."""
        if self.classifier is None:
            raise InvalidInput("this model has no classifier: build it with one")
        scores: Tensor = self.classifier(self.posterior(batch).mean)
        return scores

    def _log_likelihoods(self, batch: SeriesBatch, z0: Tensor) -> tuple[Tensor, Tensor | None]:
        """Of the wanted values and, with an intensity, of their times: (samples, b) each."""
        times, within = batch.relative_times, None
        if self.intensity is not None:
            within = poisson.quadrature(batch.begins - batch.starts, batch.ends - batch.starts)
            times = torch.cat([times, within.times], dim=1)
        states = self.trajectory(z0, times)
        length = batch.values.shape[1]
        decoded = self.decoder(states[:, :, :length] if within is not None else states)
        values = gaussian_log_likelihood(batch.values, decoded, self.noise.sd, batch.wanted_numbers)
        if self.intensity is None or within is None:
            return values, None
        # Rates are in 1 / time_unit; those of the series' own unit are smaller by its length.
        log_rates = self.intensity(states) - log(self.time_unit)
        is_event = batch.wanted.any(-1)
        weights = within.weights.to(log_rates.dtype)
        return values, poisson.log_likelihood(log_rates[..., :length], is_event, log_rates[..., length:], weights)

    def _label_log_likelihood(self, batch: SeriesBatch, z0: Tensor) -> Tensor | None:
        if self.classifier is None:
            return None
        scores = functional.log_softmax(self.classifier(z0), dim=-1)
        is_known = batch.labels >= 0
        of_label = scores.gather(-1, batch.labels.clamp(min=0).expand(len(z0), -1).unsqueeze(-1)).squeeze(-1)
        return of_label.masked_fill(~is_known, 0.0)
