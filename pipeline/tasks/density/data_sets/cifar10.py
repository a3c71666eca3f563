"""CIFAR-10: for bits per dimension."""

from functools import partial

from pipeline import plugins
from pipeline.data.image_rows import find_images, read_image_rows
from pipeline.data.points import Rows


@plugins.data_set(
    "cifar10",
    task="density",
    summary="50000 + 10000, 3 × 32 × 32 or less",
    origin="odenet data prepare cifar10 downloads it; no licence is said",
    where=partial(find_images, "cifar10"),
)
def cifar10() -> Rows:
    """CIFAR-10."""
    return read_image_rows("cifar10")
