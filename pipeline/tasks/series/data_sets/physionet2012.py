"""The challenge of PhysioNet 2012, from its original files."""

from pipeline import plugins
from pipeline.data.physionet import ADDRESS, FOLDER, physionet_folder, read_physionet
from pipeline.data.series_set import SeriesSet
from pipeline.util.paths import data_folder


@plugins.data_set(
    "physionet2012",
    task="series",
    summary="12,000 series, 37 channels",
    origin=f"put the files of {ADDRESS} (ODC-BY) into {FOLDER} of the data folder",
    where=physionet_folder,
)
def read() -> SeriesSet:
    """Stays in intensive care, 48 hours each; the label is death in hospital."""
    return read_physionet(data_folder() / FOLDER)
