"""Fashion-MNIST: for bits per dimension."""

from functools import partial

from pipeline import plugins
from pipeline.data.image_rows import find_images, read_image_rows
from pipeline.data.points import Rows


@plugins.data_set(
    "fashion_mnist",
    task="density",
    summary="60000 + 10000, 28 × 28 or less",
    origin="odenet data prepare fashion_mnist downloads it; MIT",
    where=partial(find_images, "fashion_mnist"),
)
def fashion_mnist() -> Rows:
    """Fashion-MNIST."""
    return read_image_rows("fashion_mnist")
