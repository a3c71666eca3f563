"""Images as rows of whole numbers, from small samples of the real ones."""

import pytest
import torch

from pipeline.tasks.density.config import DensityData
from pipeline.tasks.density.points import load_points
from tests.helpers.paths import ROOT


@pytest.fixture(autouse=True)
def _samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_DATA", str(ROOT / "tests" / "samples"))


@pytest.mark.parametrize(("size", "dimension"), [(None, 784), (14, 196), (8, 64)])
def test_fashion_mnist_is_had_in_three_sizes(size: int | None, dimension: int) -> None:
    data = load_points(DensityData(name="fashion_mnist", image_size=size), 0)  # type: ignore[arg-type]
    assert data.train.shape[1] == data.dimension == dimension
    assert data.train.dtype == torch.uint8
    assert data.preprocessing.image_shape == (1, round(dimension**0.5), round(dimension**0.5))
    whole = load_points(DensityData(name="fashion_mnist"), 0)
    means = [float(torch.from_numpy(one.preprocessing.rows(one.test)).mean()) for one in (data, whole)]
    assert means[0] == pytest.approx(means[1], abs=1.5)  # windows of 28 / 8 pixels overlap


def test_cifar10_has_three_channels() -> None:
    data = load_points(DensityData(name="cifar10", image_size=8), 0)
    assert data.preprocessing.image_shape == (3, 8, 8)
    assert data.dimension == 192
