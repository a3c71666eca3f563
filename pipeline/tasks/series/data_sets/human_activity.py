"""Places of tags on people, from the original file."""

from pipeline import plugins
from pipeline.data.human_activity import ADDRESS, FILE, human_activity_file, read_human_activity
from pipeline.data.series_set import SeriesSet
from pipeline.util.paths import data_folder


@plugins.data_set(
    "human_activity",
    task="series",
    summary="12 channels, 7 classes",
    origin=f"put {FILE} of {ADDRESS} (CC BY 4.0) into human_activity of the data folder",
    where=human_activity_file,
)
def read() -> SeriesSet:
    """Stretches of one activity of five people; the label is the activity."""
    return read_human_activity(data_folder() / "human_activity" / FILE)
