"""Weights that depend on time: where they begin, how many they are, what they are at a time, and that they learn."""

import copy
import pickle
from dataclasses import replace
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments.presets import resolve
from pipeline.config import ConfigError, ModelConfig, NetworkConfig, RegularisationConfig, SolverConfig
from pipeline.config.sections import WITH_TIME_TERMS
from pipeline.device.compilation import compile_for_training
from pipeline.models import build_model
from pipeline.models.describe import describe
from pipeline.models.equal_size import body_parameters, channels_of_equal_size
from pipeline.models.time_weights import OfTime, chebyshev, curves, fourier, indicators
from pipeline.ode import integrate
from pipeline.ode.counts import nfe_forward, ode_blocks
from pipeline.ode.regularisation import regularise, take_penalties
from pipeline.reporting.time_weights_figure import plot_time_weights
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.unused_settings import warn_of_unused_settings
from pipeline.tasks.trajectories.task import Trajectories
from pipeline.tasks.unused_settings import UnusedSettingWarning
from pipeline.training import fit
from pipeline.util.errors import InvalidInput

DESIGNS = ("gate", "film", "low_rank", "linear", "fourier", "chebyshev", "piecewise", "hypernetwork")
GREY = (1, 28, 28)


def build(solver: dict[str, Any] | None = None, shape: tuple[int, int, int] = (1, 12, 12), **model: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_model(NetworkConfig(**{"channels": 6} | model), SolverConfig(**(solver or {})), shape, 3)


def images(shape: tuple[int, int, int] = (1, 12, 12)) -> Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))


def of_time(network: nn.Module) -> OfTime:
    return next(part for part in network.modules() if isinstance(part, OfTime))


def moved(network: nn.Module) -> nn.Module:
    """Its weights depend on time indeed."""
    torch.manual_seed(1)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, OfTime):
                for parameter in part.design.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
    return network


# Where they begin


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
@pytest.mark.parametrize("design", DESIGNS)
def test_they_begin_as_constant_weights_to_the_bit(architecture: str, design: str) -> None:
    model = {"architecture": architecture}
    direct = {"gradient": "direct"}  # auto may evaluate the first slope twice, by how large graphs are
    constant, varying = build(direct, **model), build(direct, **model, time_weights=design)
    own = dict(constant.named_parameters())
    shared = {name.replace(".field.function.", ".field."): value for name, value in varying.named_parameters()}
    assert all(torch.equal(shared[name], value) for name, value in own.items())
    if design != "piecewise":  # whose steps end at the knots
        assert torch.equal(varying(images()), constant(images()))
        assert nfe_forward(varying) == nfe_forward(constant)
    else:
        solver = {"rtol": 1e-6, "atol": 1e-6}
        scores = [build(solver, **model, time_weights=kind)(images()) for kind in ("none", "piecewise")]
        torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-4)
    field, at = of_time(varying), images()
    state = torch.zeros(4, *_state_shape(varying, at))
    for t in (0.0, 0.4, 1.0):
        time = torch.tensor(t)
        assert torch.equal(field(time, state), field.function(time, state))


def _state_shape(network: nn.Module, inputs: Tensor) -> tuple[int, ...]:
    """Of the first ODE block's state, without the batch."""
    shapes: list[tuple[int, ...]] = []
    hook = ode_blocks(network)[0].register_forward_pre_hook(lambda _block, given: shapes.append(given[0].shape[1:]))  # type: ignore[attr-defined]
    with torch.no_grad():
        network(inputs)
    hook.remove()
    return shapes[0]


@pytest.mark.parametrize("design", DESIGNS)
def test_a_first_step_of_training_gives_them_a_gradient_in_time(design: str) -> None:
    network = build(time_weights=design)
    network(images()).square().sum().backward()
    design_parameters = list(of_time(network).design.parameters())
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in design_parameters)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
    (times, norms, away) = curves(network)[0]
    assert times.tolist()[::128] == [0, 1]
    assert norms.min() > 0
    assert away.max() > 0


# How many they are


@pytest.mark.parametrize(
    ("design", "terms", "more"),
    [
        ("channel", None, 594),
        ("gate", None, 198),
        ("film", None, 2276),
        ("low_rank", None, 5296),
        ("linear", None, 39402),
        ("fourier", 3, 2 * 39402),
        ("chebyshev", 5, 4 * 39402),
        ("piecewise", 4, 3 * 39402),
        ("hypernetwork", 8, 8 * 39402 + 16),
    ],
)
def test_the_simple_odenets_block_has_as_many_parameters_as_are_said(design: str, terms: int | None, more: int) -> None:
    config = NetworkConfig(time_weights=design, time_terms=terms)  # type: ignore[arg-type]
    assert body_parameters(NetworkConfig(), GREY) == 39402
    assert body_parameters(config, GREY) == 39402 + more


def test_the_width_of_equal_size_is_found() -> None:
    fourier_of_three = NetworkConfig(time_weights="fourier", time_terms=3)
    channels = channels_of_equal_size(fourier_of_three, 39402, GREY)
    assert channels + 2 == 38
    found = body_parameters(replace(fourier_of_three, channels=channels), GREY)
    beside = [body_parameters(replace(fourier_of_three, channels=channels + one), GREY) for one in (-1, 1)]
    assert all(abs(found - 39402) <= abs(other - 39402) for other in beside)


def test_a_description_counts_the_weights_of_time_as_a_layer() -> None:
    description = describe(NetworkConfig(time_weights="linear"), GREY, 10)
    (layer,) = [layer for layer in description.layers if layer.name.endswith(".design")]
    assert (layer.kind, layer.parameters) == ("Basis", 39402)
    assert sum(layer.parameters for layer in description.layers) == description.parameters


# What they are at a time


def test_the_bases_are_those_of_the_books() -> None:
    t = 0.3
    times = torch.tensor([t], dtype=torch.float64)
    x = 2 * t - 1
    expected = [cos(2 * pi * t), sin(2 * pi * t), cos(4 * pi * t), sin(4 * pi * t)]
    assert fourier(times, 4)[0].tolist() == pytest.approx(expected)
    assert chebyshev(times, 3)[0].tolist() == pytest.approx([x, 2 * x**2 - 1, 4 * x**3 - 3 * x])
    inside = indicators(torch.tensor([0.0, 0.24, 0.26, 0.51, 0.99, 1.0, 1.4]), 4)
    assert inside.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize("design", DESIGNS)
def test_what_a_step_computes_at_once_is_what_each_time_gives(design: str) -> None:
    field = of_time(moved(build(time_weights=design)))
    times = torch.tensor([0.0, 0.2, 0.7, 1.0])
    at_once = field.at_times(times)
    for time, weights in zip(times, at_once, strict=True):
        (alone,) = field.at_times(time.view(1))
        assert weights.keys() == alone.keys()
        for name in weights:
            torch.testing.assert_close(weights[name], alone[name])
    assert any((at_once[-1][name] - value).norm() > 0 for name, value in at_once[0].items())


def test_a_gate_multiplies_what_a_convolution_gives() -> None:
    field = of_time(moved(build(time_weights="gate", normalisation="none")))
    convolution = next(part for part in field.function.modules() if isinstance(part, nn.Conv2d))
    (weights,) = field.at_times(torch.tensor([0.6]))
    z = torch.randn(2, 8, 5, 5)
    gate = field.design
    scale = 2 * torch.sigmoid(0.6 * gate.rates + gate.offsets)
    expected = scale.view(-1, 1, 1) * convolution(z) + 0.6 * gate.shifts.view(-1, 1, 1)
    weight, bias = (weights[f"convolution.convolution.{name}"] for name in ("weight", "bias"))
    torch.testing.assert_close(nn.functional.conv2d(z, weight, bias, padding=1), expected)


def test_steps_end_where_piecewise_weights_jump() -> None:
    network = moved(build({"rtol": 1e-6, "atol": 1e-6}, time_weights="piecewise", time_terms=4, final_time=2.0))
    field = of_time(network)
    assert field.knots == (0.5, 1.0, 1.5)
    network(images())
    ends = [step.t + step.dt for step in ode_blocks(network)[0].statistics.attempts if step.accepted]
    assert all(min(abs(end - knot) for end in ends) < 1e-5 for knot in field.knots)


def test_piecewise_weights_are_several_fields_one_after_the_other() -> None:
    field = of_time(moved(build(time_weights="piecewise", time_terms=2, activation="tanh"))).double()
    z0, tight = torch.randn(2, 8, 5, 5, dtype=torch.float64), SolverConfig(rtol=1e-8, atol=1e-8)
    whole = integrate(field, z0, (0.0, 1.0), tight, knots=field.knots).state
    state = z0
    for start in (0.0, 0.5):
        (weights,) = field.at_times(torch.tensor([start + 0.1], dtype=torch.float64))
        piece = copy.deepcopy(field.function)
        piece.load_state_dict(weights, strict=False)
        state = integrate(piece, state, (start, start + 0.5), tight).state
    torch.testing.assert_close(whole, state, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradient", ["direct", "auto", "checkpointed", "recursive", "adjoint"])
@pytest.mark.parametrize("design", ["gate", "fourier", "piecewise", "hypernetwork"])
def test_gradients_are_the_same_in_every_mode(gradient: str, design: str) -> None:
    def gradients(mode: str) -> Tensor:
        solver = {"gradient": mode, "rtol": 1e-7, "atol": 1e-7}
        network = moved(build(solver, time_weights=design, activation="tanh", shape=(1, 6, 6))).double()
        network(images((1, 6, 6)).double()).square().sum().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    expected, found = gradients("direct"), gradients(gradient)
    assert (found - expected).norm() <= (1e-4 if gradient == "adjoint" else 1e-9) * expected.norm()


def test_penalties_see_weights_of_time() -> None:
    network = moved(build(time_weights="chebyshev", activation="tanh")).train()
    regularise(network, RegularisationConfig(kinetic=1, jacobian=1, curvature=1))
    network(images())
    assert all(torch.isfinite(values).all() and (values > 0).all() for values in take_penalties(network).values())


# The task of trajectories, figures


@pytest.mark.slow
@pytest.mark.parametrize("design", ["none", "gate", "low_rank", "linear", "piecewise", "hypernetwork"])
def test_weights_of_time_turn_and_stretch_where_constant_ones_do_not(design: str, tmp_path: Path) -> None:
    task = Trajectories()
    config = resolve(
        ["crossing", "reflection2d"],
        {
            "data": {"options": {"stretch": 2.0}},
            "model": {"time_weights": design, "activation": "tanh"},
            "training": {"max_epochs": 50, "lr": 1e-3, "device": "cpu"},
        },
    ).config
    points = task.load_data(config)
    torch.manual_seed(0)
    network = task.build_model(config, points)
    fitted = fit(network, task.objective(config, points), config.training, 0, tmp_path / "checkpoint.pt")
    rmse = fitted.history[fitted.best_epoch - 1]["validation.rmse"]
    assert rmse > 0.1 if design == "none" else rmse < 0.06


@pytest.mark.parametrize("design", [one for one in DESIGNS if one != "film"])
@pytest.mark.parametrize("architecture", ["odenet", "euler"])
def test_points_are_moved_by_weights_of_time(architecture: str, design: str) -> None:
    task = Trajectories()
    updates = {"model": {"architecture": architecture, "time_weights": design}}
    config = resolve(["crossing", "reflection2d"], updates).config
    points = task.load_data(config)
    torch.manual_seed(0)
    varying = task.build_model(config, points)
    torch.manual_seed(0)
    constant = task.build_model(replace(config, model=replace(config.model, time_weights="none")), points)
    if design != "piecewise":
        assert torch.equal(varying(points.x_test), constant(points.x_test))
    report = task.model_report(moved(varying), config, points, "a title")
    assert "time_weights.png" in report.figures
    assert isinstance(report.figures["time_weights.png"](), Figure)


def test_a_network_of_several_blocks_has_a_curve_for_each() -> None:
    found = curves(moved(build(time_weights="fourier", blocks=2)))
    assert len(found) == 2
    figure = plot_time_weights(found, "a title")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["block 1", "block 2"]


# What is refused; what was stored before


def test_a_film_needs_a_normalisation() -> None:
    with pytest.raises(ConfigError, match=r"time_weights is film, but the field has no normalisation with weights"):
        build(time_weights="film", normalisation="none")


@pytest.mark.parametrize(
    ("time_weights", "solver", "sentence"),
    [
        ("fourier", {"control": "sample"}, r"whose weights are one for a batch.*use solver\.control=batch"),
        ("piecewise", {"engine": "torchdiffeq"}, r"use solver\.engine=odenet"),
    ],
)
def test_weights_that_a_solve_cannot_have_are_refused(time_weights: str, solver: dict[str, Any], sentence: str) -> None:
    for names in ((), ("crossing",)):
        with pytest.raises(ConfigError, match=sentence):
            resolve(names, {"model": {"time_weights": time_weights}, "solver": solver})
    network = build(time_weights="fourier")
    ode_blocks(network)[0].solver = SolverConfig(control="sample")
    with pytest.raises(InvalidInput, match=r"use solver\.control=batch"):
        network.eval()(images())


def test_terms_that_change_nothing_are_warned_of() -> None:
    for design in ("none", "gate", "linear"):
        assert design not in WITH_TIME_TERMS
        config = ClassificationConfig(model=NetworkConfig(time_weights=design, time_terms=4))  # type: ignore[arg-type]
        with pytest.warns(UnusedSettingWarning, match=r"model\.time_terms=4 changes nothing"):
            warn_of_unused_settings(config)


@pytest.mark.parametrize(("former", "now"), [(True, "channel"), (False, "none")])
def test_runs_that_were_stored_with_a_time_channel_are_read(former: bool, now: str) -> None:
    stored = {"model": {"architecture": "gladzik", "time_channel": former}}
    assert ClassificationConfig.from_dict(stored).model.time_weights == now
    complete = ClassificationConfig.complete(stored)
    assert complete["model.time_weights"] == now
    assert "model.time_channel" not in complete
    assert "model.time_channel" not in ClassificationConfig.keys()  # noqa: SIM118 - a method
    with pytest.raises(ConfigError, match=r"unknown key model\.time_channel"):
        ClassificationConfig.from_dict({"model": {"time_channel": "yes"}})
    assert not hasattr(ModelConfig(), "time_channel")


@pytest.mark.slow
@pytest.mark.parametrize("design", ["gate", "chebyshev"])
def test_compiled_weights_of_time_are_the_eager_ones(design: str) -> None:
    found = {}
    for is_compiled in (False, True):
        network = moved(build({"method": "heun", "rtol": 0.1, "atol": 0.1}, time_weights=design)).train()
        if is_compiled:
            assert compile_for_training(network, images()) is not None
        scores = network(images())
        scores.square().mean().backward()
        gradients = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        found[is_compiled] = scores.detach(), gradients
    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("design", DESIGNS)
def test_models_whose_weights_depend_on_time_can_be_pickled(design: str) -> None:
    model = build(time_weights=design).eval()
    x = torch.rand(2, 1, 12, 12)
    with torch.no_grad():
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))  # noqa: S301 - our own
