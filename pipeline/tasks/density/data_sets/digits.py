"""scikit-learn's digits: for bits per dimension."""

from functools import partial

from pipeline import plugins
from pipeline.data.image_rows import find_images, read_image_rows
from pipeline.data.points import Rows


@plugins.data_set(
    "digits",
    task="density",
    summary="1437 + 360, 8 × 8, 17 levels",
    origin="comes with scikit-learn; UCI, CC BY 4.0",
    where=partial(find_images, "digits"),
)
def digits() -> Rows:
    """scikit-learn's digits."""
    return read_image_rows("digits", levels=17)
