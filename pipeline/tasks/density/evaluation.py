"""How good a density is, and how far its numbers can be believed."""

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pipeline.config import SolverConfig
from pipeline.flows.check import integral, tightened
from pipeline.ode.counts import nfe_forward, ode_blocks
from pipeline.tasks.base import Progress
from pipeline.tasks.density.network import DensityNetwork
from pipeline.tasks.density.points import DensityPoints
from pipeline.util.array_types import FloatArray

CHECKED = 1000
"""Test points on which the numerical errors are measured."""
DRAWS = 8
"""Of the probes, for the standard deviation of an estimate."""
MATCHED = 10_000
"""Samples of a KL divergence."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a density says of the test points.

    Attributes:
        log_prob: of each in nats, shape (n,); of images on [0, 1]^D.
        network: in evaluation mode.
        nfe_per_batch: evaluations of each batch, summed over the flows; empty for a density without an ODE.
        checks: metrics that are found out beside, by the names of `test.X`.
    """

    log_prob: FloatArray
    network: DensityNetwork
    nfe_per_batch: tuple[int, ...] = ()
    checks: Mapping[str, float] = field(default_factory=dict)


@torch.no_grad()
def predict(network: DensityNetwork, data: DensityPoints, batch_size: int, progress: Progress) -> Answers:
    """The log-densities of the test points, in evaluation mode."""
    network.eval()
    found, evaluations = [], []
    for number, points in enumerate(data.test.split(batch_size)):
        found.append(network.density.log_prob(points, generator=torch.Generator().manual_seed(number)).value)
        if (nfe := nfe_forward(network)) is not None:
            evaluations.append(nfe)
        progress(len(points))
    log_prob = torch.cat(found) + data.test_slope
    return Answers(log_prob.double().cpu().numpy(), network, tuple(evaluations))


@torch.no_grad()
def examine(network: DensityNetwork, data: DensityPoints, is_matching: bool) -> dict[str, float]:
    """The numerical errors of the likelihood as the network is solved now, and what samples take."""
    density, points = network.density, data.test[:CHECKED]
    found = {"nll_shift": shift(network, points)}
    if data.dimension <= 2:
        total = integral(density, points)
        assert total is not None
        found["integral"] = total.value
    if hasattr(density, "inverse"):
        found["round_trip"] = float((density(density.inverse(points)) - points).abs().max())
    density.sample(len(points), 0)
    if (evaluations := nfe_forward(network)) is not None:
        found["nfe_sample"] = evaluations
        found["trace_sd"] = _deviation_of_the_trace(network, points)
    if is_matching:
        found |= _divergence(network, data)
    return found


def shift(network: DensityNetwork, points: Tensor) -> float:
    """What the mean of -log p of the points is more by at a hundredth of the tolerances and in float64."""
    exact = copy.deepcopy(network).double()
    for block in ode_blocks(exact):
        block.solver = tightened(block.solver)
    return mean_nll(exact, points.double()) - mean_nll(network, points)


def mean_nll(network: DensityNetwork, points: Tensor) -> float:
    """Mean of -log p of points as the flow sees them, its probes by one seed."""
    with torch.no_grad():
        found = network.density.log_prob(points, generator=torch.Generator().manual_seed(0))
    return -float(found.value.double().mean())


def shift_between(network: DensityNetwork, points: Tensor, solver: SolverConfig, other: SolverConfig) -> float:
    """What the mean of -log p is more by with the other solver than with the first."""
    blocks = ode_blocks(network)
    before, found = [block.solver for block in blocks], []
    try:
        for chosen in (solver, other):
            for block in blocks:
                block.solver = chosen
            found.append(mean_nll(network, points))
    finally:
        for block, own in zip(blocks, before, strict=True):
            block.solver = own
    return found[1] - found[0]


def _deviation_of_the_trace(network: DensityNetwork, points: Tensor) -> float:
    """Root mean square over the points of what other probes change of a log-density; 0 where the trace is exact."""
    if not getattr(network.density, "is_estimated", False):
        return 0.0
    generator = torch.Generator().manual_seed(0)
    values = torch.stack([network.density.log_prob(points, generator=generator).value for _ in range(DRAWS)])
    return float(values.double().var(0).mean().sqrt())


def _divergence(network: DensityNetwork, data: DensityPoints) -> dict[str, float]:
    """KL(q‖p) from samples of the model."""
    assert data.log_density is not None
    chance = torch.Generator().manual_seed(1)  # those of seed 0 chose the best epoch, in validation
    points, found = network.density.rsample_and_log_prob(MATCHED, chance)
    differences = (found.value - data.log_density(points)).double()
    return {"kl": float(differences.mean()), "kl_se": float(differences.std() / MATCHED**0.5)}


def scores(answers: Answers, data: DensityPoints) -> dict[str, float]:
    """Metrics by the names of `test.X`; those that the data have not are left out."""
    nll = -answers.log_prob
    found = {"nll": float(nll.mean())}
    if len(nll) > 1:
        found["nll_se"] = float(nll.std(ddof=1) / len(nll) ** 0.5)
    if (dequantisation := data.preprocessing.dequantisation) is not None:
        bits = dequantisation.bits_per_dimension(torch.from_numpy(answers.log_prob), data.dimension)
        found["bits_per_dim"] = float(bits.mean())
    if (true_nll := data.true_nll()) is not None:
        found["excess"] = found["nll"] - true_nll
    return {**found, **answers.checks}


def to_npz(answers: Answers, data: DensityPoints) -> bytes:
    """Log-densities, and by what the points are known again, as they are stored."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, log_prob=answers.log_prob, points_sha256=np.array(data.test_sha256()))
    return buffer.getvalue()
