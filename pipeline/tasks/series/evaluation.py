"""What a trained model says of the series of the test split, and how right it is."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pipeline.ode.counts import nfe_forward, nfe_per_sample
from pipeline.series import Forecaster, LatentODE, SeriesBatch
from pipeline.series.prediction import Prediction
from pipeline.tasks.plugin_metrics import number_of
from pipeline.tasks.series.config import SeriesConfig
from pipeline.tasks.series.metric_specs import metric_parts
from pipeline.tasks.series.objective import batches
from pipeline.tasks.series.splits import Split
from pipeline.util.array_types import FloatArray

if TYPE_CHECKING:
    from pipeline.tasks.series.shown import Shown

Model = LatentODE | Forecaster


@dataclass(frozen=True, eq=False)
class Answers:
    """Of n series of the test split: what was said of the values, and how likely they were.

    Attributes:
        values, truth, mean: shape (n, times, channels), in the scaled unit; the truth not a number where not known.
        mask: which values are known and scored, of the same shape; `wanted` those that were learned to be said.
        is_inside: which times are within the window, shape (n, times).
        is_after_first: which times are behind the first observation, of the same shape.
        levels: the probability of a smaller value than the observed one, shape of the values.
        per_series: name -> nats of each series, shape (n,): `elbo`, `kl`, `importance_bound`, or `log_likelihood`.
        counts: how many values these are of, shape (n,).
        labels: -1 where not known, shape (n,).
        class_scores: shape (n, classes); None without a classifier.
        latent_means, entropies: of the posterior, shapes (n, latent) and (n,); None without one.
        observed_counts: of times, shape (n,).
        nfe_per_batch: evaluations of each batch's prediction; none where nothing is solved.
        nfe_per_item: those of each state in them, where each has steps of its own.
        shown: for figures.
    """

    names: tuple[str, ...]
    values: FloatArray
    truth: FloatArray
    mean: FloatArray
    mask: Any
    wanted: Any
    is_inside: Any
    is_after_first: Any
    levels: FloatArray
    per_series: Mapping[str, FloatArray]
    counts: Any
    labels: Any
    class_scores: FloatArray | None
    latent_means: FloatArray | None
    entropies: FloatArray | None
    observed_counts: Any
    nfe_per_batch: tuple[int, ...] = ()
    nfe_per_item: tuple[int, ...] = ()
    shown: "Shown | None" = None

    @property
    def series_rmse(self) -> FloatArray:
        """Of each series over all its scored values, shape (n,)."""
        errors = np.where(self.mask, (self.mean - self.values) ** 2, 0.0)
        found: FloatArray = np.sqrt(errors.sum((1, 2)) / np.maximum(self.mask.sum((1, 2)), 1))
        return found

    def to_npz(self, scale: Sequence[float]) -> bytes:
        """A row a series, as they are stored, and the unit of each channel's errors."""
        arrays: dict[str, Any] = {"names": np.array(self.names), "rmse": self.series_rmse, "counts": self.counts}
        arrays["scored"] = self.mask.sum((1, 2))
        arrays |= {"scale": np.array(scale), "labels": self.labels, "observed": self.observed_counts, **self.per_series}
        optional = {"class_scores": self.class_scores, "latent_means": self.latent_means, "entropies": self.entropies}
        buffer = io.BytesIO()
        arrays |= {name: one for name, one in optional.items() if one is not None}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()


@torch.no_grad()
def answer(
    model: Model, split: Split, config: SeriesConfig, batch_size: int, progress: Callable[[int], None] | None = None
) -> Answers:
    """What the model says of a split, in evaluation mode; the chance in it is the same every time.

    Args:
        progress: called after each batch with the number of series in it.
    """
    model.eval()
    found: list[Answers] = []
    for number, batch in enumerate(batches(split, batch_size)):
        found.append(_answer_batch(model, batch, config, torch.Generator().manual_seed(number)))
        if progress is not None:
            progress(len(batch))
    return _joined(found)


def _answer_batch(model: Model, split: Split, config: SeriesConfig, chance: torch.Generator) -> Answers:
    batch = split.batch
    prediction = model.predict(batch, batch.times, config.test_samples, chance)
    nfe, nfe_per_item = nfe_forward(model), nfe_per_sample(model) or ()
    truth = torch.full_like(batch.values, math.nan) if batch.truth is None else batch.truth
    posterior = model.posterior(batch) if isinstance(model, LatentODE) else None
    first = batch.times.masked_fill(~batch.observed.any(-1), torch.inf).amin(1, keepdim=True)
    return Answers(
        names=split.names,
        values=_array(batch.values),
        truth=_array(truth),
        mean=_array(prediction.mean),
        mask=_array(batch.mask),
        wanted=_array(batch.wanted),
        is_inside=_array(split.is_inside),
        is_after_first=_array(batch.times > first),
        levels=_array(_levels(prediction, batch)),
        per_series=_likelihoods(model, batch, config, chance),
        counts=_array(batch.wanted_counts if posterior is not None else batch.observed.sum((1, 2))),
        labels=_array(batch.labels),
        class_scores=_array(model.class_scores(batch)) if model.classifier is not None else None,
        latent_means=None if posterior is None else _array(posterior.mean),
        entropies=None if posterior is None else _array(posterior.entropy()),
        observed_counts=_array(batch.observed.any(-1).sum(1)),
        nfe_per_batch=() if nfe is None else (nfe,),
        nfe_per_item=tuple(nfe_per_item),
    )


def _likelihoods(model: Model, batch: SeriesBatch, config: SeriesConfig, chance: torch.Generator) -> dict[str, Any]:
    if isinstance(model, Forecaster):
        return {"log_likelihood": _array(model.log_likelihood(batch).value)}
    bound = model.elbo(batch, config.test_samples, generator=chance)
    tighter = model.importance_bound(batch, config.test_samples, chance)
    return {"elbo": _array(bound.value), "kl": _array(bound.kl), "importance_bound": _array(tighter)}


def _levels(prediction: Prediction, batch: SeriesBatch) -> Tensor:
    """The probability of a smaller value than the observed one."""
    total = torch.zeros_like(batch.values)
    for sample in prediction.samples:
        total += torch.special.ndtr((batch.values - sample) / prediction.noise)
    return total / len(prediction.samples)


def scores(answers: Answers) -> dict[str, float]:
    """The metrics that are defined, by the names of `test.X`."""
    inside = answers.mask & answers.is_inside[:, :, None]
    beyond = answers.mask & ~answers.is_inside[:, :, None]
    after_first = inside & answers.is_after_first[:, :, None]
    found: dict[str, float] = {}
    for name, target in (("rmse", answers.values), ("rmse_truth", answers.truth)):
        # The truth is known at every time, observed or not.
        known = np.isfinite(target)
        places = {"": answers.mask, "_inside": inside, "_after_first": after_first, "_beyond": beyond}
        for place, mask in places.items():
            if (some := mask & known).any():
                found[f"{name}{place}"] = float(np.sqrt(np.mean((answers.mean[some] - target[some]) ** 2)))
    learned = answers.mask & (beyond if _is_beyond(answers) else inside)
    found["mse_e2"] = 100 * float(np.mean((answers.mean[learned] - answers.values[learned]) ** 2))
    for level in (50, 90):
        margin = (1 - level / 100) / 2
        is_covered = (answers.levels >= margin) & (answers.levels <= 1 - margin)
        for place, mask in (("", answers.mask), ("_inside", inside), ("_beyond", beyond)):
            if mask.any():
                found[f"coverage_{level}{place}"] = float(np.mean(is_covered[mask]))
    for name, values in answers.per_series.items():
        found[name] = float(np.mean(values))
        if name in ("elbo", "log_likelihood"):
            found[f"{name}_per_value"] = float(np.sum(values) / np.sum(answers.counts))
    said, observed = (torch.from_numpy(array[answers.mask]) for array in (answers.mean, answers.values))
    found |= {part.name: number_of(part, said, observed) for part in metric_parts()}
    return found | _of_labels(answers)


def _is_beyond(answers: Answers) -> bool:
    """Whether what is learned to be said is beyond the window."""
    return bool(answers.wanted[~answers.is_inside].any())


def _of_labels(answers: Answers) -> dict[str, float]:
    known = answers.labels >= 0
    if answers.class_scores is None or not known.any():
        return {}
    labels, of_classes = answers.labels[known], answers.class_scores[known]
    found = {"accuracy": float((of_classes.argmax(axis=1) == labels).mean())}
    if of_classes.shape[1] == 2 and len(np.unique(labels)) == 2:
        from sklearn import metrics  # takes a second to import, which a training does not wait for

        found["auc"] = float(metrics.roc_auc_score(labels, of_classes[:, 1] - of_classes[:, 0]))
    return found


def thinned(split: Split, share: float, seed: int = 0) -> Split:
    """The split with a share of what is observed of each series, one time at least, drawn by the seed."""
    rows = split.batch.observed.any(-1)
    chance = torch.rand(rows.shape, generator=torch.Generator().manual_seed(seed)).to(rows.device)
    ranks = chance.masked_fill(~rows, 2.0).argsort(1).argsort(1)
    kept = ranks < (share * rows.sum(1)).round().clamp(min=1)[:, None]
    return replace(split, batch=replace(split.batch, observed=split.batch.observed & kept[:, :, None]))


def _joined(parts: Sequence[Answers]) -> Answers:
    first = parts[0]

    def together(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    arrays: tuple[str, ...] = (
        "values",
        "truth",
        "mean",
        "mask",
        "wanted",
        "is_inside",
        "is_after_first",
        "levels",
        "counts",
        "labels",
        "class_scores",
    )
    arrays += ("latent_means", "entropies", "observed_counts")
    return Answers(
        names=tuple(name for part in parts for name in part.names),
        per_series={name: np.concatenate([part.per_series[name] for part in parts]) for name in first.per_series},
        nfe_per_batch=tuple(nfe for part in parts for nfe in part.nfe_per_batch),
        nfe_per_item=tuple(nfe for part in parts for nfe in part.nfe_per_item),
        **{name: together(name) for name in arrays},
    )


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()
