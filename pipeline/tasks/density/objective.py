"""What densities are trained by: likelihood of points, or the divergence to a density."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.ode.counts import ode_blocks
from pipeline.ode.regularisation import weighted_penalty
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.network import DensityNetwork
from pipeline.tasks.density.points import VALIDATION, DensityPoints
from pipeline.training import BatchLoss, Objective


@dataclass(frozen=True)
class Batch:
    """Points, or an image's whole numbers, and log |dy/dx| of points that have one."""

    points: Tensor
    slope: Tensor | None = None


class MaximumLikelihood(Objective):
    """The mean of -log p of points in nats, those of images on [0, 1]^D."""

    def __init__(self, config: DensityConfig, data: DensityPoints) -> None:
        self._config, self._data = config, data

    @property
    def device(self) -> torch.device:
        return self._data.device

    @property
    def training_items(self) -> int:
        if self._data.sample is None:
            return len(self._data.train)
        return self._config.training.epoch_iterations * self._config.training.batch_size

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        train = self._data.train
        if self._data.sample is not None:
            seed = int(torch.randint(2**62, (), generator=generator))
            drawn = self._data.sample(self.training_items, np.random.default_rng(seed))
            train = torch.from_numpy(drawn.astype(np.float32)).to(self.device)
            order = torch.arange(len(train), device=self.device)
        else:
            order = torch.randperm(len(train), generator=generator).to(self.device)
        for chosen in order.split(batch_size):
            yield Batch(train[chosen])

    def validation_batches(self, batch_size: int) -> Iterator[Batch]:
        size = max(batch_size, self._config.evaluation.batch_size)
        for points, slope in zip(
            self._data.validation.split(size), self._data.validation_slope.split(size), strict=True
        ):
            yield Batch(points, slope)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator | None) -> BatchLoss:
        assert isinstance(model, DensityNetwork)
        points, slope = batch.points, batch.slope
        if generator is not None and self._data.preprocessing.dequantisation is not None:
            points, slope = self._data.preprocessing.dequantised(points, generator)
        generator = generator or torch.Generator().manual_seed(0)  # the validation's probes are always the same
        later = self._end_times(model, generator)
        found = model.density.log_prob(points, generator=generator, **later)
        nll = -(found.value if slope is None else found.value + slope).mean()
        if model.is_fitted:
            return BatchLoss(without_gradient(nll), len(points))
        return with_penalties(nll, len(points), found.penalties, self._config)

    def _end_times(self, model: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """In training, with `regularisation.end_time_spread`, when the solve of the batch begins to go back."""
        spread = self._config.regularisation.end_time_spread
        if not spread or not model.training or not ode_blocks(model):
            return {}
        return {"time": self._config.flow.final_time + spread * (2 * torch.rand((), generator=generator).item() - 1)}

    def example(self, batch_size: int) -> Tensor:
        """Points of the validation split: those of the others may still be whole numbers."""
        return self._data.validation[:1].expand(batch_size, -1).contiguous()


class DensityMatching(Objective):
    """KL(q‖p) in nats, from samples of the flow q to a density p."""

    def __init__(self, config: DensityConfig, data: DensityPoints) -> None:
        assert data.log_density is not None
        self._config, self._data, self._log_density = config, data, data.log_density

    @property
    def device(self) -> torch.device:
        return self._data.device

    @property
    def training_items(self) -> int:
        return self._config.training.epoch_iterations * self._config.training.batch_size

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[int]:  # noqa: ARG002 - draws later
        for _ in range(self._config.training.epoch_iterations):
            yield batch_size

    def validation_batches(self, batch_size: int) -> Iterator[int]:  # noqa: ARG002 - few enough
        yield VALIDATION

    def loss(self, model: nn.Module, batch: int, generator: torch.Generator | None) -> BatchLoss:
        assert isinstance(model, DensityNetwork)
        points, found = model.density.rsample_and_log_prob(batch, generator or torch.Generator().manual_seed(0))
        divergence = (found.value - self._log_density(points)).mean()
        return with_penalties(divergence, batch, found.penalties, self._config)

    def example(self, batch_size: int) -> Tensor:
        return self._data.validation[:1].expand(batch_size, -1).contiguous()


def with_penalties(loss: Tensor, items: int, penalties: Mapping[str, Tensor], config: DensityConfig) -> BatchLoss:
    """The loss of a batch, and what is added to it in training."""
    sums = {name: values.detach().sum() for name, values in penalties.items()}
    return BatchLoss(loss, items, sums, penalty=weighted_penalty(penalties, config.regularisation))


def without_gradient(loss: Tensor) -> Tensor:
    """The loss of what is fitted already: an optimiser that steps by it moves nothing.

    It reaches no parameter: of gradients of 0 weight decay would make steps.
    """
    return loss.detach() + loss.new_zeros((), requires_grad=True)
