"""Compiled training: the same as eager training but for rounding, of whole batches alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from pipeline.config import ConfigError, NetworkConfig, SolverConfig, TrainingConfig
from pipeline.data import build_preprocessing, load_splits
from pipeline.device.compilation import CompilationWarning, compile_for_training, compiled
from pipeline.device.precision import numerics
from pipeline.models import Network, build_model
from pipeline.models.layers import GroupNormalisation
from pipeline.models.pooling import HalvingMaxPool
from pipeline.ode import ODEBlock, memory
from pipeline.ode.counts import nfe_backward, nfe_forward, ode_blocks
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.classification.objective import CrossEntropy
from pipeline.training import Callback, Fitted, fit
from tests.helpers.ode_fields import Field

# Heun's method has few stages, and so little to compile.
SMALL = {"channels": 4, "augment": 1, "normalisation": "none"}
SOLVER = SolverConfig(method="heun", rtol=0.1, atol=0.1)
SHAPE = (1, 8, 8)
BATCH = 16
"""Of all tests alike, so that what one has compiled is there for the others."""


def build(body: str = "odenet", gradient: str = "direct", channels: int = 4, architecture: str = "simple") -> Network:
    torch.manual_seed(0)
    model = NetworkConfig(**SMALL | {"channels": channels}, body=body, architecture=architecture)
    return build_model(model, replace(SOLVER, gradient=gradient), SHAPE, 10)


def images(number: int = BATCH) -> Tensor:
    return torch.randn(number, *SHAPE, generator=torch.Generator().manual_seed(1))


class InterruptedAfterAnEpoch(Callback):
    def epoch_done(self, *_: object) -> None:
        raise KeyboardInterrupt


def trained(
    body: str, architecture: str, compile_it: bool, folder: Path, is_interrupted: bool = False
) -> tuple[Network, Fitted]:
    """Two epochs on real digits, the last of their batches a smaller one; perhaps resumed after the first."""
    config = ClassificationConfig.from_dict(
        {
            "data": {"name": "digits", "subset": 90},
            "model": {**SMALL, "body": body, "architecture": architecture},
            "training": {"max_epochs": 2, "batch_size": BATCH, "compile": compile_it},
        }
    )
    network = build(body, architecture=architecture)
    if is_interrupted:
        with pytest.raises(KeyboardInterrupt):
            fit_digits(config, network, InterruptedAfterAnEpoch(), folder)
        network = build(body, architecture=architecture)
    return network, fit_digits(config, network, Callback(), folder, resume=is_interrupted)


def fit_digits(
    config: ClassificationConfig, network: Network, callback: Callback, folder: Path, resume: bool = False
) -> Fitted:
    splits, preprocessing = load_splits(config.data, 0, torch.device("cpu")), build_preprocessing(config.data, SHAPE)
    objective = CrossEntropy(splits, preprocessing)
    return fit(network, objective, config.training, 0, folder / "checkpoint.pt", [callback], resume)


def gradient(network: Network, batch: Tensor) -> Tensor:
    network.zero_grad()
    network.train()(batch).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("body", "architecture"),
    [("odenet", "simple"), pytest.param("odenet", "complex", marks=pytest.mark.slow), ("resnet", "simple")],
)
def test_compiled_training_comes_to_what_eager_training_does(body: str, architecture: str, tmp_path: Path) -> None:
    eager, compiled = (trained(body, architecture, compile_it, tmp_path) for compile_it in (False, True))
    assert eager[1].compile_seconds is None
    assert compiled[1].compile_seconds is not None
    assert compiled[1].compile_seconds > 0
    assert compiled[1].batch_losses == pytest.approx(eager[1].batch_losses, rel=1e-4)
    assert compiled[1].batch_nfe_forward == eager[1].batch_nfe_forward
    for ours, theirs in zip(compiled[0].parameters(), eager[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_compiled_training_that_was_interrupted_comes_to_the_same_to_the_bit(tmp_path: Path) -> None:
    whole, resumed = (trained("odenet", "simple", True, tmp_path, interrupted) for interrupted in (False, True))
    assert resumed[1].compile_seconds is not None
    assert resumed[1].batch_losses == whole[1].batch_losses
    assert all(torch.equal(*pair) for pair in zip(resumed[0].parameters(), whole[0].parameters(), strict=True))


@pytest.mark.parametrize(("channels", "groups"), [(12, 3), (12, 12)])
def test_group_normalisation_is_the_same_when_compiled_far_from_zero_too(channels: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = GroupNormalisation(groups, channels)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    z = (100 + torch.randn(5, channels, 6, 7)).to(memory_format=torch.channels_last).requires_grad_()
    expected, weights = functional.group_norm(z.double(), groups, layer.weight.double(), layer.bias.double()), z.cos()
    found = compiled(layer.forward)(z)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    inputs = (z, layer.weight, layer.bias)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs, retain_graph=True),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_pooling_is_the_same_to_the_bit_when_compiled_as_where_two_are_equally_large(dtype: torch.dtype) -> None:
    layer = HalvingMaxPool()
    z = torch.randn(3, 16, 7, 6).to(dtype).contiguous(memory_format=torch.channels_last)
    z[0, :, :2, :2], z[1, 3, 6, 5] = 1, torch.nan
    z.requires_grad_()
    expected, found = layer(z), compiled(layer.forward)(z)
    assert found.shape == (3, 16, 4, 3)
    assert found.isnan().sum() == 1
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())
    assert found.is_contiguous(memory_format=torch.channels_last)
    weights = torch.randn_like(expected)
    for pair in zip(*(torch.autograd.grad(pooled, z, weights) for pooled in (found, expected)), strict=True):
        assert torch.equal(*pair)


LONG = {"batch_size": 8, "max_epochs": 200}
"""2000 whole batches of the 80 images that 100 digits leave for training."""


@pytest.mark.parametrize(
    ("choice", "max_epochs", "expected"),
    [("auto", 200, "compiled"), ("auto", 199, "eager"), (True, 1, "compiled"), (False, 1000, "eager")],
)
@pytest.mark.parametrize("body", ["odenet", "resnet"])
def test_a_run_that_is_too_short_to_earn_it_back_is_eager(
    body: str, choice: str | bool, max_epochs: int, expected: str, tmp_path: Path
) -> None:
    training = {**LONG, "max_epochs": max_epochs, "compile": choice}
    assert choice_for_digits({"model": {**SMALL, "body": body}, "training": training}, tmp_path) == expected


class Chosen(Exception):
    pass


class UntilChosen(Callback):
    """Ends the training as soon as it shows how it goes on."""

    def compiling(self) -> None:
        raise Chosen("compiled")

    def batch_done(self, *_: object) -> None:
        raise Chosen("eager")


def choice_for_digits(values: dict[str, Any], folder: Path) -> str:
    config = ClassificationConfig.from_dict({"data": {"name": "digits", "subset": 100}, **values})
    network = build_model(config.model, config.solver, SHAPE, 10)
    with pytest.raises(Chosen) as chosen:
        fit_digits(config, network, UntilChosen(), folder)
    return str(chosen.value)


def test_nothing_of_a_network_is_left_to_be_computed_piece_by_piece() -> None:
    torch.manual_seed(0)
    network = build_model(NetworkConfig(body="resnet", channels=4, augment=0), SOLVER, SHAPE, 10)
    batch = images()
    assert "aten::native_group_norm" in eager_operations(network, batch)
    assert compile_for_training(network, batch) is not None
    assert "aten::native_group_norm" not in eager_operations(network, batch)


def eager_operations(network: Network, batch: Tensor) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        gradient(network, batch)
    return {event.key for event in profiled.key_averages()}


@pytest.mark.parametrize("body", ["odenet", "resnet"])
def test_a_smaller_batch_and_an_evaluation_are_computed_eagerly(body: str) -> None:
    network, eager = build(body), build(body)
    assert compile_for_training(network, images()) is not None
    compiled = counters["stats"]["unique_graphs"]
    gradient(network, images())
    assert torch.equal(gradient(network, images(5)), gradient(eager, images(5)))
    assert torch.equal(network.eval()(images()), eager.eval()(images()))
    assert counters["stats"]["unique_graphs"] == compiled


def test_compiling_leaves_no_trace_in_the_network_nor_in_the_random_numbers() -> None:
    network, untouched, random = build(), build(), torch.get_rng_state()
    compile_for_training(network, images())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), untouched.parameters(), strict=True))
    assert nfe_forward(network) == 0


def test_compiled_gradients_are_the_same_to_the_bit_whether_steps_are_kept_or_evaluated_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "SMALL_STATE", -1)  # the graph of a small state is not cut
    kept, again = build(gradient="auto"), build(gradient="checkpointed")
    for network in (kept, again):
        assert compile_for_training(network, images()) is not None
    assert torch.equal(gradient(kept, images()), gradient(again, images()))
    assert nfe_backward(again) == 2 * sum(block.statistics.accepted for block in ode_blocks(again))


def test_what_is_evaluated_again_in_the_backward_pass_is_not_compiled_for_it_again() -> None:
    config, cpu, numbers = TrainingConfig(precision="bf16"), torch.device("cpu"), {}
    for gradient in ("direct", "checkpointed"):
        network, before = build(gradient=gradient), counters["stats"]["unique_graphs"]
        with numerics(config, cpu):
            assert compile_for_training(network, images()) is not None
        numbers[gradient] = counters["stats"]["unique_graphs"] - before
    assert numbers["checkpointed"] == numbers["direct"]


def test_networks_without_end_can_be_compiled_in_one_process_as_a_sweep_does() -> None:
    for channels in (3, 4, 5):
        with torch._dynamo.config.patch(recompile_limit=2):  # a stem and a head
            assert compile_for_training(build("resnet", channels=channels), images()) is not None


def test_a_network_is_trained_eagerly_where_compiled_code_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "compiled"))
    network = build("resnet", channels=6)  # which nothing else here has compiled already
    with pytest.warns(CompilationWarning, match=r"trained eagerly: .*Not a directory"):
        assert compile_for_training(network, images()) is None
    gradient(network, images())


def test_a_network_is_trained_eagerly_where_there_is_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.warns(CompilationWarning, match=r"trained eagerly: .*No working C\+\+ compiler"),
    ):
        assert compile_for_training(build("resnet", channels=9), images()) is None


def test_compiled_code_is_kept_with_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert compile_for_training(build("resnet", channels=7), images()) is not None
    assert any((tmp_path / "compiled").iterdir())


def test_a_field_that_cannot_be_compiled_is_trained_eagerly_and_the_warning_says_why() -> None:
    def field(_t: Tensor, z: Tensor) -> Tensor:
        return z * float(z.sum() > 0)  # reads a value: no function of tensors alone

    network = nn.Sequential(ODEBlock(Field(field), 1.0, SOLVER), nn.Flatten(), nn.Linear(64, 2))
    with pytest.warns(
        CompilationWarning,
        match=r"^torch cannot compile this network, which is trained eagerly: .*\w.*; `odenet doctor`",
    ):
        assert compile_for_training(network, images()) is None
    network.train()(images()).sum().backward()


@pytest.mark.parametrize(
    "solver", [{"engine": "torchdiffeq"}, {"gradient": "adjoint"}, {"control": "sample"}], ids=lambda s: next(iter(s))
)
def test_what_cannot_be_compiled_is_refused_where_it_is_asked_for_and_else_eager(
    solver: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"^training.compile is True, but only .* or use training.compile=auto$"):
        ClassificationConfig.from_dict({"solver": solver, "training": {"compile": True}})
    resnet = {"body": "resnet", "augment": 0}
    ClassificationConfig.from_dict({"model": resnet, "solver": solver, "training": {"compile": True}})
    assert choice_for_digits({"solver": solver, "training": {**LONG, "compile": "auto"}}, tmp_path) == "eager"
