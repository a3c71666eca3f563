"""The papers' networks: their sizes to the unit, what the papers vary, and what cannot be built."""

import math
import warnings
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.padded import pad_whole
from experiments.presets import ORDER as MODELS
from experiments.presets import resolve
from pipeline.config import ConfigError, NetworkConfig, SolverConfig
from pipeline.data import Images, Splits, build_preprocessing, load_splits
from pipeline.data.shapes import network_input
from pipeline.device import compilation
from pipeline.models import BatchNormalisationWarning, Network, build_model
from pipeline.models.describe import Description, describe
from pipeline.models.layers import divisors, nearest_divisor
from pipeline.ode.counts import nfe_backward, nfe_forward, ode_blocks, rejected_steps
from pipeline.plugins import registry
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.objective import CrossEntropy
from pipeline.training import fit
from tests.helpers.paths import SAMPLES

DATA_SETS = registry.names("data set", "classification")
OFFICIAL = {
    name: (facts["shape"], facts["classes"]) for name in DATA_SETS for facts in [registry.find("data set", name).facts]
}
GREY, COLOUR, DIGIT = (1, 28, 28), (3, 32, 32), (1, 8, 8)
EULER = SolverConfig(method="euler", steps=2)


def described(*names: str, **model: Any) -> Description:
    config: Any = resolve(names, {"model": model}).config
    return describe(config.model, *network_input(config.data))


def build(shape: tuple[int, int, int] = DIGIT, solver: SolverConfig = EULER, **model: Any) -> Network:
    torch.manual_seed(0)
    return build_model(NetworkConfig(**model), solver, shape, 10)


def scores(shape: tuple[int, int, int] = DIGIT, **model: Any) -> torch.Tensor:
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return build(shape, **model).eval()(images)


def kinds(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


# Sizes


@pytest.mark.parametrize(
    ("model", "data", "total", "outside_linear"),
    [
        # Bijsterbosch 2020, tables 7.4 and 7.5
        ("resnet_small", "fashion_mnist", 169_432, 40_062),
        ("resnet_large", "fashion_mnist", 248_236, 118_866),
        ("odenet_simple", "fashion_mnist", 169_412, 40_042),
        ("resnet_small", "cifar10", 1_267_564, 607_074),
        ("resnet_large", "cifar10", 2_467_264, 1_806_774),
        ("odenet_simple", "cifar10", 1_267_508, 607_018),
        ("resnet_complex", "cifar10", 412_682, 371_712),
        ("odenet_complex", "cifar10", 413_258, 372_288),
        ("resnet_complex", "fashion_mnist", 393_674, 352_704),
    ],
)
def test_bijsterboschs_networks_have_the_papers_parameters(
    model: str, data: str, total: int, outside_linear: int
) -> None:
    description = described(model, data)
    assert (description.parameters, description.parameters_outside_linear) == (total, outside_linear)


GLADZIK_GREY = {
    ("odenet", 1): 208_266,
    ("odenet", 2): 283_658,
    ("resnet", 2): 280_842,
    ("resnet", 4): 428_810,
    ("resnet", 6): 576_778,  # Chen et al. 2018
    ("resnet", 8): 724_746,
}
GLADZIK_CIFAR10 = {
    ("odenet", 1): 209_418,
    ("odenet", 2): 284_810,
    ("resnet", 2): 281_994,
    ("resnet", 4): 429_962,
    ("resnet", 6): 577_930,
    ("resnet", 8): 725_898,
}
GLADZIK_CIFAR100 = {
    ("odenet", 1): 215_268,
    ("odenet", 2): 290_660,
    ("resnet", 2): 287_844,
    ("resnet", 4): 435_812,
    ("resnet", 6): 583_780,
    ("resnet", 8): 731_748,
}
GLADZIK = {
    "mnist": GLADZIK_GREY,
    "qmnist": GLADZIK_GREY,
    "fashion_mnist": GLADZIK_GREY,
    "cifar10": GLADZIK_CIFAR10,
    "cifar100": GLADZIK_CIFAR100,
}


@pytest.mark.parametrize(
    ("data", "body", "blocks", "total"),
    [(data, body, blocks, total) for data, counts in GLADZIK.items() for (body, blocks), total in counts.items()],
)
def test_gladziks_networks_have_the_papers_parameters(data: str, body: str, blocks: int, total: int) -> None:
    description = described(f"gladzik_{body}", data, blocks=blocks)
    assert description.parameters == total
    assert total - description.parameters_outside_linear == 65 * (100 if data == "cifar100" else 10)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", DATA_SETS)
def test_the_layers_parameters_add_up_to_those_of_the_network(model: str, data: str) -> None:
    config: Any = resolve([model, data], {}).config
    shape, classes = network_input(config.data)
    description = describe(config.model, shape, classes)
    network = build_model(config.model, config.solver, shape, classes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert description.parameters == parameters == sum(layer.parameters for layer in description.layers)
    assert description.layers[-1].output == (OFFICIAL[data][1],)


def outputs(description: Description, kind: str) -> list[tuple[int, ...]]:
    return [layer.output for layer in description.layers if layer.kind == kind]


@pytest.mark.parametrize(
    ("model", "data", "convolutions", "flattened"),
    [
        ("odenet_simple", "fashion_mnist", [(64, 14, 14), (66, 14, 14)], 66 * 14 * 14),
        ("resnet_large", "fashion_mnist", [(66, 14, 14)] * 4, 66 * 14 * 14),
        ("odenet_simple", "cifar10", [(256, 16, 16), (258, 16, 16)], 258 * 16 * 16),
        ("odenet_complex", "fashion_mnist", [(48, 28, 28), (128, 14, 14), (256, 7, 7)], 256 * 4 * 4),
        ("resnet_complex", "cifar10", [(64, 32, 32), (128, 16, 16), (256, 8, 8)], 256 * 4 * 4),
        ("gladzik_odenet", "cifar10", [(64, 26, 26), (64, 13, 13), (64, 6, 6), (64, 6, 6), (64, 6, 6)], 64),
    ],
)
def test_feature_maps_have_the_papers_sizes(
    model: str, data: str, convolutions: list[tuple[int, ...]], flattened: int
) -> None:
    description = described(model, data)
    assert outputs(description, "Conv2d") == convolutions
    assert outputs(description, "Flatten") == [(flattened,)]


@pytest.mark.parametrize(
    ("model", "data", "in_fields", "elsewhere"),
    [
        ("odenet_simple", "fashion_mnist", 66 * 66 * 9 * 14**2, 64 * 9 * 14**2 + 66 * 14**2 * 10),
        ("resnet_large", "fashion_mnist", None, 66 * 9 * 14**2 + 3 * 66 * 66 * 9 * 14**2 + 66 * 14**2 * 10),
        (
            "odenet_complex",
            "cifar10",
            4 * 64 * 9 * 32**2 + 64 * 128 * 9 * 16**2 + 128 * 256 * 9 * 8**2,
            256 * 4**2 * 10,
        ),
        (
            "gladzik_odenet",
            "mnist",
            2 * 65 * 64 * 9 * 6**2,
            64 * 9 * 26**2 + 64 * 64 * 16 * (13**2 + 6**2) + 64 * 10,
        ),
    ],
)
def test_multiply_adds_are_those_of_a_hand_computation(
    model: str, data: str, in_fields: int | None, elsewhere: int
) -> None:
    description = described(model, data)
    assert description.multiply_adds_per_evaluation == in_fields
    assert description.multiply_adds == elsewhere + (in_fields or 0)


def test_a_description_is_plain_values_for_a_program() -> None:
    described_plainly = described("odenet_simple", "fashion_mnist").to_dict()
    assert described_plainly["parameters"] == {"total": 169_412, "outside_linear": 40_042}
    assert described_plainly["multiply_adds"]["per_evaluation"] == 66 * 66 * 9 * 14**2
    assert described_plainly["image_shape"] == [1, 28, 28]
    assert described_plainly["layers"][0] == {
        "name": "stem.0",
        "kind": "Conv2d",
        "output": [64, 14, 14],
        "parameters": 640,
        "multiply_adds": 64 * 9 * 14**2,
    }


def test_describing_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    described("odenet_simple", "digits")
    assert torch.equal(torch.rand(1), expected)


# What the papers vary


@pytest.mark.parametrize(
    ("base", "changed"),
    [
        ({}, {"activation": "tanh"}),
        ({}, {"activation": "softplus"}),
        ({}, {"activation_before": "relu"}),
        ({"architecture": "gladzik"}, {"activation_before": "tanh"}),
        ({}, {"normalisation": "none"}),
        ({}, {"groups": 2}),
        ({}, {"stride": 1}),
        ({}, {"final_time": 2.0}),
        ({"architecture": "complex"}, {"final_time": 0.5}),
        ({}, {"time_weights": "channel"}),
        ({"architecture": "complex"}, {"time_weights": "channel"}),
        ({}, {"augment": 4}),
        ({"architecture": "complex"}, {"augment": 0}),
        ({"architecture": "gladzik"}, {"augment": 0}),
        ({}, {"blocks": 2}),
        ({"body": "resnet"}, {"blocks": 2}),
        ({"body": "resnet"}, {"augment": 0}),
        ({}, {"body": "resnet"}),
    ],
)
def test_what_the_papers_vary_takes_effect(base: dict[str, Any], changed: dict[str, Any]) -> None:
    channels = {} if base.get("architecture") == "gladzik" else {"channels": 16}
    assert not torch.allclose(scores(**channels | base), scores(**channels | base | changed))


@pytest.mark.parametrize(("model", "blocks"), [("simple", 1), ("simple", 3), ("gladzik", 2)])
def test_blocks_are_solved_one_after_the_other(model: str, blocks: int) -> None:
    network = build(architecture=model, channels=8, blocks=blocks)
    network(torch.randn(2, *DIGIT))
    assert len(ode_blocks(network)) == blocks
    assert nfe_forward(network) == 2 * blocks
    assert rejected_steps(network) == 0
    assert nfe_backward(network) is None


def test_backward_evaluations_are_summed_over_the_blocks() -> None:
    network = build(solver=SolverConfig(method="euler", steps=3, gradient="adjoint"), channels=8, blocks=2)
    network(torch.randn(2, *DIGIT)).sum().backward()
    assert (nfe_forward(network), nfe_backward(network)) == (6, 6)


def test_a_residual_network_has_no_evaluations_to_count() -> None:
    network = build(body="resnet", channels=8)
    network(torch.randn(2, *DIGIT)).sum().backward()
    assert ode_blocks(network) == []
    assert (nfe_forward(network), nfe_backward(network), rejected_steps(network)) == (None, None, None)


def test_one_euler_step_through_an_ode_net_is_its_residual_twin() -> None:
    # Without augmentation the two have the same layers, and a residual block is an Euler step of size one.
    images = torch.randn(2, *DIGIT)
    odenet = build(solver=SolverConfig(method="euler"), channels=12, augment=0)
    resnet = build(channels=12, augment=0, body="resnet")
    resnet.load_state_dict(
        dict(zip(resnet.state_dict(), odenet.state_dict().values(), strict=True)),
    )
    assert torch.allclose(odenet(images), resnet(images), atol=1e-6)


def test_the_final_time_is_how_far_the_field_is_followed() -> None:
    # An autonomous field followed to 2 in four steps is the field followed to 1 in two, twice.
    network = build(solver=SolverConfig(method="rk4", steps=4), channels=6, augment=0, final_time=2.0)
    (block,) = ode_blocks(network)
    z = torch.randn(2, 6, 4, 4)
    whole = block(z)
    block.final_time, block.solver = 1.0, SolverConfig(method="rk4", steps=2)
    assert torch.allclose(block(block(z)), whole, atol=1e-5)


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
def test_a_field_sees_time_where_it_is_a_channel_and_only_there(architecture: str) -> None:
    for time_weights in ("none", "channel"):
        network = build(architecture=architecture, channels=8, augment=0, time_weights=time_weights)
        (block,) = ode_blocks(network)
        z = network.stem(torch.randn(2, *DIGIT))
        early, late = (block.field(torch.tensor(t), z) for t in (0.0, 1.0))
        assert torch.equal(early, late) == (time_weights == "none")


def test_the_complex_residual_network_adds_what_comes_in_to_what_each_convolution_makes_of_it() -> None:
    network = build(GREY, architecture="complex", body="resnet")
    images = torch.randn(2, *GREY)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                module.bias.zero_()
        one, other = network(images)
    assert not torch.allclose(one, other)  # the images still come through


def test_augmented_dimensions_begin_at_zero_and_the_field_sees_them() -> None:
    network = build(channels=6, augment=2)
    states: list[torch.Tensor] = []
    (block,) = ode_blocks(network)
    block.field.register_forward_hook(lambda _module, inputs, _output: states.append(inputs[1]))
    network(torch.randn(2, *DIGIT))
    assert states[0].shape == (2, 8, 4, 4)
    assert not states[0][:, 6:].any()
    assert states[0][:, :6].any()
    assert states[1][:, 6:].any()


def solved(network: Network, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, tuple[int | None, ...]]:
    """Scores, the gradient of the field's parameters, and evaluations forward and backward."""
    scores = network(images)
    scores.square().sum().backward()
    (block,) = ode_blocks(network)
    gradient = torch.cat([p.grad.flatten() for p in block.field.parameters() if p.grad is not None])
    return scores.detach(), gradient, (nfe_forward(network), nfe_backward(network))


@pytest.mark.parametrize(
    ("shape", "model", "solver"),
    [
        (GREY, {"augment": 1}, {"gradient": "direct"}),
        (GREY, {"augment": 0}, {"gradient": "checkpointed", "method": "bosh3"}),
        (GREY, {"augment": 1}, {"gradient": "direct", "method": "rk4", "steps": 2}),
        ((3, 9, 17), {"augment": 3, "time_weights": "channel"}, {"gradient": "adjoint"}),
        ((3, 9, 17), {"augment": 2}, {"control": "sample"}),
        (GREY, {"augment": 1, "time_weights": "channel"}, {"control": "sample"}),
        (GREY, {"augment": 1}, {"gradient": "adjoint", "engine": "torchdiffeq"}),
        (COLOUR, {"augment": 253}, {"gradient": "direct"}),
    ],
)
def test_the_complex_odenet_is_that_of_the_whole_padded_image(
    shape: tuple[int, int, int], model: dict[str, Any], solver: dict[str, Any]
) -> None:
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)).double()

    def network() -> Network:
        return build(shape, SolverConfig(**solver), architecture="complex", channels=12, **model).double()

    compact, padded = network(), network()
    pad_whole(padded, shape[0])
    height, width, read = *shape[1:], shape[0] + model["augment"]
    corner = math.ceil(height / 8) * math.ceil(width / 8)
    assert compact.stem(images).shape == (3, read * height * width + (256 - read) * corner)
    assert padded.stem(images).shape == (3, 256, height, width)
    (ours, gradient, evaluations), (whole, whole_gradient, whole_evaluations) = (
        solved(net, images) for net in (compact, padded)
    )
    assert evaluations == whole_evaluations
    torch.testing.assert_close(ours, whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient, whole_gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
@pytest.mark.parametrize("body", ["odenet", "resnet"])
def test_the_kind_of_normalisation_is_a_choice(architecture: str, body: str) -> None:
    def network(normalisation: str) -> Network:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BatchNormalisationWarning)
            return build(architecture=architecture, body=body, channels=16, augment=0, normalisation=normalisation)

    group, batch, none = network("group"), network("batch"), network("none")
    assert kinds(group, nn.BatchNorm2d) == kinds(none, nn.BatchNorm2d) == 0
    in_blocks = kinds(batch, nn.BatchNorm2d)
    assert in_blocks > 0
    assert kinds(group, nn.GroupNorm) - kinds(none, nn.GroupNorm) == in_blocks


@pytest.mark.parametrize(
    ("model", "groups"),
    [
        ({"channels": 64}, 6),
        ({"channels": 256}, 6),
        ({"channels": 38}, 5),
        ({"channels": 64, "groups": 22}, 22),
        ({"architecture": "gladzik", "augment": 0}, 32),
        ({"architecture": "gladzik", "augment": 0, "groups": 8}, 8),
    ],
)
def test_groups_are_as_configured_or_the_divisor_nearest_to_the_papers(model: dict[str, Any], groups: int) -> None:
    (block,) = ode_blocks(build(GREY, **model))
    assert {m.num_groups for m in block.modules() if isinstance(m, nn.GroupNorm)} == {groups}


def test_the_nearest_divisor_is_a_divisor_and_the_larger_of_two_equally_near() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    assert nearest_divisor(66, 6) == 6
    assert nearest_divisor(64, 32) == 32
    assert nearest_divisor(40, 6) == 5
    assert nearest_divisor(32, 6) == 8
    assert nearest_divisor(7, 6) == 7
    assert nearest_divisor(1, 32) == 1


# Refusals


@pytest.mark.parametrize(
    ("shape", "model", "sentence"),
    [
        (DIGIT, {"groups": 5}, "model.groups is 5, which does not divide the 66 channels of a block"),
        (GREY, {"architecture": "complex", "groups": 32}, "model.groups is 32, which does not divide the 48 channels"),
        (GREY, {"architecture": "gladzik", "groups": 7}, "model.groups is 7, which does not divide the 66 channels"),
        (GREY, {"architecture": "complex", "blocks": 2}, "model.blocks is 2, but the complex architecture has only 1"),
        (GREY, {"architecture": "complex", "stride": 2}, "model.stride is 2, but the complex architecture has only 1"),
        (
            GREY,
            {"architecture": "complex", "activation_before": "relu"},
            "model.activation_before is relu, but the complex architecture has only none",
        ),
        (
            COLOUR,
            {"architecture": "complex", "augment": 254},
            "model.augment is 254, but the state has only 253 zero channels",
        ),
        (GREY, {"architecture": "gladzik", "stride": 1}, "model.stride is 1, but the gladzik architecture's stem"),
        (
            (1, 5, 28),
            {"architecture": "gladzik"},
            "the gladzik architecture needs images of at least 6 × 6, not 5 × 28: use model.architecture=simple",
        ),
        (GREY, {"body": "resnet", "time_weights": "film"}, "model.time_weights is film, but a residual network has no"),
    ],
)
def test_values_that_do_not_go_together_are_refused_in_a_sentence(
    shape: tuple[int, int, int], model: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build(shape, **model)
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_groups_that_do_not_divide_are_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"it must be one of 1, 2, 3, 6, 11, 22, 33, 66$"):
        build(groups=5)


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
@pytest.mark.parametrize("body", ["odenet", "resnet"])
def test_batch_normalisation_in_an_ode_block_is_warned_about_and_in_a_residual_block_not(
    architecture: str, body: str
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build(architecture=architecture, body=body, channels=8, augment=0, normalisation="batch")
    warned = [str(w.message) for w in caught if w.category is BatchNormalisationWarning]
    assert len(warned) == (body == "odenet")
    assert all("model.normalisation=group" in message for message in warned)


# Named configurations


@pytest.fixture(scope="module")
def real_images() -> dict[tuple[int, int, int], Splits]:
    """Real images of each shape that a named data set has."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ODENET_DATA", str(SAMPLES))
        splits = [
            load_splits(ClassificationConfig.from_dict({"data": {"name": name}}).data, 0, torch.device("cpu"))
            for name in ("digits", "fashion_mnist", "cifar10")
        ]
    return {tuple(s.train.pixels.shape[1:]): s for s in splits}


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be compiled is captured and differentiated as a whole, but no code is built, which takes long."""
    capture = partial(torch.compile, fullgraph=True, dynamic=False, backend="aot_eager")
    monkeypatch.setattr(compilation, "_compile", cache(capture))


@pytest.mark.slow
def test_the_named_configuration_whose_code_is_built_takes_one_step(
    real_images: dict[tuple[int, int, int], Splits], tmp_path: Path
) -> None:
    take_one_step("fast", "digits", real_images, tmp_path)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("data", DATA_SETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_named_configuration_builds_and_takes_one_step(
    model: str, data: str, real_images: dict[tuple[int, int, int], Splits], tmp_path: Path
) -> None:
    take_one_step(model, data, real_images, tmp_path)


def take_one_step(model: str, data: str, real_images: dict[tuple[int, int, int], Splits], tmp_path: Path) -> None:
    config: Any = resolve([model, data], {"training": {"max_epochs": 1, "batch_size": 2}}).config
    image_shape, classes = OFFICIAL[data]
    real = real_images[image_shape]
    training, validation = (Images(s.pixels[:2], s.labels[:2]) for s in (real.train, real.validation))
    preprocessing = build_preprocessing(config.data, image_shape)
    torch.manual_seed(0)
    network = build_model(config.model, config.solver, preprocessing.output_shape, classes)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    names = tuple(map(str, range(classes)))
    objective = CrossEntropy(replace(real, train=training, validation=validation, classes=names), preprocessing)
    fitted = fit(network, objective, config.training, 0, tmp_path / "checkpoint.pt")
    assert len(fitted.batch_losses) == 1
    assert torch.isfinite(torch.tensor(fitted.batch_losses)).all()
    moved = [not torch.equal(was, now) for was, now in zip(before, network.parameters(), strict=True)]
    assert all(moved)
    if config.model.body == "odenet":
        assert config.solver.method == "dopri5"
        assert fitted.batch_nfe_forward[0] >= 2 + 6


@pytest.mark.filterwarnings("ignore:Full backward hook")  # images ask for no gradient
@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
@pytest.mark.parametrize("body", ["odenet", "resnet"])
def test_images_and_gradients_of_a_batch_stay_in_channels_last(body: str, architecture: str) -> None:
    seen = {"augment": 1, "time_weights": "channel"} if body == "odenet" else {"augment": 0}
    network = build(GREY, body=body, architecture=architecture, **seen)
    layouts: list[bool] = []

    def note(_module: nn.Module, *tensors: tuple[torch.Tensor | None, ...]) -> None:
        found = [t for group in tensors for t in group if t is not None and t.dim() == 4 and t.shape[1] > 1]
        layouts.extend(t.stride(1) == 1 for t in found)

    for module in network.body.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, given, output: note(module, given, (output,)))
            module.register_full_backward_hook(note)
    network(torch.randn(2, *GREY)).sum().backward()
    assert layouts
    assert all(layouts)
