"""The scores against examples worked out by hand, and the predictions of real networks."""

import json
from collections.abc import Iterator
from math import isnan, log

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline import plugins
from pipeline.config import ImageConfig, NetworkConfig, SolverConfig
from pipeline.data import Images, Preprocessing, Splits, build_preprocessing
from pipeline.models import Network, build_model
from pipeline.plugins import registry
from pipeline.tasks.classification.evaluation import STORED_CURVE_POINTS, Predictions, predict, score
from pipeline.tasks.classification.objective import CrossEntropy, item_metrics
from pipeline.util.errors import InvalidInput, OdenetError

silent = pytest.mark.filterwarnings("error")

SHAPE = (1, 8, 8)


def predictions_from(probabilities: list[list[float]], labels: list[int]) -> Predictions:
    return Predictions(np.log(np.array(probabilities, dtype=np.float32)), np.array(labels, dtype=np.int64))


@pytest.fixture
def four_images() -> Predictions:
    """Two classes; class 1 has the scores 0.1, 0.4, 0.35 and 0.8."""
    return predictions_from([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], [0, 0, 1, 1])


@pytest.fixture
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (10, *SHAPE), generator=generator, dtype=torch.uint8)
    return Images(pixels=pixels, labels=torch.arange(10) % 3)


@pytest.fixture
def preprocessing() -> Preprocessing:
    return build_preprocessing(ImageConfig(), SHAPE)


def small_network(**model: object) -> Network:
    torch.manual_seed(0)
    config = NetworkConfig(channels=4, augment=0, **model)
    return build_model(config, SolverConfig(method="euler", steps=3), SHAPE, outputs=3)


def test_loss_accuracy_and_confusions_are_those_worked_out_by_hand(four_images: Predictions) -> None:
    evaluation = score(four_images, ("cat", "dog"))
    assert evaluation.loss == pytest.approx(-(log(0.9) + log(0.6) + log(0.35) + log(0.8)) / 4)
    assert evaluation.accuracy == 0.75
    assert evaluation.confusion.tolist() == [[2, 0], [1, 1]]
    assert evaluation.per_class.precision.tolist() == pytest.approx([2 / 3, 1])
    assert evaluation.per_class.recall.tolist() == [1, 0.5]
    assert evaluation.per_class.f1.tolist() == pytest.approx([0.8, 2 / 3])
    assert evaluation.per_class.support.tolist() == [2, 2]


def test_precision_recall_curves_are_those_worked_out_by_hand(four_images: Predictions) -> None:
    curves = score(four_images, ("cat", "dog")).precision_recall
    dog = curves.per_class[1]
    assert dog is not None
    # dogs by falling score: right, wrong, right, wrong
    assert dog.recall.tolist() == [0, 0.5, 0.5, 1, 1]
    assert dog.precision.tolist() == pytest.approx([1, 1, 1 / 2, 2 / 3, 2 / 4])
    assert dog.average_precision == pytest.approx((1 + 2 / 3) / 2)
    # all eight decisions by falling score: + + - + - + - -
    assert curves.micro.average_precision == pytest.approx((1 + 1 + 3 / 4 + 4 / 6) / 4)
    assert curves.macro_average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_roc_curves_are_those_worked_out_by_hand(four_images: Predictions) -> None:
    roc = score(four_images, ("cat", "dog")).roc
    dog = roc.per_class[1]
    assert dog is not None
    assert dog.false_positive_rate.tolist() == [0, 0, 0.5, 0.5, 1]
    assert dog.true_positive_rate.tolist() == [0, 0.5, 0.5, 1, 1]
    assert dog.area == 0.75
    assert roc.macro is not None
    assert roc.macro.area == 0.75


def test_the_mean_roc_curve_runs_from_corner_to_corner_over_its_stated_area(four_images: Predictions) -> None:
    mean = score(four_images, ("cat", "dog")).roc.macro
    assert mean is not None
    x, y = mean.false_positive_rate, mean.true_positive_rate
    assert (x[0], y[0]) == (0, 0)
    assert (x[-1], y[-1]) == (1, 1)
    assert np.trapezoid(y, x) == pytest.approx(mean.area, abs=2e-3)


def test_the_loss_of_a_confident_mistake_does_not_underflow() -> None:
    sure = Predictions(np.array([[500, 0], [0, 500]], dtype=np.float32), np.array([1, 1]))
    assert score(sure, ("cat", "dog")).loss == 250


@silent
def test_a_class_without_test_images_has_no_curve_and_null_scores() -> None:
    evaluation = score(predictions_from([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], [0, 1]), ("cat", "dog", "eel"))
    assert isnan(evaluation.per_class.recall[2])
    assert evaluation.precision_recall.per_class[2] is None
    assert evaluation.roc.per_class[2] is None
    assert evaluation.precision_recall.macro_average_precision == 1
    stored = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert stored["per_class"]["recall"] == [1, 1, None]
    assert stored["per_class"]["support"] == [1, 1, 0]
    assert stored["roc"]["per_class"][2] is None


@silent
def test_a_class_that_is_never_predicted_has_recall_zero_and_no_precision() -> None:
    scores = score(predictions_from([[0.9, 0.1], [0.9, 0.1]], [0, 1]), ("cat", "dog")).per_class
    assert scores.recall[1] == 0
    assert scores.f1[1] == 0
    assert isnan(scores.precision[1])


@silent
def test_a_single_image_can_be_scored_though_it_has_no_roc_curve() -> None:
    evaluation = score(predictions_from([[0.25, 0.75]], [1]), ("cat", "dog"))
    assert evaluation.accuracy == 1
    assert evaluation.roc.macro is None
    json.dumps(evaluation.to_dict(), allow_nan=False)


@silent
def test_equal_predictions_for_all_images_are_worth_chance() -> None:
    evaluation = score(predictions_from([[0.5, 0.5]] * 8, [0, 1] * 4), ("cat", "dog"))
    assert evaluation.accuracy == 0.5
    assert [curve and curve.area for curve in evaluation.roc.per_class] == [0.5, 0.5]
    json.dumps(evaluation.to_dict(), allow_nan=False)


def test_stored_curves_are_thinned_but_keep_their_ends() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3000, 3)).astype(np.float32)
    evaluation = score(Predictions(logits, generator.integers(0, 3, 3000)), ("cat", "dog", "eel"))
    whole = evaluation.precision_recall.per_class[0]
    assert whole is not None
    assert len(whole.recall) > STORED_CURVE_POINTS
    kept = evaluation.to_dict()["precision_recall"]["per_class"][0]
    assert len(kept["recall"]) == len(kept["precision"]) == STORED_CURVE_POINTS
    assert kept["recall"][0] == 0
    assert kept["recall"][-1] == 1


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (predictions_from([[0.5, 0.5, 0.5]], [0]), "3 outputs but 2 classes"),
        (predictions_from([[0.5, 0.5]], [7]), "label 7 is outside 0 to 1"),
        (predictions_from([[0.5, 0.5]], [0, 1]), "1 predictions need as many labels"),
        (Predictions(np.empty((0, 2), np.float32), np.empty(0, np.int64)), "no images"),
    ],
)
def test_what_does_not_fit_together_is_refused(predictions: Predictions, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        score(predictions, ("cat", "dog"))


def test_outputs_that_are_not_finite_are_told_as_a_divergence() -> None:
    broken = Predictions(np.array([[np.nan, 0], [1, 0]], dtype=np.float32), np.array([0, 0]))
    with pytest.raises(OdenetError, match=r"not finite for 1 of 2 images.*learning rate"):
        score(broken, ("cat", "dog"))


def test_a_smaller_last_batch_changes_neither_answers_nor_loss(images: Images, preprocessing: Preprocessing) -> None:
    network = small_network(body="resnet")
    in_batches = predict(network, images, preprocessing, batch_size=4)
    at_once = predict(network, images, preprocessing, batch_size=10)
    np.testing.assert_allclose(in_batches.logits, at_once.logits, atol=1e-6)
    assert in_batches.labels.tolist() == images.labels.tolist()
    expected = functional.cross_entropy(network(preprocessing.for_evaluation(images.pixels)), images.labels)
    assert score(in_batches, ("cat", "dog", "eel")).loss == pytest.approx(expected.item(), rel=1e-5)


def test_prediction_leaves_weights_and_running_statistics_alone(images: Images, preprocessing: Preprocessing) -> None:
    network = small_network(body="resnet", normalisation="batch")
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    predict(network, images, preprocessing, batch_size=1)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_evaluations_are_counted_for_each_batch_of_an_ode_net(images: Images, preprocessing: Preprocessing) -> None:
    assert predict(small_network(body="odenet"), images, preprocessing, batch_size=4).nfe_per_batch == (3, 3, 3)


def test_a_residual_network_has_no_evaluations_to_count(images: Images, preprocessing: Preprocessing) -> None:
    assert predict(small_network(body="resnet"), images, preprocessing, batch_size=4).nfe_per_batch == ()


def test_progress_hears_of_every_image_once(images: Images, preprocessing: Preprocessing) -> None:
    heard: list[int] = []
    predict(small_network(body="resnet"), images, preprocessing, batch_size=4, progress=heard.append)
    assert heard == [4, 4, 2]


def test_probabilities_are_float32_and_sum_to_one(images: Images, preprocessing: Preprocessing) -> None:
    probabilities = predict(small_network(body="resnet"), images, preprocessing, batch_size=4).probabilities
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.fixture
def seen() -> Iterator[list[torch.dtype]]:
    """The kinds of scores that a plug-in's metric is given, which writes into them and into the labels."""
    kinds = []

    @plugins.metric("a_metric", per="item")
    def a_metric(scores: Tensor, labels: Tensor) -> Tensor:
        kinds.append(scores.dtype)
        labels.zero_()
        return scores.zero_()[:, 0]

    yield kinds
    registry.forget(__file__)


def test_a_metric_of_every_image_sees_full_precision_and_changes_neither_loss_nor_answers(
    images: Images, preprocessing: Preprocessing, seen: list[torch.dtype]
) -> None:
    splits = Splits("ten images", images, images, images, ("a", "b", "c"), fingerprint="")
    objective, network = CrossEntropy(splits, preprocessing, label_smoothing=0.1), small_network(body="resnet")
    scores = network(preprocessing.for_evaluation(images.pixels))
    labels = torch.arange(10) % 3
    wanted = functional.cross_entropy(scores, labels, label_smoothing=0.1)
    for _ in range(2):  # as a label that was written into is there for the next one
        found = objective.loss(network, next(objective.validation_batches(10)), torch.Generator())
        assert float(found.minimised.detach()) == pytest.approx(float(wanted.detach()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective.loss(network, next(objective.validation_batches(10)), None)
    answered = scores.detach().clone()
    item_metrics(answered, labels)
    assert torch.equal(answered, scores)
    assert torch.equal(labels, torch.arange(10) % 3)
    assert set(seen) == {torch.float32}
