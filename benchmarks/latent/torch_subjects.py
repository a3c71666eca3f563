"""The step in torchdiffeq's hands, and in ours."""

import os
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.latent.model import DIMENSIONS, LATENT, RECURRENT, LatentModel
from benchmarks.latent.problem import NOISE, LatentProblem
from pipeline.config import SolverConfig
from pipeline.device.host_memory import keep_freed_memory
from pipeline.series import (
    Decoder,
    Encoder,
    LatentField,
    LatentODE,
    ObservationNoise,
    Posterior,
    RNNCell,
    Series,
    SeriesBatch,
    collate,
)


class Torchdiffeq:
    """As in its example: a loop over the times in the encoder, then `odeint` or `odeint_adjoint`."""

    def __init__(self, problem: LatentProblem, rtol: float, atol: float, is_adjoint: bool) -> None:
        from torchdiffeq import odeint, odeint_adjoint

        self._problem, self.model = problem, problem.model()
        self._tolerances = {"rtol": rtol, "atol": atol}
        self._odeint = odeint_adjoint if is_adjoint else odeint

    def step(self) -> float:
        self.model.zero_grad()
        problem = self._problem
        loss = self.model.loss(problem.values, problem.times, problem.draw, NOISE, self._solve)
        loss.backward()
        return float(loss.detach())

    def gradient(self) -> np.ndarray:
        return nn.utils.parameters_to_vector([p.grad for p in self.model.parameters()]).double().numpy()

    def evaluations(self) -> tuple[int, int]:
        calls: list[None] = []
        counter = self.model.field.register_forward_hook(lambda *_: calls.append(None))
        with torch.no_grad():
            problem = self._problem
            self.model.loss(problem.values, problem.times, problem.draw, NOISE, self._solve)
        forward = len(calls)
        self.step()
        counter.remove()
        return forward, len(calls) - 2 * forward

    def _solve(self, field: nn.Module, z0: Tensor, times: Tensor) -> Tensor:
        return self._odeint(field, z0, times, method="dopri5", **self._tolerances)


class _Drawn(nn.Module):
    """An encoder whose posterior draws what the problem says."""

    def __init__(self, encoder: Encoder, draw: Tensor) -> None:
        super().__init__()
        self.encoder, self._draw = encoder, draw

    def forward(self, batch: SeriesBatch, time_unit: float) -> Posterior:
        return _DrawnPosterior(*self.encoder(batch, time_unit), self._draw)


class _DrawnPosterior(Posterior):
    def __new__(cls, mean: Tensor, sd: Tensor, draw: Tensor) -> "_DrawnPosterior":
        made = super().__new__(cls, mean, sd)
        made.draw = draw
        return made

    def sample(self, samples: int, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        return torch.addcmul(self.mean, self.sd, self.draw).unsqueeze(0)


class Ours:
    """A LatentODE of `pipeline.series` with the model's weights."""

    def __init__(self, problem: LatentProblem, rtol: float, atol: float, is_compiled: bool = False) -> None:
        keep_freed_memory()  # as our training does, and others leave to their users
        self._batch = collate([Series(problem.times, values) for values in problem.values])
        self._cell = RNNCell(DIMENSIONS, RECURRENT, sees_mask=False)
        self._encoder = Encoder(self._cell, LATENT)
        self.model = LatentODE(
            _Drawn(self._encoder, problem.draw),
            LatentField(LATENT, (20, 20), "elu"),
            Decoder(LATENT, DIMENSIONS, (20,), "relu"),
            ObservationNoise(DIMENSIONS, NOISE, is_learned=False),
            SolverConfig(rtol=rtol, atol=atol, gradient="direct"),
        )
        self.take(nn.utils.parameters_to_vector(problem.model().parameters()))
        self.model.is_compiled = is_compiled
        if is_compiled:
            self._code = TemporaryDirectory()  # of this process alone: the first step finds nothing compiled before
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = self._code.name

    def step(self) -> float:
        self.model.zero_grad()
        loss = -self.model.elbo(self._batch).objective.mean()
        loss.backward()
        return float(loss.detach())

    def gradient(self) -> np.ndarray:
        """In the order of the plain model, whose recurrent layer has the weights of values and state side by side."""
        gradients = [parameter.grad for parameter in self._parameters()]
        first = torch.cat([gradients[0], gradients[1]], dim=1)
        return nn.utils.parameters_to_vector([first, *gradients[2:]]).double().numpy()

    def evaluations(self) -> tuple[int, int]:
        self.step()
        statistics = self.model.statistics
        return statistics.nfe_forward, statistics.nfe_backward or 0

    def _parameters(self) -> list[nn.Parameter]:
        cell, model = self._cell, self.model
        recurrent = [cell.of_inputs.weight, cell.of_state.weight, cell.of_inputs.bias]
        return [*recurrent, *self._encoder.head.parameters(), *model.field.parameters(), *model.decoder.parameters()]

    @torch.no_grad()
    def take(self, weights: Tensor) -> None:
        """Go on with these weights, in the order of the plain model."""
        plain = LatentModel()
        nn.utils.vector_to_parameters(weights, plain.parameters())
        recurrent, *others = (parameter.detach() for parameter in plain.parameters())
        given = [recurrent[:, :DIMENSIONS], recurrent[:, DIMENSIONS:], *others]
        for parameter, value in zip(self._parameters(), given, strict=True):
            parameter.copy_(value)
