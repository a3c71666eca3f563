"""The original file of the Human Activity data: places of four tags on people who walk, sit, fall and lie.

Source: Kaluža et al. 2010, *An agent-based approach to care in independent living*; UCI Machine Learning Repository,
*Localization Data for Person Activity*, CC BY 4.0.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.series_set import RecordedSeries, SeriesSet
from pipeline.util.errors import brief
from pipeline.util.paths import data_folder

FILE = "ConfLongDemo_JSI.txt"
ADDRESS = "archive.ics.uci.edu/dataset/196"
TAGS = {
    "010-000-024-033": "left ankle",
    "010-000-030-096": "right ankle",
    "020-000-033-111": "chest",
    "020-000-032-221": "belt",
}
CLASSES = {
    "walking": "walking",
    "falling": "falling",
    "lying down": "lying",
    "lying": "lying",
    "sitting down": "sitting",
    "sitting": "sitting",
    "standing up from lying": "standing up",
    "standing up from sitting": "standing up",
    "standing up from sitting on the ground": "standing up",
    "on all fours": "on all fours",
    "sitting on the ground": "sitting on the ground",
}
"""Activity -> class: the eleven become seven, as Rubanova, Chen & Duvenaud 2019 have them."""
TICKS = 1e7
"""Of the file's clock, in a second."""
STEP = 0.1
"""Seconds that times are rounded to, so that the tags of one moment are one row."""
LONGEST = 211
"""Times of a series, as Rubanova, Chen & Duvenaud 2019 cut it."""


def human_activity_file() -> Path | None:
    """Where the file lies; None while it is missing."""
    path = data_folder() / "human_activity" / FILE
    return path if path.is_file() else None


def read_human_activity(path: Path) -> SeriesSet:
    """Stretches of one activity of at most 211 times, in seconds; the label is the activity.

    Rubanova, Chen & Duvenaud 2019 label every time and not every series; their accuracies are of another question.

    Raises:
        DataError: the file is missing or damaged.
    """
    classes = tuple(dict.fromkeys(CLASSES.values()))
    channels = tuple(f"{tag} {axis}" for tag in TAGS.values() for axis in "xyz")
    series = tuple(_stretches(path, classes))
    if not series:
        raise DataError(f"{path} has no rows of {len(TAGS)} tags: get it again from {ADDRESS}")
    return SeriesSet(series, channels, classes, time="seconds", scaling="range")


def _stretches(path: Path, classes: tuple[str, ...]) -> Iterator[RecordedSeries]:
    tags = list(TAGS)
    moments: dict[tuple[str, int], np.ndarray] = {}
    activities: dict[tuple[str, int], str] = {}
    for number, row in _rows(path):
        try:
            person, tag, ticks, activity = row[0], tags.index(row[1]), int(row[2]), CLASSES[row[7].strip()]
            place = [float(cell) for cell in row[4:7]]
        except (ValueError, KeyError, IndexError) as error:
            raise DataError(f"{path}, row {number}: {brief(','.join(row))} is no place of a tag") from error
        key = person, round(ticks / TICKS / STEP)
        moments.setdefault(key, np.full(3 * len(tags), np.nan))[3 * tag : 3 * tag + 3] = place
        activities.setdefault(key, activity)
    stretch: list[tuple[str, int]] = []
    for key in [*sorted(moments), ("", 0)]:
        is_over = bool(stretch) and (
            key[0] != stretch[0][0] or activities[key] != activities[stretch[0]] or len(stretch) == LONGEST
        )
        if is_over:
            times = STEP * np.array([time - stretch[0][1] for _, time in stretch], dtype=np.float64)
            values = np.stack([moments[one] for one in stretch])
            name = f"{stretch[0][0]} from {stretch[0][1] * STEP:.1f} s"
            yield RecordedSeries(name, times, values, classes.index(activities[stretch[0]]))
            stretch = []
        stretch.append(key)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(newline="", errors="replace") as file:
            yield from ((number, row) for number, row in enumerate(csv.reader(file), start=1) if row)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: put it there, from {ADDRESS}") from None
