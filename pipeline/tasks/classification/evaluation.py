"""How good a trained network is on images it has not seen: numbers alone, no drawing and no files."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from pipeline.data import Images, Preprocessing, batches
from pipeline.ode.counts import nfe_forward, nfe_per_sample
from pipeline.util.array_types import FloatArray, IntArray
from pipeline.util.errors import InvalidInput, OdenetError

MEAN_ROC_GRID = np.linspace(0, 1, 1001)
"""False positive rates at which the classes' ROC curves are averaged."""
STORED_CURVE_POINTS = 200
"""Points of a curve that `Evaluation.to_dict` keeps."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network answered for n images."""

    logits: FloatArray
    """Shape (n, classes), float32. Kept instead of the probabilities, whose logarithm can underflow."""
    labels: IntArray
    """The true classes, shape (n,)."""
    nfe_per_batch: tuple[int, ...] = ()
    """Function evaluations of each batch's forward pass, summed over ODE blocks; empty for a ResNet."""
    nfe_per_image: tuple[int, ...] = ()
    """Those that each image took part in; empty where the images of a batch share their steps."""

    @property
    def probabilities(self) -> FloatArray:
        """Softmax of the logits, shape (n, classes), float32."""
        return torch.from_numpy(self.logits).softmax(dim=1).numpy()

    def to_npz(self) -> bytes:
        """Probabilities and labels, as they are stored."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, probabilities=self.probabilities, labels=self.labels)
        return buffer.getvalue()

    @classmethod
    def from_npz(cls, content: bytes) -> "Predictions":
        """What `to_npz` gave, with logits that have the same probabilities.

        Raises:
            ValueError: it is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                probabilities, labels = stored["probabilities"], stored["labels"]
        except (KeyError, BadZipFile) as error:
            raise ValueError("no predictions") from error
        return cls(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)), labels)


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores of each class against the rest, arrays of shape (classes,); NaN where a score is 0/0."""

    precision: FloatArray
    recall: FloatArray
    f1: FloatArray
    support: IntArray
    """Test images of the class."""


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision over recall as the threshold falls, with the average precision."""

    recall: FloatArray
    precision: FloatArray
    average_precision: float


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """One curve a class (None for a class without test images) and their means."""

    per_class: tuple[PrecisionRecallCurve | None, ...]
    micro: PrecisionRecallCurve
    """All (image, class) decisions pooled."""
    macro_average_precision: float
    """Mean over the classes that have a curve."""


@dataclass(frozen=True, eq=False)
class RocCurve:
    """True positive rate over false positive rate as the threshold falls, with the area below."""

    false_positive_rate: FloatArray
    true_positive_rate: FloatArray
    area: float


@dataclass(frozen=True, eq=False)
class Roc:
    """One curve a class (None where a class is absent or the only one) and their mean."""

    per_class: tuple[RocCurve | None, ...]
    macro: RocCurve | None
    """The mean of the classes' curves; its area is the mean of their areas. None where no class has one."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of one network on one set of labelled images."""

    loss: float
    """Mean negative log likelihood, nats per image."""
    accuracy: float
    classes: tuple[str, ...]
    per_class: ClassScores
    confusion: IntArray
    """Counts of images, shape (true class, predicted class)."""
    precision_recall: PrecisionRecall
    roc: Roc
    nfe_per_batch: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: finite numbers, null for what is undefined, curves thinned to about 200 points."""
        scores, pr, roc = self.per_class, self.precision_recall, self.roc
        return {
            "loss": self.loss,
            "accuracy": self.accuracy,
            "classes": list(self.classes),
            "per_class": {
                "precision": _finite_or_null(scores.precision),
                "recall": _finite_or_null(scores.recall),
                "f1": _finite_or_null(scores.f1),
                "support": scores.support.tolist(),
            },
            "confusion": self.confusion.tolist(),
            "precision_recall": {
                "per_class": [_precision_recall_dict(curve) for curve in pr.per_class],
                "micro": _precision_recall_dict(pr.micro),
                "macro_average_precision": pr.macro_average_precision,
            },
            "roc": {
                "per_class": [_roc_dict(curve) for curve in roc.per_class],
                "macro": _roc_dict(roc.macro),
            },
            "nfe_per_batch": list(self.nfe_per_batch),
        }


def predict(
    model: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> Predictions:
    """The network's answers for all `images`, in evaluation mode and float32; leaves it in that mode.

    Args:
        progress: called after each batch with the number of images in it.
    """
    model.eval()
    logits, labels, nfe_per_batch, nfe_per_image = [], [], [], []
    with torch.no_grad():
        for pixels, batch_labels in batches(images, batch_size):
            logits.append(model(preprocessing.for_evaluation(pixels)).float())
            labels.append(batch_labels)
            if (nfe := nfe_forward(model)) is not None:
                nfe_per_batch.append(nfe)
            nfe_per_image += nfe_per_sample(model) or []
            if progress is not None:
                progress(len(pixels))
    return Predictions(
        logits=torch.cat(logits).cpu().numpy(),
        labels=torch.cat(labels).cpu().numpy(),
        nfe_per_batch=tuple(nfe_per_batch),
        nfe_per_image=tuple(nfe_per_image),
    )


def score(predictions: Predictions, classes: tuple[str, ...]) -> Evaluation:
    """All scores of the predictions; `classes` names the columns of the logits in order.

    Raises:
        InvalidInput: no images, or names or labels that do not fit the logits.
        OdenetError: logits that are not finite.
    """
    from sklearn import metrics  # takes a second to import, which a training does not wait for

    _check(predictions, classes)
    logits, labels = predictions.logits, predictions.labels
    probabilities = predictions.probabilities
    predicted = logits.argmax(axis=1)
    indices = np.arange(len(classes))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=indices, zero_division=np.nan
    )
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    return Evaluation(
        loss=float(loss),
        accuracy=float((predicted == labels).mean()),
        classes=classes,
        per_class=ClassScores(precision, recall, f1, support.astype(np.int64)),
        confusion=metrics.confusion_matrix(labels, predicted, labels=indices),
        precision_recall=_precision_recall(labels, probabilities),
        roc=_roc(labels, probabilities),
        nfe_per_batch=predictions.nfe_per_batch,
    )


def _check(predictions: Predictions, classes: tuple[str, ...]) -> None:
    logits, labels = predictions.logits, predictions.labels
    images, outputs = logits.shape
    if images == 0:
        raise InvalidInput("there are no images to score; give at least one")
    if outputs != len(classes):
        raise InvalidInput(f"the network has {outputs} outputs but {len(classes)} classes are named")
    if labels.shape != (images,):
        raise InvalidInput(f"{images} predictions need as many labels, not {labels.shape}")
    if labels.min() < 0 or labels.max() >= outputs:
        wrong = labels[(labels < 0) | (labels >= outputs)][0]
        raise InvalidInput(f"label {wrong} is outside 0 to {outputs - 1}, the classes of the network")
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise OdenetError(
            f"the network's outputs are not finite for {broken} of {images} images: training has diverged, "
            "try a smaller learning rate"
        )


def _precision_recall(labels: IntArray, probabilities: FloatArray) -> PrecisionRecall:
    positives = labels[:, None] == np.arange(probabilities.shape[1])  # (n, classes)
    per_class = tuple(
        _precision_recall_curve(positives[:, k], probabilities[:, k]) if positives[:, k].any() else None
        for k in range(probabilities.shape[1])
    )
    return PrecisionRecall(
        per_class=per_class,
        micro=_precision_recall_curve(positives.ravel(), probabilities.ravel()),
        macro_average_precision=float(np.mean([c.average_precision for c in per_class if c is not None])),
    )


def _precision_recall_curve(positive: npt.NDArray[np.bool_], scores: FloatArray) -> PrecisionRecallCurve:
    from sklearn import metrics  # here, as in `score`

    precision, recall, _ = metrics.precision_recall_curve(positive, scores, drop_intermediate=True)
    average_precision = float(metrics.average_precision_score(positive, scores))
    # scikit-learn starts at full recall
    return PrecisionRecallCurve(recall[::-1], precision[::-1], average_precision)


def _roc(labels: IntArray, probabilities: FloatArray) -> Roc:
    per_class = tuple(_roc_curve(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1]))
    curves = [curve for curve in per_class if curve is not None]
    if not curves:
        return Roc(per_class, macro=None)
    mean = np.mean([np.interp(MEAN_ROC_GRID, c.false_positive_rate, c.true_positive_rate) for c in curves], axis=0)
    area = float(np.mean([curve.area for curve in curves]))
    # interpolation takes the upper end of the first riser; the curve itself starts at the origin
    macro = RocCurve(np.insert(MEAN_ROC_GRID, 0, 0.0), np.insert(mean, 0, 0.0), area)
    return Roc(per_class, macro)


def _roc_curve(positive: npt.NDArray[np.bool_], scores: FloatArray) -> RocCurve | None:
    if positive.all() or not positive.any():
        return None
    from sklearn import metrics  # here, as in `score`

    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(positive, scores)
    return RocCurve(
        false_positive_rate,
        true_positive_rate,
        float(metrics.auc(false_positive_rate, true_positive_rate)),
    )


def _precision_recall_dict(curve: PrecisionRecallCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {
        "recall": _thinned(curve.recall),
        "precision": _thinned(curve.precision),
        "average_precision": curve.average_precision,
    }


def _roc_dict(curve: RocCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {
        "false_positive_rate": _thinned(curve.false_positive_rate),
        "true_positive_rate": _thinned(curve.true_positive_rate),
        "area": curve.area,
    }


def _thinned(values: FloatArray) -> list[float]:
    """At most STORED_CURVE_POINTS of the values, evenly spaced, with both ends."""
    kept = min(len(values), STORED_CURVE_POINTS)
    indices = np.linspace(0, len(values) - 1, kept).round().astype(int)
    return [float(value) for value in values[indices]]


def _finite_or_null(values: FloatArray) -> list[float | None]:
    return [float(value) if isfinite(value) else None for value in values]
