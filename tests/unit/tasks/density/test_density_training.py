"""What densities are trained by, and what is measured of them."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config import ConfigError
from pipeline.tasks.density import evaluation
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.evaluation import Answers
from pipeline.tasks.density.flattering import flattering_setting
from pipeline.tasks.density.loose_tolerances import ToleranceWarning, warn_of_loose_tolerances
from pipeline.tasks.density.network import DensityNetwork, build_density
from pipeline.tasks.density.paired import PAIRED_TEST, read_point_errors
from pipeline.tasks.density.task import Density
from pipeline.tasks.density.unused_settings import warn_of_unused_settings
from pipeline.tasks.solver_grid import Row
from pipeline.tasks.unused_settings import UnusedSettingWarning
from pipeline.training import BatchLoss

TASK = Density()


def config_of(**sections: dict[str, object]) -> DensityConfig:
    return DensityConfig.from_dict(sections)


def first_loss(config: DensityConfig, network: DensityNetwork) -> BatchLoss:
    objective = TASK.objective(config, TASK.load_data(config))
    generator = torch.Generator().manual_seed(0)
    batch = next(iter(objective.training_batches(config.training.batch_size, generator)))
    return objective.loss(network.train(), batch, generator)


def network_of(config: DensityConfig) -> DensityNetwork:
    torch.manual_seed(0)
    return TASK.build_model(config, TASK.load_data(config))


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"architecture": "cnf"}},
        {"model": {"architecture": "cnf"}, "flow": {"field": "concatsquash", "width": 8, "blocks": 2}},
        {"model": {"architecture": "cnf"}, "flow": {"objective": "matching", "width": 8}},
        {"model": {"architecture": "planar_nf"}, "flow": {"layers": 3}},
        {"model": {"architecture": "planar_nf"}, "flow": {"layers": 3, "objective": "matching"}},
        {"model": {"architecture": "spline_nf"}, "flow": {"layers": 2, "width": 8}},
        {"data": {"name": "digits"}, "flow": {"field": "concat", "width": 8}},
        {"data": {"name": "two_modes"}, "flow": {"objective": "matching", "width": 4}},
    ],
)
def test_every_weight_of_every_density_gets_a_gradient(sections: dict[str, dict[str, object]]) -> None:
    config = config_of(**sections)
    network = network_of(config)
    first_loss(config, network).loss.backward()
    assert all(weights.grad is not None and weights.grad.isfinite().all() for weights in network.parameters())


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimiser_class", [torch.optim.Adam, torch.optim.AdamW])
def test_a_gaussian_is_fitted_and_a_training_step_does_not_move_it(
    optimiser_class: type[torch.optim.Adam], weight_decay: float
) -> None:
    config = config_of(model={"architecture": "gaussian"}, data={"name": "eight_gaussians"})
    network = network_of(config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = optimiser_class(network.parameters(), weight_decay=weight_decay)
    first_loss(config, network).loss.backward()
    optimiser.step()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    factor = network.density.factor
    assert torch.allclose(factor @ factor.mT, torch.eye(2) * 4.125, atol=0.06)  # 4² / 2 / 2 + 0.5² / 2


@pytest.mark.parametrize(
    ("flow", "solver"),
    [
        ({"test_method": "rk4"}, {"control": "sample"}),
        ({"test_method": "leapfrog"}, {}),
        ({"test_method": "tsit5"}, {"engine": "torchdiffeq"}),
    ],
)
def test_a_solver_by_which_nothing_could_be_tested_is_refused_before_anything_is_trained(
    flow: dict[str, object], solver: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=f"flow.test_method is {flow['test_method']}, by which nothing could be"):
        config_of(flow=flow, solver=solver)


def test_the_divergence_to_itself_is_none_and_to_another_is_the_closed_form() -> None:
    config = config_of(data={"name": "two_modes"}, model={"architecture": "gaussian"}, flow={"objective": "matching"})
    data = TASK.load_data(config)
    network = network_of(config)
    own = replace(data, log_density=lambda x: network.density.log_prob(x).value)
    found = evaluation.examine(network, own, is_matching=True)
    assert found["kl"] == pytest.approx(0, abs=1e-6)
    shifted = replace(data, log_density=lambda x: network.density.log_prob(x - 0.5).value)
    found = evaluation.examine(network, shifted, is_matching=True)
    deviation = float(network.density.factor.detach())
    assert abs(found["kl"] - 0.125 / deviation**2) < 4 * found["kl_se"]


def test_the_divergence_of_the_test_is_of_other_samples_than_those_that_the_best_epoch_was_chosen_by() -> None:
    config = config_of(data={"name": "two_modes"}, model={"architecture": "gaussian"}, flow={"objective": "matching"})
    data, network, seen = TASK.load_data(config), network_of(config), list[set[float]]()

    def log_density(x: torch.Tensor) -> torch.Tensor:
        seen.append(set(x.flatten().tolist()))
        return -x[:, 0].square()

    data = replace(data, log_density=log_density)
    TASK.objective(config, data).loss(network.eval(), evaluation.MATCHED, None)
    evaluation.examine(network, data, is_matching=True)
    validation, test = seen
    assert len(validation & test) < 0.01 * len(test)


def test_penalties_are_added_to_the_loss_in_training_alone_and_change_no_evaluation() -> None:
    plain, penalised = config_of(), config_of(regularisation={"kinetic": 0.1, "jacobian": 0.01})
    network, regularised = network_of(plain), network_of(penalised)
    first, second = first_loss(plain, network), first_loss(penalised, regularised)
    assert first.penalty is None
    assert second.penalty is not None
    assert set(second.sums) == {"kinetic", "jacobian"}
    means = {name: float(value) / second.items for name, value in second.sums.items()}
    assert float(second.penalty.detach()) == pytest.approx(0.1 * means["kinetic"] + 0.01 * means["jacobian"], rel=1e-5)
    assert float(first.loss.detach()) == pytest.approx(float(second.loss.detach()), abs=1e-6)
    evaluations = [one.density.statistics.nfe_forward for one in (network, regularised)]
    assert evaluations[0] == evaluations[1]


def test_an_end_time_is_drawn_for_each_batch_and_not_in_validation() -> None:
    config = config_of(regularisation={"end_time_spread": 0.5})
    network = network_of(config)
    losses = {float(first_loss(config, network).loss), float(first_loss(config_of(), network).loss)}
    assert len(losses) == 2
    objective, plain = (TASK.objective(one, TASK.load_data(one)) for one in (config, config_of()))
    batch = next(iter(plain.validation_batches(100)))
    validated = [one.loss(network.eval(), batch, None).loss for one in (objective, plain)]
    assert torch.equal(*validated)


def test_an_epoch_of_endless_data_is_a_number_of_batches_drawn_by_the_generator() -> None:
    config = config_of(training={"epoch_iterations": 7, "batch_size": 5})
    objective = TASK.objective(config, TASK.load_data(config))
    assert objective.training_items == 35
    epochs = [list(objective.training_batches(5, torch.Generator().manual_seed(1))) for _ in range(2)]
    assert [len(batch.points) for batch in epochs[0]] == [5] * 7
    assert all(torch.equal(a.points, b.points) for a, b in zip(*epochs, strict=True))


def test_images_get_new_noise_in_each_batch_and_the_same_in_validation() -> None:
    config = config_of(data={"name": "digits"}, model={"architecture": "spline_nf"}, flow={"width": 8, "layers": 1})
    data = TASK.load_data(config)
    objective = TASK.objective(config, data)
    network = network_of(config)
    generator = torch.Generator().manual_seed(0)
    batch = next(iter(objective.training_batches(50, generator)))
    noisy = {float(objective.loss(network, batch, generator).loss.detach()) for _ in range(2)}
    assert len(noisy) == 2
    held_out = next(iter(objective.validation_batches(50)))
    assert len({float(objective.loss(network, held_out, None).loss.detach()) for _ in range(2)}) == 1


def test_the_bits_of_a_uniform_density_are_those_of_its_levels() -> None:
    config = config_of(data={"name": "digits", "logit": None})
    data = TASK.load_data(config)
    network = DensityNetwork(nn.Identity())
    answers = Answers(np.zeros(len(data.test)), network)  # density 1 on [0, 1]^D
    assert evaluation.scores(answers, data)["bits_per_dim"] == pytest.approx(np.log2(17))


def test_the_shift_shows_how_a_loose_tolerance_moves_the_likelihood() -> None:
    config = config_of(flow={"test_rtol": 1e-2, "test_atol": 1e-2})
    data = TASK.load_data(config)
    network = network_of(config)
    with torch.no_grad():
        network.density.field.layers[-1].weight.mul_(40)
    loose = build_density(config, TASK.test_solver(config), 2)
    loose.load_state_dict(network.state_dict())
    tight = build_density(config, replace(config.solver, rtol=1e-6, atol=1e-6), 2)
    tight.load_state_dict(network.state_dict())
    points = data.test[:300]
    shifts = [evaluation.shift(one.eval(), points) for one in (loose, tight)]
    assert abs(shifts[0]) > 1e-3
    assert abs(shifts[1]) < 1e-5
    difference = evaluation.mean_nll(tight, points) - evaluation.mean_nll(loose, points)
    assert shifts[0] == pytest.approx(difference, abs=2e-4)


def test_a_loose_tolerance_is_warned_of_with_the_shift_that_was_measured() -> None:
    config = config_of(flow={"test_rtol": 1e-2, "test_atol": 1e-2}, data={"name": "two_moons"})
    data = TASK.load_data(config).first(50)
    network = build_density(config, TASK.test_solver(config), 2).eval()
    answers = TASK.predict(network, config, data, lambda _: None)
    answers = replace(answers, checks=evaluation.examine(network, data, False))
    with pytest.warns(ToleranceWarning, match=r"flow\.test_rtol=0\.01 .* moves the NLL, as it was tested, by [+-]"):
        warn_of_loose_tolerances(answers, config, data)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"model": {"architecture": "planar_nf"}, "flow": {"width": 8}}, r"flow\.width=8 changes nothing"),
        ({"model": {"architecture": "planar_nf"}, "solver": {"method": "rk4"}}, r"solver\.method=rk4 .* no ODE"),
        ({"model": {"architecture": "cnf"}, "flow": {"layers": 8}}, r"flow\.layers=8 changes nothing"),
        ({"model": {"architecture": "cnf"}, "flow": {"trace": "exact"}}, "closed form"),
        ({"model": {"architecture": "cnf"}, "solver": {"steps": 9}}, r"solver\.steps=9 .* chooses its steps itself"),
        ({"flow": {"test_method": "rk4", "test_rtol": 1e-8}}, r"flow\.test_rtol=1e-08 .* takes equal steps"),
        ({"model": {"architecture": "gaussian"}, "training": {"momentum": 0.5}}, r"momentum=0\.5 .* for sgd"),
        ({"model": {"architecture": "planar_nf"}, "training": {"compile": True}}, "compile=True .* solves no ODE"),
    ],
)
def test_settings_without_effect_are_named(sections: dict[str, dict[str, object]], said: str) -> None:
    with pytest.warns(UnusedSettingWarning, match=said):
        warn_of_unused_settings(config_of(**sections))


@pytest.mark.parametrize(
    ("sections", "unused"),
    [
        (
            {"data": {"noise": 0.5, "standardise": False, "dequantise": True, "logit": 0.2, "size": 50}},
            {"data.noise", "data.standardise", "data.dequantise", "data.logit"},
        ),
        ({"data": {"size": 50}, "training": {"epoch_iterations": 7}}, {"training.epoch_iterations"}),
        ({"data": {"size": 50}, "flow": {"objective": "matching"}}, {"data.size"}),
        (
            {"data": {"name": "digits", "noise": 0.3, "logit": 0.1}, "training": {"epoch_iterations": 7}},
            {"data.noise", "training.epoch_iterations"},
        ),
        ({"training": {"epoch_iterations": 7}}, set()),
    ],
)
def test_settings_that_data_of_another_kind_would_look_at_are_named(
    sections: dict[str, dict[str, object]], unused: set[str]
) -> None:
    config = config_of(**{"data": {"name": "two_moons"} | sections.pop("data", {}), **sections})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        TASK.warn_of_data(config, TASK.load_data(config))
    assert {str(one.message).partition("=")[0] for one in caught} == unused


def test_log_densities_of_other_points_are_known_by_their_fingerprint() -> None:
    config = config_of(data={"name": "two_moons"}, model={"architecture": "gaussian"})
    network, data = network_of(config), TASK.load_data(config)
    answers = TASK.predict(network, config, data, lambda _: None)
    stored = read_point_errors(evaluation.to_npz(answers, data))
    np.testing.assert_array_equal(stored.nll, -answers.log_prob)
    other = read_point_errors(evaluation.to_npz(answers, data.first(100)))
    assert PAIRED_TEST.have_same_items(stored, stored)
    assert not PAIRED_TEST.have_same_items(stored, other)
    assert PAIRED_TEST.compare(stored, stored).difference == 0
    with pytest.raises(ValueError, match="no log_prob and points_sha256"):
        read_point_errors(b"nothing")


def test_a_finer_setting_with_another_likelihood_is_told() -> None:
    tested = Row("dopri5", None, 1e-3, 1e-3, 1.0, True, "completed", {"nll": 1.0})
    finer = replace(tested, rtol=1e-6, atol=1e-6, trained=False, scores={"nll": 1.01})
    said = flattering_setting([tested, finer])
    assert said is not None
    assert "1.0000 with dopri5, tol 0.001, but 1.0100 with dopri5, tol 1e-06" in said
    assert flattering_setting([tested, replace(finer, scores={"nll": 1.0001})]) is None


def test_a_chain_of_flows_has_the_density_of_its_samples_and_leads_back() -> None:
    config = config_of(flow={"field": "concat", "width": 8, "blocks": 3})
    network = network_of(config).eval()
    with torch.no_grad():
        points, found = network.density.rsample_and_log_prob(200, torch.Generator().manual_seed(0))
        assert torch.allclose(network.density.log_prob(points).value, found.value, atol=1e-3)
        assert torch.allclose(network.density(network.density.inverse(points)), points, atol=1e-3)
    from pipeline.flows.check import integral

    total = integral(network.density, points)
    assert total is not None
    assert total.value == pytest.approx(1, abs=1e-3)


def test_the_test_solves_more_finely_than_the_training() -> None:
    config = config_of()
    assert (config.solver.rtol, TASK.test_solver(config).rtol) == (1e-5, 1e-6)
    assert TASK.final_time(config) == 1.0


@pytest.mark.parametrize(
    ("flow", "solver"),
    [
        ({"test_method": "rk4"}, {"steps": 50}),
        ({}, {"method": "rk4", "steps": 8, "controller": "pi", "max_steps": 30}),
    ],
)
def test_a_setting_of_the_solver_that_the_test_looks_at_is_not_called_one_without_effect(
    flow: dict[str, object], solver: dict[str, object], recwarn: pytest.WarningsRecorder
) -> None:
    warn_of_unused_settings(config_of(flow=flow, solver=solver))
    assert [str(one.message) for one in recwarn if one.category is UnusedSettingWarning] == []
