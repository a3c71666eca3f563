"""Toy densities and targets: samples and densities say the same."""

from math import log, pi

import numpy as np
import pytest
import torch

from pipeline.data import target_densities, toy_densities
from pipeline.data.points import LogDensity, Sample, Target
from pipeline.data.target_grid import TargetGrid

KNOWN = {
    "two_moons": (toy_densities.sample_two_moons, toy_densities.log_two_moons, 2.0),
    "two_circles": (toy_densities.sample_two_circles, toy_densities.log_two_circles, 1.6),
    "rings": (toy_densities.sample_rings, toy_densities.log_rings, 3.8),
    "eight_gaussians": (toy_densities.sample_eight_gaussians, toy_densities.log_eight_gaussians, 5.0),
}
UNKNOWN = (toy_densities.sample_pinwheel, toy_densities.sample_spirals, toy_densities.sample_checkerboard)


def grid(half: float, cells: int = 400) -> tuple[torch.Tensor, float]:
    """Midpoints of cells over [-half, half]², and the area of one."""
    axis = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells * 2 * half - half
    return torch.cartesian_prod(axis, axis), (2 * half / cells) ** 2


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_density_integrates_to_one_and_has_the_entropy_of_its_samples(name: str) -> None:
    sample, log_density, half = KNOWN[name]
    places, area = grid(half)
    logs = torch.cat([log_density(part) for part in places.split(50_000)])
    assert float(logs.exp().sum()) * area == pytest.approx(1, abs=2e-4)
    entropy = -float((logs.exp() * logs).sum()) * area
    drawn = -log_density(torch.from_numpy(sample(20_000, np.random.default_rng(0))))
    assert abs(float(drawn.mean()) - entropy) < 4 * float(drawn.std()) / 20_000**0.5


@pytest.mark.parametrize("name", KNOWN)
def test_the_gradient_of_a_known_density_is_finite_at_its_centre(name: str) -> None:
    points = torch.zeros(1, 2, requires_grad=True)
    KNOWN[name][1](points).sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


@pytest.mark.parametrize("sample", [*(sample for sample, _, _ in KNOWN.values()), *UNKNOWN])
def test_samples_follow_from_the_generator_alone(sample: Sample) -> None:
    first, second = (sample(50, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (50, 2)
    assert not np.array_equal(first, sample(50, np.random.default_rng(4)))


def test_a_target_on_a_line_has_its_constant_and_its_moments() -> None:
    target = Target(target_densities.log_two_modes, target_densities.LINE)
    made = TargetGrid.of(target)
    assert made.log_normaliser == pytest.approx(log(2 * (2 * pi) ** 0.5), abs=1e-6)
    drawn = made.sample(50_000, np.random.default_rng(0))
    assert drawn.shape == (50_000, 1)
    assert drawn.mean() == pytest.approx(sum(target_densities.MODES) / 2, abs=0.04)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_potential_is_within_its_box_and_its_samples_have_its_density(number: int) -> None:
    log_density: LogDensity = getattr(target_densities, f"log_potential_{number}")
    made = TargetGrid.of(Target(log_density, target_densities.BOX))
    wider = TargetGrid.of(Target(log_density, tuple((2 * low, 2 * high) for low, high in target_densities.BOX)))
    assert made.log_normaliser == pytest.approx(wider.log_normaliser, abs=1e-3)
    drawn = torch.from_numpy(made.sample(40_000, np.random.default_rng(0)))
    places = torch.cartesian_prod(
        *(torch.linspace(low, high, 601, dtype=torch.float64) for low, high in target_densities.BOX)
    )
    weights = log_density(places).softmax(0)
    mean = (weights[:, None] * places).sum(0)
    error = drawn.std(0) / 40_000**0.5
    assert bool(((drawn.mean(0) - mean).abs() < 4 * error).all())
