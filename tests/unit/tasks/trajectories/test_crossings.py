"""What continuous trajectories can do and discrete ones, trained; the points, the networks, what is refused."""

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
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
from pipeline.tasks.trajectories.figures import HIGH, LOW, plot_side_by_side
from pipeline.tasks.trajectories.networks import EulerSteps, PointNetwork
from pipeline.tasks.trajectories.objective import scores
from pipeline.tasks.trajectories.survey import survey
from pipeline.tasks.trajectories.task import Trajectories
from pipeline.tasks.unused_settings import UnusedSettingWarning
from pipeline.training import Fitted, fit
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning

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


def forget_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds to the parts; those that come along, which are imported once, stay."""
    for name in ("g1d", "reflection2d"):
        TASK.load_data(configured(name))
    TASK.build_model(configured(), TASK.load_data(configured()))
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))


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


def test_labels_on_a_line_are_no_places_to_go_to_and_points_of_both_are_drawn() -> None:
    config = configured("spheres", data={"options": {"dimension": 1}})
    points = TASK.load_data(config)
    drawn = TASK.model_report(TASK.build_model(config, points), config, points, "t").figures["trajectories.png"]()
    lines = drawn.axes[0].get_lines()
    assert not [line for line in lines if line.get_marker() == "*"]
    starts = {
        colour: [abs(line.get_ydata()[0]) for line in lines if line.get_color() == colour] for colour in (LOW, HIGH)
    }
    assert max(starts[LOW]) <= 0.5, "the ball"
    assert min(starts[HIGH]) >= 1.0, "the shell"


def test_arrows_follow_the_solutions_through_them() -> None:
    config = configured("g1d")
    points = TASK.load_data(config)
    network = TASK.build_model(config, points)
    figure = TASK.model_report(network, config, points, "t").figures["trajectories.png"]()
    figure.canvas.draw()
    ax = figure.axes[0]
    (arrows,) = [found for found in ax.collections if isinstance(found, Quiver)]
    low, high = ax.get_ylim()
    assert arrows.Y.min() == pytest.approx(low, rel=0.01)
    assert arrows.Y.max() == pytest.approx(high, rel=0.01)
    for number in (0, 100, 224):
        t, z = float(arrows.X[number]), float(arrows.Y[number])
        with torch.no_grad():
            slope = float(network.body.field(torch.tensor(t), torch.tensor([[z]])))  # type: ignore[union-attr, operator]
        here, there = ax.transData.transform([(t, z), (t + 1e-3, z + 1e-3 * slope)])
        tip = arrows.get_paths()[number].vertices if hasattr(arrows, "get_paths") else None
        assert tip is not None
        along = tip[:, 0].argmax()
        drawn = np.arctan2(tip[along, 1] - tip[:, 1].mean(), tip[along, 0] - tip[:, 0].mean())
        assert drawn == pytest.approx(float(np.arctan2(*(there - here)[::-1])), abs=0.1)


def test_a_plane_on_which_the_ode_cannot_be_solved_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured("spheres")
    points = TASK.load_data(config)
    network = TASK.build_model(config, points).eval()
    answer = network.forward

    def only_of_a_few(asked: Tensor) -> Tensor:
        if len(asked) > 100:
            network.body.solver = replace(network.body.solver, max_steps=1)  # type: ignore[union-attr, arg-type]
        return answer(asked)

    monkeypatch.setattr(network, "forward", only_of_a_few)
    with pytest.warns(OdenetWarning, match="what the network says of the plane is not drawn: the forward solve failed"):
        assert survey(network, points).plane is None


def test_networks_beside_each_other_are_of_points_on_a_line() -> None:
    surveys = {}
    for name in ("g1d", "spheres"):
        config = configured(name)
        points = TASK.load_data(config)
        surveys[name] = survey(TASK.build_model(config, points).eval(), points)
    assert isinstance(plot_side_by_side({"here": surveys["g1d"]}, "t"), Figure)
    with pytest.raises(ValueError, match="not those of the plane"):
        plot_side_by_side(surveys, "t")


# Plug-ins, and what is refused


def test_a_field_and_data_of_a_plugin_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_later(monkeypatch)

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
    ("body", "reason"),
    [
        (lambda width: nn.Linear(width, width + 3), r"gives \(2, 5\) for two points of 2 numbers: it must give"),
        (lambda width: nn.Linear(width + 1, width), "does not work for two points of 2 numbers: RuntimeError"),
    ],
)
@pytest.mark.parametrize("kind", ["model", "field"])
def test_a_part_of_a_plugin_that_does_not_move_points_is_told_of_before_it_is_trained(
    kind: str, body: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_later(monkeypatch)

    class OfTime(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.inner = body(width)

        def forward(self, t: Tensor, z: Tensor) -> Any:  # noqa: ARG002
            return self.inner(z)

    if kind == "model":
        plugins.model("mine", task="trajectories")(lambda _shape, outputs, _solver: body(outputs))
    else:
        plugins.field("mine", task="trajectories")(lambda channels: OfTime(channels))
    config = configured("mine", "reflection2d")
    with pytest.raises(PluginError, match=f"the {kind} mine {reason}"):
        TASK.build_model(config, TASK.load_data(config))


def test_accuracy_is_of_labels_alone() -> None:
    wanted = torch.tensor([-1.0, 1.0, 1.0])
    assert scores(torch.tensor([-2.0, 0.3, -0.1]), wanted)["accuracy"] == pytest.approx(2 / 3)
    assert scores(torch.tensor([5.0, 6.0, 4.0]), wanted + 5).keys() == {"rmse"}


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), (("a",),)), "must return arrays of numbers"),
        (dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), ((1.0,), (1.0, 2.0))), "must return arrays of num"),
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
        {"name": "spheres", "options": {"dimension": 10**12}},
        {"name": "reflection2d", "options": {"stretch": -1.0}},
        {"name": "reflection2d", "options": {"stretch": 1e39}},
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
        (
            {"model": {"time_weights": "fourier", "time_terms": 1}},
            "model.time_weights=fourier changes nothing: with model.time_terms=1 the weights are constant",
        ),
    ],
)
def test_settings_without_effect_are_named(sections: dict[str, Any], sentence: str) -> None:
    with pytest.warns(UnusedSettingWarning, match=re.escape(sentence)):
        TASK.warn(TrajectoriesConfig.from_dict(sections))


def test_what_a_plugins_model_or_field_does_not_look_at_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_later(monkeypatch)
    plugins.model("my_model", task="trajectories")(lambda _shape, outputs, _solver: nn.Linear(outputs, outputs))
    plugins.field("my_field", task="trajectories")(lambda channels: nn.Linear(channels, channels))
    model = {"hidden": 64, "final_time": 3.0, "time_weights": "fourier"}
    for name, unused in (("my_model", {"hidden", "final_time", "time_weights"}), ("my_field", {"hidden"})):
        with pytest.warns(UnusedSettingWarning) as told:
            TASK.warn(TrajectoriesConfig.from_dict({"model": {"architecture": name, **model}}))
        assert {str(one.message).partition("=")[0] for one in told} == {f"model.{setting}" for setting in unused}
    with pytest.warns(UnusedSettingWarning, match="model.time_weights=channel changes nothing: the field of"):
        TASK.warn(TrajectoriesConfig.from_dict({"model": {"architecture": "my_field", "time_weights": "channel"}}))


@pytest.mark.parametrize(("steps", "is_told"), [(3, True), (8, False)])
def test_steps_that_cannot_be_equal_between_jumps_of_the_weights_are_told_of(steps: int, is_told: bool) -> None:
    config = TrajectoriesConfig.from_dict(
        {
            "model": {"time_weights": "piecewise", "time_terms": 4},
            "solver": {"method": "euler", "steps": steps},
        }
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        TASK.warn(config)
    assert [f"steps={steps} with weights that jump between 4 intervals" in str(one.message) for one in told] == (
        [True] if is_told else []
    )


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
