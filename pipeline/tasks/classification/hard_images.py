"""How many evaluations each image takes, where every image has steps of its own."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from pipeline.data import Images
from pipeline.tasks.base import Report
from pipeline.tasks.classification import figures
from pipeline.tasks.classification.evaluation import Predictions
from pipeline.tasks.solver_grid import Setting


def hard_images_report(
    answers: Mapping[Setting, Predictions], images: Images, classes: Sequence[str], title: str
) -> Report:
    """Every image's own evaluations as a table; where they differ most, the images with the fewest and the most."""
    tables = []
    numbers = range(len(images)) if images.numbers is None else images.numbers.cpu().numpy()
    for setting, predictions in answers.items():
        columns = {
            "image": numbers,
            "label": predictions.labels,
            "predicted": predictions.logits.argmax(axis=1),
            "evaluations": predictions.nfe_per_image,
        }
        tables.append(pd.DataFrame({**setting.to_dict(), **columns}))
    shown, predictions = max(answers.items(), key=lambda answer: np.ptp(answer[1].nfe_per_image))
    title = f"{title}, {shown.solver.method} at rtol {shown.solver.rtol:g}"
    draw = partial(figures.plot_hard_images, images.pixels.cpu().numpy(), predictions, classes, title)
    return Report(
        test={},
        files={"evaluations_per_image.csv": pd.concat(tables).to_csv(index=False).encode()},
        figures={"hard_images.png": draw},
    )
