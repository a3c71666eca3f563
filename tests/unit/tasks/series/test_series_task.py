"""The task of irregular time series: its loss, its scores, its comparisons and its parts."""

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import plugins
from pipeline.data.errors import DataError
from pipeline.data.series_set import RecordedSeries, SeriesSet, from_mapping
from pipeline.device.compilation import CompilationWarning
from pipeline.plugins import registry
from pipeline.series import GRUDCell, LatentODE, latent
from pipeline.series.trajectories import states_at
from pipeline.tasks.lookup import get_task
from pipeline.tasks.series.config import MODELS, SeriesTaskConfig
from pipeline.tasks.series.evaluation import thinned
from pipeline.tasks.series.objective import NegativeBound
from pipeline.tasks.series.paired import PAIRED_TEST
from pipeline.tasks.series.splits import Scaling
from pipeline.tasks.series.task import IrregularSeries
from pipeline.training import fit
from pipeline.util.user_warnings import OdenetWarning


def configured(**sections: Any) -> SeriesTaskConfig:
    data = {"name": "spirals", "observed": 10, "subset": 30, "options": {"count": 60}, **sections.pop("data", {})}
    training = {"max_epochs": 1, **sections.pop("training", {})}
    return SeriesTaskConfig.from_dict({"data": data, "training": training, **sections})


def prepared(config: SeriesTaskConfig) -> tuple[Any, Any, torch.nn.Module]:
    task = get_task("series")
    data = task.load_data(config)
    torch.manual_seed(0)
    return task, data, task.build_model(config, data)


@pytest.mark.parametrize("architecture", MODELS)
def test_each_model_trains_and_answers(architecture: str, tmp_path: Path) -> None:
    config = configured(model={"architecture": architecture}, series={"test_samples": 3})
    task, data, model = prepared(config)
    fitted = fit(model, task.objective(config, data), config.training, 0, tmp_path / "checkpoint.pt")
    assert np.isfinite(fitted.history[-1]["validation.rmse"])
    answers = task.predict(model, config, data, lambda _: None)
    scores = task.scores(answers, data)
    assert all(map(np.isfinite, scores.values()))
    assert {"rmse", "rmse_inside", "rmse_beyond", "rmse_truth", "mse_e2", "coverage_50", "coverage_90"} <= scores.keys()
    assert ("elbo" in scores) == (architecture == "latent_ode")
    again = task.scores(task.predict(model, config, data, lambda _: None), data)
    assert again == scores
    figures = task.report(answers, config, data, "title").figures
    assert all(draw() is not None for draw in figures.values())


def test_a_series_is_drawn_of_which_a_channel_was_never_known() -> None:
    config = configured(series={"test_samples": 3})
    task, data, model = prepared(config)
    data.test.batch.mask[0, :, 1] = False
    answers = task.predict(model, config, data, lambda _: None)
    assert task.report(answers, config, data, "title").figures["trajectories.png"]() is not None


def test_the_bound_is_at_most_the_importance_weighted_one() -> None:
    config = configured(series={"test_samples": 50})
    task, data, model = prepared(config)
    scores = task.scores(task.predict(model, config, data, lambda _: None), data)
    assert scores["elbo"] < scores["importance_bound"]


def test_scores_are_those_of_the_values_by_hand() -> None:
    config = configured(series={"test_samples": 2})
    task, data, model = prepared(config)
    answers = task.predict(model, config, data, lambda _: None)
    scores = task.scores(answers, data)
    errors = (answers.mean - answers.values) ** 2
    assert scores["rmse"] == pytest.approx(float(np.sqrt(errors.mean())), rel=1e-5)
    assert scores["rmse_inside"] == pytest.approx(float(np.sqrt(errors[:, :100].mean())), rel=1e-5)
    assert scores["rmse_beyond"] == pytest.approx(float(np.sqrt(errors[:, 100:].mean())), rel=1e-5)
    assert scores["mse_e2"] == pytest.approx(100 * float(errors[:, :100].mean()), rel=1e-5)
    first = data.test.batch.observed.any(-1).int().argmax(1)
    behind = np.concatenate([errors[k, row + 1 : 100] for k, row in enumerate(first.tolist())])
    assert scores["rmse_after_first"] == pytest.approx(float(np.sqrt(behind.mean())), rel=1e-5)
    assert scores["elbo_per_value"] == pytest.approx(scores["elbo"] / 20, rel=1e-5)


def test_the_weight_of_the_kl_rises_evenly_and_validation_has_the_whole_of_it() -> None:
    config = configured(series={"kl_epochs": 4})
    _, data, model = prepared(config)
    objective = NegativeBound(data, config.series)
    weights = []
    for epoch in range(1, 7):
        objective.begin_epoch(epoch)
        weights.append(objective.kl_weight)
    assert weights == [0, 0.25, 0.5, 0.75, 1, 1]
    objective.begin_epoch(1)
    (batch,) = objective.validation_batches(100)
    assert isinstance(model, LatentODE)
    chance = torch.Generator().manual_seed(0)
    whole = -float(model.elbo(batch, 1, generator=chance).value.mean().detach())
    assert float(objective.loss(model, batch, None).loss.detach()) == pytest.approx(whole)


@pytest.mark.parametrize("architecture", ["rnn", "rnn_dt", "gru_d", "ode_rnn"])
def test_what_is_withheld_within_a_window_is_learned_and_not_read(architecture: str) -> None:
    """Other values there change the loss by their own errors alone, against what a test would be told."""
    config = configured(model={"architecture": architecture}, series={"goal": "interpolation"})
    _, data, model = prepared(config)
    objective = NegativeBound(data, config.series)
    batch = next(iter(objective.validation_batches(100)))
    last = batch.times.masked_fill(~batch.observed.any(-1), -torch.inf).amax(1, keepdim=True)
    withheld = batch.wanted & ~batch.observed & (batch.times < last)[:, :, None]
    assert withheld.sum() > batch.observed.sum()
    others = replace(batch, values=batch.values + withheld)
    with torch.no_grad():
        told = model.predict(batch, batch.times, 1).mean
        first, second = (objective.loss(model, one, None).loss for one in (batch, others))
    errors = [((one.values - told) / model.noise.sd).square()[withheld].sum() / 2 for one in (batch, others)]
    torch.testing.assert_close(second - first, (errors[1] - errors[0]).detach() / len(batch), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "sections", [{"model": {"architecture": "gru_d"}}, {"series": {"encoder": "gru_d"}}], ids=["forecaster", "encoder"]
)
def test_gru_d_knows_the_mean_of_the_training_also_when_it_is_loaded(sections: dict[str, Any]) -> None:
    config = configured(data={"scaling": "range"}, **sections)
    task, data, model = prepared(config)

    def mean(network: torch.nn.Module) -> list[float]:
        (cell,) = (module for module in network.modules() if isinstance(module, GRUDCell))
        return cell.mean.tolist()

    train = data.train.batch
    observed = [float(train.values[..., k][train.observed[..., k]].mean()) for k in range(train.dimensions)]
    assert mean(model) == pytest.approx(observed, rel=1e-5)
    facts = {"data": task.facts(config, data)["data"]}
    assert mean(task.restore(config, facts, config.solver).network) == mean(model)
    del facts["data"]["scaling"]["mean"]  # as of a run from before
    assert mean(task.restore(config, facts, config.solver).network) == [0, 0]


def test_only_a_training_is_computed_by_compiled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every size of a batch is compiled for itself, and a test has many sizes."""
    compiled: list[bool] = []

    def solved(*arguments: Any, is_compiled: bool, graphs: Any) -> Any:
        compiled.append(is_compiled)
        return states_at(*arguments, graphs=graphs)

    monkeypatch.setattr(latent, "states_at", solved)
    config = configured(training={"compile": True}, series={"test_samples": 2})
    task, data, model = prepared(config)
    batch = next(iter(NegativeBound(data, config.series).validation_batches(100)))
    model.elbo(batch)
    assert compiled == [True]
    compiled.clear()
    model.eval()
    task.predict(model, config, data, lambda _: None)
    assert set(compiled) == {False}


@pytest.mark.slow
def test_steps_that_cannot_be_compiled_are_trained_eagerly_and_code_is_kept_with_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    config = configured(training={"compile": True}, solver={"method": "heun", "rtol": 0.1, "atol": 0.1})
    _, data, model = prepared(config)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"].startswith(str(tmp_path))
    batch = next(iter(NegativeBound(data, config.series).validation_batches(100)))
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.warns(CompilationWarning, match=r"trained eagerly: .*No working C\+\+ compiler"),
    ):
        bound = model.elbo(batch, generator=torch.Generator().manual_seed(0)).value
    eager = model.elbo(batch, generator=torch.Generator().manual_seed(0)).value  # without another warning
    assert torch.equal(bound, eager)


def test_a_label_that_changes_to_nought_is_refused() -> None:
    rows = {"series": ["a", "a", "b"], "time": [0.0, 1.0, 0.0], "values": [1.0, 2.0, 3.0], "label": [1, 0, 1]}
    with pytest.raises(DataError, match="the label of series a changes from 1 to 0: give it one"):
        from_mapping("mine.npz", {key: np.array(value) for key, value in rows.items()})


def test_a_posterior_that_has_collapsed_is_warned_of() -> None:
    config = configured(series={"test_samples": 2})
    task, data, model = prepared(config)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    answers = task.predict(model, config, data, lambda _: None)
    with pytest.warns(OdenetWarning, match="the posterior has collapsed: its KL is 0.0000 nats"):
        task.report(answers, config, data, "title")


def test_labels_are_learned_where_they_are_asked_for() -> None:
    config = configured(series={"label_weight": 1.0, "test_samples": 2})
    task, data, model = prepared(config)
    scores = task.scores(task.predict(model, config, data, lambda _: None), data)
    assert 0 <= scores["accuracy"] <= 1
    assert 0 <= scores["auc"] <= 1


def test_a_model_is_restored_from_what_was_recorded() -> None:
    config = configured()
    task, data, model = prepared(config)
    restored = task.restore(config, {"data": task.facts(config, data)["data"]}, config.solver)
    restored.network.load_state_dict(model.state_dict())
    assert restored.network.time_unit == model.time_unit
    assert restored.scaling == data.scaling


def test_thinning_keeps_a_share_of_what_was_observed() -> None:
    _, data, _ = prepared(configured())
    fewer = thinned(data.test, 0.3).batch.observed
    assert (fewer.any(-1).sum(1) == 3).all()
    assert not (fewer & ~data.test.batch.observed).any()


def test_errors_of_the_same_series_are_compared() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, names=np.array(["a", "b"]), rmse=np.array([1.0, 2.0]))
    errors = PAIRED_TEST.read(buffer.getvalue())
    assert PAIRED_TEST.have_same_items(errors, errors)
    assert PAIRED_TEST.compare(errors, errors).difference == 0
    with pytest.raises(ValueError, match="no names and rmse"):
        PAIRED_TEST.read(b"")


def test_errors_of_the_same_values_are_compared_whatever_the_likelihoods_are_of() -> None:
    arrays = {"names": np.array(["a", "b"]), "rmse": np.array([1.0, 2.0]), "scored": np.array([9, 9])}
    contents = []
    for found in (arrays | {"counts": np.array([3, 4])}, arrays | {"counts": np.array([5, 6])}, arrays):
        buffer = io.BytesIO()
        np.savez(buffer, **(found if len(contents) < 2 else found | {"scored": np.array([9, 8])}))
        contents.append(PAIRED_TEST.read(buffer.getvalue()))
    assert PAIRED_TEST.have_same_items(contents[0], contents[1])
    assert not PAIRED_TEST.have_same_items(contents[0], contents[2])


@pytest.mark.parametrize("other", [{"counts": np.array([3, 1])}, {"scale": np.array([2.0])}])
def test_errors_of_other_values_or_in_another_unit_are_not(other: dict[str, Any]) -> None:
    arrays = {"names": np.array(["a", "b"]), "rmse": np.array([1.0, 2.0])}
    arrays |= {"counts": np.array([3, 4]), "scale": np.array([1.0])}
    contents = []
    for found in (arrays, arrays | other):
        buffer = io.BytesIO()
        np.savez(buffer, **found)
        contents.append(PAIRED_TEST.read(buffer.getvalue()))
    assert PAIRED_TEST.have_same_items(contents[0], contents[0])
    assert not PAIRED_TEST.have_same_items(*contents)


def test_labels_of_other_data_are_known_by_their_names() -> None:
    values = np.zeros((2, 1))
    times = np.arange(2.0)
    found = SeriesSet(
        (
            RecordedSeries("x", times, values, 0),
            RecordedSeries("y", times, values, 1),
            RecordedSeries("z", times, values),
        ),
        ("channel 0",),
        ("b", "c"),
    ).with_classes(("a", "b"))
    assert [one.label for one in found.series] == [1, None, None]
    assert found.classes == ("a", "b")


@pytest.mark.parametrize("kind", ["standard", "range"])
def test_a_channel_that_is_constant_but_for_rounding_is_not_divided_by_the_rounding(kind: str) -> None:
    values = np.full((3000, 1), 37.2)
    values[::7] += 2e-14
    scaling = Scaling.of(kind, values)
    assert scaling.scale == (1.0,)
    assert abs(scaling.scaled(np.array([37.5]))[0] - 0.3) < 1e-6 or kind == "range"


def test_parts_of_plug_ins_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))

    @plugins.decoder("shifted")
    def shifted(latent: int, dimensions: int, *, bias: bool = True) -> torch.nn.Module:
        return torch.nn.Linear(latent, dimensions, bias=bias)

    @plugins.data_set("ramps", task="series")
    def ramps(*, count: int = 9) -> dict[str, Any]:
        times = np.tile(np.arange(5.0), count)
        return {"series": np.repeat(np.arange(count), 5), "time": times, "values": times}

    @plugins.field("still", task="series")
    class Still(torch.nn.Module):
        def __init__(self, channels: int) -> None:  # noqa: ARG002
            super().__init__()

        def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            return torch.zeros_like(z)

    config = SeriesTaskConfig.from_dict(
        {
            "data": {"name": "ramps", "options": {"count": 12}},
            "model": {"architecture": "still"},
            "series": {"decoder": "shifted", "decoder_options": {"bias": False}},
        }
    )
    _, data, model = prepared(config)
    assert len(data.train) + len(data.validation) + len(data.test) == 12
    assert isinstance(model, LatentODE)
    assert isinstance(model.field, Still)
    assert model.decoder.bias is None
    assert "series.decoder_options.bias" in SeriesTaskConfig.kinds()
    assert IrregularSeries.result == "test.rmse"
