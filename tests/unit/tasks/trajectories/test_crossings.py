"""What continuous trajectories can do and discrete ones, trained; the points, the networks, what is refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments.presets import resolve
from pipeline import plugins
from pipeline.config import ConfigError
from pipeline.models.time_weights import indicators
from pipeline.plugins import registry
from pipeline.plugins.registry import PluginError
from pipeline.reporting.figure_style import png
from pipeline.tasks.trajectories.config import TrajectoriesConfig
from pipeline.tasks.trajectories.data import Points, checked
from pipeline.tasks.trajectories.networks import EulerSteps, PointNetwork
from pipeline.tasks.trajectories.survey import survey
from pipeline.tasks.trajectories.task import Trajectories
from pipeline.tasks.unused_settings import UnusedSettingWarning
from pipeline.training import Fitted, fit
from pipeline.util.errors import InvalidInput

TASK = Trajectories()


def configured(*names: str, epochs: int = 20, **updates: Any) -> TrajectoriesConfig:
    training = {"max_epochs": epochs, "device": "cpu", **updates.pop("training", {})}
    config = resolve(["crossing", *names], {**updates, "training": training}).config
    assert isinstance(config, TrajectoriesConfig)
    return config


def trained(config: TrajectoriesConfig, folder: Path) -> tuple[PointNetwork, Fitted, Points]:
    points = TASK.load_data(config)
    torch.manual_seed(config.seed)
    network = TASK.build_model(config, points)
    fitted = fit(network, TASK.objective(config, points), config.training, config.seed, folder / "checkpoint.pt")
    return network, fitted, points


def ends(fitted: Fitted, name: str) -> tuple[float, float]:
    """Of the first epoch and of the last."""
    return fitted.history[0][name], fitted.history[-1][name]


# What can be learnt


def test_trajectories_on_a_line_cannot_cross_and_the_evaluations_grow(tmp_path: Path) -> None:
    _, fitted, _ = trained(configured("g1d"), tmp_path)
    assert ends(fitted, "validation.loss")[1] > 0.4
    first, last = ends(fitted, "solver.nfe_forward")
    assert first <= 15
    assert last >= 26


def test_an_augmented_dimension_lets_them_pass_each_other(tmp_path: Path) -> None:
    network, fitted, points = trained(configured("g1d", model={"augment": 1}), tmp_path)
    assert ends(fitted, "validation.loss")[1] < 0.01
    assert ends(fitted, "solver.nfe_forward")[1] <= 21
    _, states = network.trajectories(points.x_test[:2])
    # They change places, and are never at the same place.
    assert (states[0, 0, 0] - states[0, 1, 0]).sign() == -(states[-1, 0, 0] - states[-1, 1, 0]).sign()
    assert (states[:, 0] - states[:, 1]).norm(dim=1).min() > 0.1


def test_to_stay_where_one_is_takes_the_fewest_evaluations(tmp_path: Path) -> None:
    _, fitted, _ = trained(configured("identity1d", epochs=6), tmp_path)
    assert ends(fitted, "validation.loss")[1] < 1e-4
    assert ends(fitted, "solver.nfe_forward")[1] == 14


def test_layers_cross_where_small_steps_of_one_field_do_not(tmp_path: Path) -> None:
    _, resnet, _ = trained(configured("g1d", "resnet"), tmp_path)
    _, euler, _ = trained(configured("g1d", "euler"), tmp_path)
    assert ends(resnet, "validation.loss")[1] < 0.01
    assert ends(euler, "validation.loss")[1] > 0.4


def test_a_ball_leaves_its_shell_through_an_augmented_dimension(tmp_path: Path) -> None:
    augmented = configured("spheres", epochs=5, model={"augment": 1}, training={"batch_size": 64})
    network, fitted, points = trained(augmented, tmp_path)
    assert ends(fitted, "validation.accuracy")[1] > 0.97
    answers = TASK.predict(network, augmented, points, lambda _items: None)
    assert TASK.scores(answers, points)["accuracy"] > 0.97
    assert len(answers.nfe_per_batch) == 6


@pytest.mark.slow
def test_half_a_turn_needs_no_time_and_a_turn_with_a_stretch_does(tmp_path: Path) -> None:
    """A constant field turns; after a turn and a stretch its closed solutions would have to be crossed."""
    rmse = {}
    for stretch in (1.0, 2.0):
        for time_weights in ("none", "channel"):
            config = configured(
                "reflection2d",
                epochs=50,
                data={"options": {"stretch": stretch}},
                model={"time_weights": time_weights},
            )
            rmse[stretch, time_weights] = ends(trained(config, tmp_path)[1], "validation.rmse")[1]
    assert rmse[1.0, "none"] < 0.05
    assert rmse[1.0, "channel"] < 0.05
    assert rmse[2.0, "channel"] < 0.05
    assert rmse[2.0, "none"] > 0.1


# The points and the networks


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_the_spheres_have_the_radii_of_the_paper(dimension: int) -> None:
    points = TASK.load_data(configured("spheres", data={"options": {"dimension": dimension, "inner": 40, "outer": 80}}))
    assert (points.dimension, points.is_map, points.test_items) == (dimension, False, 60)
    radii = torch.cat([points.x_train, points.x_validation]).norm(dim=1)
    inside = torch.cat([points.y_train, points.y_validation]) < 0
    assert int(inside.sum()) == 40
    assert radii[inside].max() <= 0.5
    assert 1 <= radii[~inside].min() <= radii[~inside].max() <= 1.5 + 1e-6


def test_points_are_split_by_the_seed_alone() -> None:
    one, same, other = (TASK.load_data(configured("reflection2d", seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one.x_train, same.x_train)
    assert not torch.equal(one.x_train, other.x_train)
    assert torch.equal(one.x_test, other.x_test)
    assert one.sha256 == other.sha256
    assert (len(one.x_train), len(one.x_validation)) == (800, 200)


def test_a_reflection_takes_points_to_the_other_side() -> None:
    points = TASK.load_data(configured("reflection2d", data={"options": {"stretch": 3.0}}))
    assert torch.equal(points.y_test, points.x_test * torch.tensor([-1.0, -3.0]))


def test_eulers_method_is_that_of_the_integrator() -> None:
    config = configured("g1d", model={"augment": 2})
    points = TASK.load_data(config)
    network = TASK.build_model(config, points)
    discrete = TASK.build_model(configured("g1d", "euler", model={"augment": 2, "layers": 5}), points)
    discrete.body.functions[0].load_state_dict(network.body.field.state_dict())
    solver = replace(config.solver, method="euler", steps=5)
    network.body.solver = solver
    torch.testing.assert_close(discrete(points.x_test), network(points.x_test))


def test_the_residual_network_has_weights_for_each_layer() -> None:
    points = TASK.load_data(configured("g1d"))
    counts = {}
    for name in ("odenet", "resnet", "euler"):
        network = TASK.build_model(configured("g1d", name, model={"time_weights": "none"}), points)
        counts[name] = sum(parameter.numel() for parameter in network.parameters())
    assert counts["odenet"] == counts["euler"] == 16 + 16 + 16 * 16 + 16 + 16 + 1
    assert counts["resnet"] == 5 * counts["odenet"]


# Figures


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (("g1d",), {}),
        (("g1d",), {"augment": 1}),
        (("g1d", "resnet"), {}),
        (("g1d", "euler"), {"augment": 2}),
        (("spheres",), {}),
        (("spheres",), {"augment": 1}),
        (("reflection2d",), {"time_weights": "none"}),
    ],
)
def test_every_kind_of_network_is_drawn(names: tuple[str, ...], model: dict[str, Any]) -> None:
    config = configured(*names, model=model)
    points = TASK.load_data(config)
    report = TASK.model_report(TASK.build_model(config, points), config, points, "a title")
    assert report.figures.keys() == {"trajectories.png", *(["plane.png"] if names[0] == "spheres" else [])}
    for draw in report.figures.values():
        figure = draw()
        assert isinstance(figure, Figure)
        assert png(figure).startswith(b"\x89PNG")
    assert report.files["trajectories.npz"]


def test_points_of_both_kinds_are_shown_and_end_where_the_network_takes_them() -> None:
    config = configured("spheres")
    points = TASK.load_data(config)
    network = TASK.build_model(config, points).eval()
    found = survey(network, points)
    assert set(found.targets.tolist()) == {-1.0, 1.0}
    with torch.no_grad():
        np.testing.assert_allclose(found.answers, network(torch.from_numpy(found.points)).numpy(), atol=1e-2)
    assert found.plane is not None
    assert found.plane[1].shape == (81, 81)


# Plug-ins, and what is refused


def test_a_field_and_data_of_a_plugin_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))

    class Turn(nn.Module):
        def __init__(self, width: int, rate: float) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.full((width,), rate))

        def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
            return self.rate * torch.stack([-z[:, 1], z[:, 0]], dim=1)

    @plugins.field("turn", task="trajectories")
    def turn(channels: int, *, rate: float = np.pi) -> nn.Module:
        return Turn(channels, rate)

    @plugins.data_set("opposites", task="trajectories")
    def opposites(*, count: int = 8) -> dict[str, Any]:
        x = np.random.default_rng(0).standard_normal((count, 2))
        return {"x_train": x, "y_train": -x, "x_test": x, "y_test": -x}

    config = configured("turn", "opposites", data={"options": {"count": 20}})
    points = TASK.load_data(config)
    network = TASK.build_model(config, points)
    assert not isinstance(network.body, EulerSteps)
    torch.testing.assert_close(network(points.x_test), points.y_test, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([1.0], "must return a dictionary with x_train"),
        ({"x_train": 1.0}, "must return a dictionary"),
        (dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), np.zeros(3)), "points are"),
        ({**dict.fromkeys(("x_train", "y_train", "y_test"), np.zeros((3, 1))), "x_test": np.zeros((3, 2))}, "x_test"),
        (dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), np.full((3, 1), np.nan)), "no finite numbers"),
    ],
)
def test_data_of_a_plugin_that_are_no_points_are_refused(made: Any, reason: str) -> None:
    part = registry.Part("data set", "mine", None, (), "mine.py:3", False)
    with pytest.raises(PluginError, match=f"mine.py:3: the data set mine .*{reason}"):
        checked(part, made)


@pytest.mark.parametrize(
    ("updates", "sentence"),
    [
        ({"data": {"name": "g2d"}}, r"data\.name must be one of g1d, .* not 'g2d'.*did you mean"),
        ({"data": {"name": "digits"}}, r"data\.name is digits, which is of the task classification"),
        ({"model": {"architecture": "gladzik"}}, "which is of the task classification"),
        ({"model": {"augment": -1}}, r"model\.augment must be at least 0"),
        ({"model": {"blocks": 2}}, r"unknown key model\.blocks"),
        ({"training": {"compile": True}}, "use auto or False"),
        ({"regularisation": {"end_time_spread": 1}}, r"must be below model\.final_time=1"),
        ({"data": {"name": "spheres", "options": {"radius": 1}}}, r"unknown option data\.options\.radius"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(updates: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        configured(**updates)


@pytest.mark.parametrize(
    "data",
    [
        {"name": "spheres", "options": {"dimension": 0}},
        {"name": "reflection2d", "options": {"stretch": -1.0}},
        {"name": "g1d", "subset": 501},
        {"name": "g1d", "subset": 2, "validation_fraction": 0.1},
    ],
)
def test_impossible_points_are_refused_when_they_are_made(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="data"):
        TASK.load_data(configured(data=data))


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"model": {"architecture": "resnet", "final_time": 7.0}}, "model.final_time=7.0 changes nothing"),
        ({"model": {"architecture": "resnet"}, "solver": {"method": "rk4"}}, "solver.method=rk4 changes nothing"),
        (
            {"model": {"architecture": "euler"}, "regularisation": {"kinetic": 1.0}},
            "regularisation.kinetic=1.0 changes nothing: model.architecture=euler solves no ODE",
        ),
        ({"solver": {"steps": 7}}, "solver.steps=7 changes nothing: solver.method=dopri5 chooses its steps itself"),
        ({"training": {"momentum": 0.5}}, "training.momentum=0.5 changes nothing"),
        ({"model": {"layers": 7}}, "model.layers=7 changes nothing: model.architecture=odenet has no layers"),
        ({"model": {"time_terms": 4}}, "model.time_terms=4 changes nothing"),
    ],
)
def test_settings_without_effect_are_named(sections: dict[str, Any], sentence: str) -> None:
    with pytest.warns(UnusedSettingWarning, match=re.escape(sentence)):
        TASK.warn(TrajectoriesConfig.from_dict(sections))


def test_a_residual_network_has_no_time_on_which_weights_could_depend() -> None:
    with pytest.raises(ConfigError, match=r"model\.time_weights is fourier, but a residual network has no time"):
        TrajectoriesConfig.from_dict({"model": {"architecture": "resnet", "time_weights": "fourier"}})


@pytest.mark.parametrize("final_time", [0.3, 0.7, 1.0, 3.0])
def test_each_of_eulers_steps_has_an_interval_of_piecewise_weights(final_time: float) -> None:
    class Times(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []

        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            self.seen.append(t)
            return z

    for steps in range(2, 12):
        field = Times()
        EulerSteps([field], steps, final_time / steps)(torch.zeros(1, 1))
        chosen = indicators(torch.stack(field.seen) / final_time, steps)
        assert torch.equal(chosen, torch.eye(steps)[:, 1:]), steps
