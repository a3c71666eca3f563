"""HEPMASS, of Papamakarios et al. 2017."""

from pipeline import plugins
from pipeline.data.points import Rows
from pipeline.data.published_tables import HEPMASS_TEST, HEPMASS_TRAIN, ORIGINS, read_hepmass, where


@plugins.data_set(
    "hepmass",
    task="density",
    summary="315123 + 35013 + 174987, 21 numbers",
    origin=ORIGINS[HEPMASS_TRAIN],
    where=where(HEPMASS_TRAIN, HEPMASS_TEST),
)
def hepmass() -> Rows:
    """HEPMASS."""
    return read_hepmass()
