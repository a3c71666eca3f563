"""MNIST: for bits per dimension."""

from functools import partial

from pipeline import plugins
from pipeline.data.image_rows import find_images, read_image_rows
from pipeline.data.points import Rows


@plugins.data_set(
    "mnist",
    task="density",
    summary="60000 + 10000, 28 × 28 or less",
    origin="odenet data prepare mnist downloads it; CC BY-SA 3.0",
    where=partial(find_images, "mnist"),
)
def mnist() -> Rows:
    """MNIST."""
    return read_image_rows("mnist")
