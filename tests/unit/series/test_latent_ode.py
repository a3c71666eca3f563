"""A latent ODE's bounds and predictions beside closed forms."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from pipeline.config import SolverConfig
from pipeline.series import (
    LatentODE,
    ObservationNoise,
    Posterior,
    Series,
    SeriesBatch,
    build_latent_ode,
    collate,
    gaussian_kl,
)
from pipeline.series.trajectories import union
from pipeline.util.errors import InvalidInput

PRECISE = SolverConfig(rtol=1e-8, atol=1e-8)
NOISE = 0.3


class LinearField(nn.Module):
    """dz/dt = A z."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[-0.2, 1.5, 0.0], [-1.5, -0.1, 0.3], [0.0, 0.2, -0.4]]))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return z @ self.matrix.T

    def flow(self, t: float) -> Tensor:
        """exp(A t)."""
        return torch.matrix_exp(self.matrix.detach() * t)


class LinearGaussian:
    """A model whose field and decoder are linear: the values are Gaussian, and so is the posterior."""

    def __init__(self, times: list[float], seed: int = 3) -> None:
        torch.manual_seed(seed)
        self.field, self.decoder = LinearField(), nn.Linear(3, 2, bias=False)
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(len(times), 2, generator=generator)
        mask = torch.rand(len(times), 2, generator=generator) < 0.8
        mask[0] = True
        self.batch = collate([Series(times, values, mask, start=0.0)])
        weight = self.decoder.weight.detach()
        rows = torch.cat([weight @ self.field.flow(time) for time in times])[mask.flatten()]
        self.values = values.flatten()[mask.flatten()]
        self.evidence = MultivariateNormal(
            torch.zeros(len(rows)), rows @ rows.T + NOISE**2 * torch.eye(len(rows))
        ).log_prob(self.values)
        precision = torch.eye(3) + rows.T @ rows / NOISE**2
        self.covariance = torch.linalg.inv(precision)
        self.mean = self.covariance @ rows.T @ self.values / NOISE**2

    def with_posterior(self, mean: Tensor, sd: Tensor) -> LatentODE:
        def encoder(batch: SeriesBatch, time_unit: float) -> Posterior:  # noqa: ARG001
            return Posterior(mean[None], sd[None])

        return LatentODE(encoder, self.field, self.decoder, ObservationNoise(2, NOISE, is_learned=False), PRECISE)

    def model(self) -> LatentODE:
        """With the best posterior whose dimensions are independent."""
        return self.with_posterior(self.mean, torch.linalg.inv(self.covariance).diagonal().rsqrt())


@pytest.mark.parametrize("times", [[0.0, 0.4, 1.1, 2.0], [-1.5, -0.2, 0.7], [0.3], [-1.0]])
def test_the_states_of_a_linear_field_are_the_matrix_exponentials(times):
    problem = LinearGaussian(times)
    z0 = torch.randn(5, 1, 3)
    states = problem.model().trajectory(z0, torch.tensor([times]))
    for number, time in enumerate(times):
        torch.testing.assert_close(states[:, :, number], z0 @ problem.field.flow(time).T, rtol=1e-7, atol=1e-7)


def test_each_series_has_the_states_at_its_own_times():
    problem = LinearGaussian([0.0, 1.0])
    times = torch.tensor([[0.0, 0.5, 2.0], [-0.3, 1.0, 0.5], [0.0, 0.0, 0.1]])
    z0 = torch.randn(2, 3, 3)
    states = problem.model().trajectory(z0, times)
    for series in range(3):
        for number, time in enumerate(times[series].tolist()):
            expected = z0[:, series] @ problem.field.flow(time).T
            torch.testing.assert_close(states[:, series, number], expected, rtol=1e-7, atol=1e-7)


def test_times_of_one_grid_from_different_starts_are_one_in_the_union():
    starts = [0.0, 0.7, 13.1]
    batch = collate([Series([start + 0.1 * k for k in range(20)], torch.zeros(20, 1)) for start in starts])
    assert len(batch.relative_times.unique()) > 20  # what was subtracted is rounded
    shared = union(batch.relative_times, torch.float32)
    assert len(shared.after) == 19
    assert shared.index is None  # all have all of them, in their order
    torch.testing.assert_close(shared.after, 0.1 * torch.arange(1.0, 20), rtol=0.0, atol=1e-6)


def test_the_kl_of_equal_gaussians_is_zero():
    assert gaussian_kl(torch.zeros(3, 4), torch.ones(3, 4)).tolist() == [0.0, 0.0, 0.0]


def test_the_kl_is_that_of_torch():
    mean, sd = torch.randn(5, 4), torch.rand(5, 4) + 0.1
    expected = kl_divergence(Normal(mean, sd), Normal(torch.zeros(4), torch.ones(4))).sum(-1)
    torch.testing.assert_close(gaussian_kl(mean, sd), expected)
    torch.testing.assert_close(Posterior(mean, sd).kl(), expected)
    torch.testing.assert_close(Posterior(mean, sd).entropy(), Normal(mean, sd).entropy().sum(-1))


@pytest.mark.parametrize("ask", ["elbo", "predict", "importance_bound"])
def test_no_samples_are_refused(ask):
    problem = LinearGaussian([0.0, 1.0])
    model = problem.model()
    times = (torch.tensor([1.0], dtype=torch.float64),) if ask == "predict" else ()
    with pytest.raises(InvalidInput, match="0 samples of a posterior say nothing"):
        getattr(model, ask)(problem.batch, *times, 0)


def test_the_bound_is_the_evidence_without_what_the_posterior_lacks():
    """log p(x) - ELBO = KL(q || p(z0 | x)), all three known in closed form for a linear model."""
    problem = LinearGaussian([0.0, 0.5, 1.0, 1.7, 2.5])
    model = problem.model()
    posterior = model.posterior(problem.batch)
    lack = kl_divergence(
        MultivariateNormal(posterior.mean[0], torch.diag(posterior.sd[0] ** 2)),
        MultivariateNormal(problem.mean, problem.covariance),
    )
    with torch.no_grad():
        generators = [torch.Generator().manual_seed(seed) for seed in range(10)]
        draws = torch.stack([model.elbo(problem.batch, 1000, generator=generator).value for generator in generators])
    standard_error = float(draws.std() / len(draws) ** 0.5)
    assert abs(float(draws.mean() - (problem.evidence - lack))) < 4 * standard_error + 1e-6
    assert lack > 10 * standard_error  # or this would show nothing


def test_the_importance_weighted_bound_comes_to_the_evidence():
    problem = LinearGaussian([0.0, 0.5, 1.0, 1.7, 2.5])
    bound = problem.model().importance_bound(problem.batch, 20_000, torch.Generator().manual_seed(0))
    assert float(bound) == pytest.approx(float(problem.evidence), abs=0.02)


def test_the_bound_is_at_most_the_importance_weighted_one():
    """In expectation: the mean of many draws, with its standard error."""
    torch.manual_seed(1)
    model = build_latent_ode(2, encoder_hidden=5, has_intensity=True)
    times = torch.rand(6, 8).cumsum(1)
    batch = collate([Series(row, torch.randn(8, 2)) for row in times])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        elbos = torch.stack([model.elbo(batch, 50, generator=generator).value.sum() for _ in range(10)])
    means = [elbos.mean()]
    for k in (5, 50):
        bounds = torch.stack([model.importance_bound(batch, k, generator).sum() for _ in range(10)])
        standard_error = (bounds.var() / len(bounds) + elbos.var() / len(elbos)).sqrt()
        assert bounds.mean() > means[-1] + 3 * standard_error
        means.append(bounds.mean())


def test_the_bound_is_in_nats_of_all_values_with_nothing_divided_away():
    problem = LinearGaussian([0.0, 1.0])
    model = problem.with_posterior(torch.zeros(3), torch.full((3,), 1e-12))
    elbo = model.elbo(problem.batch)
    expected = Normal(0.0, NOISE).log_prob(problem.values).sum()  # the state is 0, and so what is decoded
    torch.testing.assert_close(elbo.likelihood[0], expected)
    torch.testing.assert_close(elbo.value, elbo.likelihood - elbo.kl)
    torch.testing.assert_close(elbo.per_value, elbo.value[0] / len(problem.values))
    annealed = model.elbo(problem.batch, kl_weight=0.0)
    torch.testing.assert_close(annealed.objective, annealed.likelihood)
    torch.testing.assert_close(annealed.value, annealed.likelihood - annealed.kl)


def test_gradients_are_those_of_torchdiffeq():
    from torchdiffeq import odeint

    torch.manual_seed(2)
    # The second derivative of an elu jumps, which costs both solves a part of their accuracy.
    model = build_latent_ode(2, encoder_hidden=5, activation="tanh", solver=PRECISE)
    times = torch.linspace(0, 2, 9)
    batch = collate([Series(times, torch.randn(9, 2)) for _ in range(4)])
    model.elbo(batch, generator=torch.Generator().manual_seed(7)).objective.sum().backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    model.zero_grad()
    posterior = model.posterior(batch)
    z0 = posterior.mean + posterior.sd * torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(7))[0]
    states = odeint(model.field, z0, times, rtol=1e-9, atol=1e-9, method="dopri5", options={"step_t": times[1:-1]})
    likelihood = Normal(model.decoder(states).transpose(0, 1), model.noise.sd).log_prob(batch.values).sum()
    (likelihood - posterior.kl().sum()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_compiled_steps_give_the_same_bound_and_gradients():
    torch.manual_seed(2)
    solver = SolverConfig(rtol=1e-6, atol=1e-6)
    model = build_latent_ode(2, encoder_hidden=5, solver=solver)
    batch = collate([Series(torch.linspace(0, 2, 9), torch.randn(9, 2)) for _ in range(4)])
    found = []
    for model.is_compiled in (False, True):
        model.zero_grad()
        elbo = model.elbo(batch, generator=torch.Generator().manual_seed(7))
        elbo.objective.sum().backward()
        found.append([elbo.objective, *(parameter.grad.clone() for parameter in model.parameters())])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-6, atol=1e-6)


def test_one_solve_answers_for_all_times_of_a_batch():
    """Its evaluations do not grow with them."""
    torch.manual_seed(0)
    model = build_latent_ode(1, encoder_hidden=3, solver=SolverConfig(rtol=1e-6, atol=1e-6))
    z0 = torch.randn(1, 8, 4)
    model.trajectory(z0, torch.full((8, 1), 3.0))
    few = model.statistics.nfe_forward
    model.trajectory(z0, torch.cat([torch.rand(8, 200) * 3, torch.full((8, 1), 3.0)], dim=1))
    assert model.statistics.nfe_forward == few


def test_what_is_predicted_is_what_the_posterior_comes_to():
    problem = LinearGaussian([0.0, 0.5, 1.0])
    model = problem.model()
    asked = torch.tensor([2.0, -1.0, 0.25])
    prediction = model.predict(problem.batch, asked, 4000, torch.Generator().manual_seed(0))
    posterior = model.posterior(problem.batch)
    for number, time in enumerate(asked.tolist()):
        reading = problem.decoder.weight.detach() @ problem.field.flow(time)
        spread = ((reading * posterior.sd) ** 2).sum(-1)
        torch.testing.assert_close(prediction.mean[0, number], reading @ posterior.mean[0], rtol=0.02, atol=0.05)
        torch.testing.assert_close(prediction.sd[0, number], (spread + NOISE**2).sqrt(), rtol=0.05, atol=0.0)
    for level, width in ((0.5, 0.6745), (0.9, 1.6449)):
        lower, upper = prediction.band(level)
        torch.testing.assert_close((upper - lower) / 2, width * prediction.sd, rtol=0.05, atol=0.0)


def test_the_bands_of_the_truth_are_narrower_than_those_of_an_observation():
    problem = LinearGaussian([0.0, 0.5])
    prediction = problem.model().predict(problem.batch, torch.tensor([0.2]), 500, torch.Generator().manual_seed(0))
    widths = {of: prediction.band(0.9, of)[1] - prediction.band(0.9, of)[0] for of in ("truth", "observation")}
    assert (widths["truth"] < widths["observation"]).all()


def test_a_seed_decides_about_what_is_drawn():
    problem = LinearGaussian([0.0, 0.5])
    first, second, other = (
        problem.model().elbo(problem.batch, 3, generator=torch.Generator().manual_seed(seed)).value
        for seed in (4, 4, 5)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_label_has_the_likelihood_of_its_class_and_none_where_it_is_not_known():
    torch.manual_seed(0)
    model = build_latent_ode(1, encoder_hidden=3, classes=3)
    model.encoder.head.bias.data[4:] = -60.0  # what is drawn is the mean
    times, values = [0.0, 1.0], [[1.0], [2.0]]
    batch = collate([Series(times, values, label=2), Series(times, values)])
    elbo = model.elbo(batch, label_weight=10.0)
    expected = torch.log_softmax(model.class_scores(batch), -1)[0, 2]
    torch.testing.assert_close(elbo.labels, torch.stack([expected, torch.zeros(())]))
    torch.testing.assert_close(elbo.objective, elbo.value + 10 * elbo.labels)


def test_the_noise_is_learned_or_given():
    batch = collate([Series([0.0, 1.0], [[1.0], [2.0]])])
    learned, given = build_latent_ode(1), build_latent_ode(1, noise=0.2)
    for model in (learned, given):
        model.elbo(batch).objective.sum().backward()
    assert learned.noise.log_sd.grad.abs() > 0
    assert not isinstance(given.noise.log_sd, nn.Parameter)
    torch.testing.assert_close(given.noise.sd, torch.tensor([0.2]))


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan")])
def test_a_noise_that_is_not_above_zero_is_refused(noise):
    with pytest.raises(InvalidInput, match=r"the noise of an observation is .*: give a standard deviation above 0"):
        build_latent_ode(1, noise=noise)


def test_a_unit_of_time_that_is_not_above_zero_is_refused():
    with pytest.raises(InvalidInput, match="time_unit is 0"):
        build_latent_ode(1, time_unit=0.0)


def test_a_probability_that_is_none_is_refused():
    problem = LinearGaussian([0.0])
    prediction = problem.model().predict(problem.batch, torch.tensor([0.2]), 5)
    with pytest.raises(InvalidInput, match="the probability of a quantile is 1"):
        prediction.quantile(1.0)
    with pytest.raises(InvalidInput, match="not of 'noise'"):
        prediction.quantile(0.5, of="noise")


def test_gradients_of_the_encoder_and_of_all_else_are_there():
    torch.manual_seed(0)
    model = build_latent_ode(2, encoder="ode_rnn", encoder_hidden=5, has_intensity=True, classes=2)
    batch = collate([Series([0.0, 1.0, 1.5], torch.randn(3, 2), label=1)])
    model.elbo(batch).objective.sum().backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing


def test_with_one_draw_the_importance_weighted_bound_is_the_bound_in_expectation():
    problem = LinearGaussian([0.0, 0.5, 1.0])
    model = problem.model()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        many = torch.stack([model.importance_bound(problem.batch, 1, generator) for _ in range(100)])
        elbo = model.elbo(problem.batch, 5000, generator=generator).value
    assert abs(float(many.mean() - elbo)) < 4 * float(many.std()) / len(many) ** 0.5
