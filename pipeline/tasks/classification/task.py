"""Image classification: an ODE-Net or a residual network, trained by cross entropy, scored by accuracy."""

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.config import ConfigError, SolverConfig
from pipeline.data import Images, Preprocessing, Splits, build_preprocessing, load_splits
from pipeline.data.catalogue import is_of_user
from pipeline.data.forms import Forms
from pipeline.data.subset import draw_subset
from pipeline.device.precision import numerics
from pipeline.models import build_model
from pipeline.models.describe import NOTHING_TO_NORMALISE, describe
from pipeline.models.time_weights import curves
from pipeline.ode import SolverFailure
from pipeline.ode.regularisation import regularise
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.tasks import base
from pipeline.tasks.base import CONVERTED, Progress, Report, Task
from pipeline.tasks.classification import metric_specs
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.evaluation import Evaluation, Predictions, predict, score
from pipeline.tasks.classification.evaluation_data import load_test_split, without_labels
from pipeline.tasks.classification.objective import CrossEntropy, item_metrics, whole_split_metrics
from pipeline.tasks.classification.solver_dependence import solver_dependence
from pipeline.tasks.classification.unused_settings import warn_of_unused_settings
from pipeline.tasks.solver_grid import Row, Setting, spread, trained_setting
from pipeline.training import Objective
from pipeline.util.array_types import FloatArray
from pipeline.util.user_warnings import OdenetWarning

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ImageData:
    """The splits, and what turns their images into the network's input."""

    splits: Splits
    preprocessing: Preprocessing

    @property
    def sha256(self) -> str:
        return self.splits.fingerprint

    @property
    def test_items(self) -> int:
        return len(self.splits.test)

    @property
    def device(self) -> torch.device:
        return self.splits.test.pixels.device

    def to(self, device: torch.device) -> "ImageData":
        return ImageData(self.splits.to(device), self.preprocessing)


@dataclass(frozen=True)
class TrainedModel(base.TrainedModel[ClassificationConfig]):
    """A network with its best weights and all that is needed to use it."""

    preprocessing: Preprocessing
    classes: tuple[str, ...]


@plugins.task("classification")
class Classification(Task[ClassificationConfig, ImageData, Predictions]):
    """Images to classes."""

    config = ClassificationConfig
    result: ClassVar[str] = metric_specs.RESULT
    divides_batches: ClassVar[bool] = True

    @classmethod
    def metric_specs(cls) -> Sequence[MetricSpec]:
        return metric_specs.metric_specs()

    def load_data(self, config: ClassificationConfig) -> ImageData:
        splits = load_splits(config.data, config.seed, torch.device("cpu"))
        return ImageData(splits, build_preprocessing(config.data, splits.image_shape))

    def test_subset(self, data: ImageData, items: int) -> ImageData:
        test = data.splits.test
        rows = draw_subset(len(test), items, test.labels.cpu().numpy()).to(data.device)
        test = Images(test.pixels[rows], test.labels[rows], rows)
        return replace(data, splits=replace(data.splits, test=test))

    def build_model(self, config: ClassificationConfig, data: ImageData) -> nn.Module:
        classes = len(data.splits.classes)
        network = build_model(config.model, config.solver, data.preprocessing.output_shape, classes)
        regularise(network, config.regularisation)
        return network

    def objective(self, config: ClassificationConfig, data: ImageData) -> Objective:
        smoothing = config.training.label_smoothing
        return CrossEntropy(data.splits, data.preprocessing, config.regularisation, smoothing)

    def predict(
        self, model: nn.Module, config: ClassificationConfig, data: ImageData, progress: Progress
    ) -> Predictions:
        return predict(model, data.splits.test, data.preprocessing, config.evaluation.batch_size, progress)

    def scores(self, answers: Predictions, data: ImageData) -> dict[str, float]:  # noqa: ARG002
        logits, labels = torch.from_numpy(answers.logits), torch.from_numpy(answers.labels)
        # Not finite where any score is not: such a network has diverged, whatever its loss over the others.
        loss = float(nn.functional.cross_entropy(logits, labels)) if logits.isfinite().all() else math.nan
        return {**item_metrics(logits, labels), "loss": loss, **whole_split_metrics(logits, labels)}

    def report(self, answers: Predictions, config: ClassificationConfig, data: ImageData, title: str) -> Report:
        evaluation = score(answers, data.splits.classes)
        counts = evaluation.nfe_per_batch
        report = Report(
            test={
                **self.scores(answers, data),
                "accuracy": evaluation.accuracy,
                "loss": evaluation.loss,
                "images": len(answers.labels),
                "nfe_forward": float(np.mean(counts)) if counts else None,
                "nfe_per_image": spread(answers.nfe_per_image),
            },
            files={"evaluation.json": evaluation.to_dict(), "predictions.npz": answers.to_npz()},
            figures=_figures(evaluation, title),
        )
        if not answers.nfe_per_image:
            return report
        from pipeline.tasks.classification.hard_images import hard_images_report

        more = hard_images_report({trained_setting(self, config): answers}, data.splits.test, evaluation.classes, title)
        return Report(report.test, {**report.files, **more.files}, {**report.figures, **more.figures})

    def model_report(self, model: nn.Module, config: ClassificationConfig, data: ImageData, title: str) -> Report:  # noqa: ARG002
        of_weights = curves(model)
        if not of_weights:
            return Report(test={})
        from pipeline.reporting.time_weights_figure import plot_time_weights

        return Report(test={}, figures={"time_weights.png": partial(plot_time_weights, of_weights, title)})

    def stored_figures(self, artifact: Callable[[str], bytes], facts: Mapping[str, Any], title: str) -> Report:
        answers = Predictions.from_npz(artifact("predictions.npz"))
        evaluation = score(answers, tuple(facts["data"]["classes"]))
        # Of logits, whose probabilities are stored and may underflow.
        evaluation = replace(evaluation, loss=facts["test"]["loss"])
        return Report(test={}, figures=_figures(evaluation, title))

    def facts(self, config: ClassificationConfig, data: ImageData) -> dict[str, Any]:
        splits, shape = data.splits, data.preprocessing.output_shape
        if (config.model.stride or 1) > min(shape[1:]):
            said = f"model.stride={config.model.stride} is larger than the images ({shape[1]} × {shape[2]})"
            warnings.warn(OdenetWarning(f"{said}: the network sees one place of each; use a smaller one"), stacklevel=2)
        self._refuse_lone_image(config, data)
        description = describe(config.model, shape, len(splits.classes)).to_dict()
        return {
            "data": {
                "sha256": splits.fingerprint,
                "classes": list(splits.classes),
                "image_shape": list(shape),
                "training_images": len(splits.train),
                "validation_images": len(splits.validation),
                "test_images": len(splits.test),
                **({CONVERTED: list(splits.notes)} if splits.notes else {}),
            },
            "parameters": description["parameters"],
            "multiply_adds": description["multiply_adds"],
            "ode_blocks": description["ode_blocks"],
        }

    def _refuse_lone_image(self, config: ClassificationConfig, data: ImageData) -> None:
        """Batch normalisation has nothing to normalise in a batch of one image whose maps are 1 × 1."""
        images, size = data.splits.train, config.training.batch_size
        if size > 1 and len(images) % size != 1:
            return
        network = copy.deepcopy(self.build_model(config, data)).train()  # a module of one's own is not to learn of it
        if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
            return
        lone = data.preprocessing.for_training(images.pixels[:1].cpu(), torch.Generator())
        lone = lone.to(next((parameter.device for parameter in network.parameters()), None))  # it may be on a GPU
        try:
            with torch.no_grad():
                network(lone)
        except SolverFailure:  # which the training tells of
            return
        except ValueError as error:
            if NOTHING_TO_NORMALISE not in str(error):
                raise
            raise ConfigError(
                f"training.batch_size={size} leaves one of the {len(images)} training images for the last batch, and "
                "batch normalisation needs more where maps are 1 × 1: use another training.batch_size, or "
                "model.normalisation=group"
            ) from error

    def test_facts(self, data: ImageData) -> dict[str, Any]:
        channels, height, width = data.splits.test.pixels.shape[1:]
        return {
            "sha256": data.splits.fingerprint,
            "classes": list(data.splits.classes),
            "image_shape": [channels, height, width],
            "test_images": len(data.splits.test),
        }

    def warm_up(self, model: nn.Module, config: ClassificationConfig, data: ImageData) -> None:
        size, test = config.evaluation.batch_size, data.splits.test
        predict(model, Images(test.pixels[:size], test.labels[:size]), data.preprocessing, size)

    def restore(self, config: ClassificationConfig, facts: Mapping[str, Any], solver: SolverConfig) -> TrainedModel:
        channels, height, width = facts["data"]["image_shape"]
        preprocessing = build_preprocessing(config.data, (channels, height, width))
        classes = tuple(facts["data"]["classes"])
        network = build_model(config.model, solver, preprocessing.output_shape, len(classes))
        return TrainedModel(network, config, preprocessing, classes)

    def evaluation_data(self, trained: TrainedModel, name: str | None) -> ImageData:
        config = trained.config.data
        if name is None or name == config.name:
            forms = Forms.square(config.image_size, config.test_fraction)
        else:
            _, height, width = trained.preprocessing.output_shape
            size = (height, width) if config.image_size is None else (config.image_size, config.image_size)
            config, forms = config.of(name), Forms(size, test_fraction=None)
        splits = load_test_split(config, trained.preprocessing, trained.classes, forms)
        return ImageData(splits, trained.preprocessing)

    def data_notes(self, trained: TrainedModel, data: ImageData, recorded_sha256: str, run_id: int) -> list[str]:
        name, notes = data.splits.name, []
        if name != trained.config.data.name:
            notes += [f"{name}: {note}" for note in data.splits.notes]
        elif data.splits.fingerprint != recorded_sha256:
            said = f"the arrays of {name} are not those that run {run_id} was trained on"
            if is_of_user(name):
                said += (
                    ": where the test images are held out by chance, some of them may have been among its training's"
                )
            return [said]
        if data.splits.classes != trained.classes:
            notes.append(f"the classes of {name} have other names than the network's: they are matched in order")
        return notes

    def changed(self, answers: Predictions, reference: Predictions) -> float:
        return float((answers.logits.argmax(axis=1) != reference.logits.argmax(axis=1)).mean())

    def grid_report(
        self, rows: Sequence[Row], answers: Mapping[Setting, Predictions], data: ImageData, title: str
    ) -> Report:
        from pipeline.tasks.classification.hard_images import hard_images_report
        from pipeline.tasks.classification.solver_figures import plot_solvers

        test = data.splits.test
        apart = {setting: predictions for setting, predictions in answers.items() if predictions.nfe_per_image}
        found = hard_images_report(apart, test, data.splits.classes, title) if apart else Report(test={})
        if any(row.nfe_forward is not None for row in rows):
            solvers = {"solvers.png": partial(plot_solvers, rows, len(test), title)}
            found = Report({}, found.files, {**solvers, **found.figures})
        return found

    def grid_warning(self, rows: Sequence[Row], items: int) -> str | None:
        return solver_dependence(rows, items)

    def warn(self, config: ClassificationConfig) -> None:
        warn_of_unused_settings(config)


def class_probabilities(model: TrainedModel, pixels: Tensor) -> FloatArray:
    """The probability of each class for each image, shape (n, classes), under the setting of the training.

    Args:
        pixels: uint8, shape (n, channels, height, width), as the network takes them, on its device.

    Raises:
        SolverFailure: the solve could not reach its end time.
    """
    images = without_labels(pixels)
    with numerics(model.config.training, pixels.device):
        return predict(model.network, images, model.preprocessing, model.config.evaluation.batch_size).probabilities


def _figures(evaluation: Evaluation, title: str) -> dict[str, Callable[[], "Figure"]]:
    return {
        "confusion_matrix.png": lambda: _drawing().plot_confusion_matrix(evaluation, title),
        "classification_report.png": lambda: _drawing().plot_classification_report(evaluation, title),
        "precision_recall.png": lambda: _drawing().plot_precision_recall(evaluation, title),
        "roc.png": lambda: _drawing().plot_roc(evaluation, title),
    }


def _drawing() -> Any:
    """Imported by the first figure: a training does not wait for its libraries, nor end where they are broken."""
    from pipeline.tasks.classification import figures

    return figures
