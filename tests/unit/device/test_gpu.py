"""On a GPU: no tensor is left on the CPU, and Python waits for a number as seldom as a solve allows.

Without one, by torch's fake tensors, which have a device and shapes but no numbers.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config import ImageConfig, NetworkConfig, SolverConfig
from pipeline.data import build_preprocessing
from pipeline.models import Network, build_model
from pipeline.ode.counts import ode_blocks

GREY = (1, 28, 28)
GPU = torch.device("cuda")
SIMPLE: dict[str, Any] = {"channels": 6}
NETWORKS: dict[str, dict[str, Any]] = {
    "simple": SIMPLE,
    "simple that sees t": SIMPLE | {"time_weights": "channel"},
    "complex": {"architecture": "complex", "augment": 1},
    "gladzik": {"architecture": "gladzik", "blocks": 2, "time_weights": "channel"},
}
READS_TO_BEGIN = 3
"""The sizes of z, of dz/dt and of its change."""


class Waits(TorchDispatchMode):
    """Counts what Python waits for.

    Attributes:
        reads: numbers from the GPU, each of which it is given as 0.5: an accepted step.
        copies: tensors to the GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.copies = 0

    def __torch_dispatch__(
        self, function: Callable[..., Any], _types: Sequence[type], arguments: Any = (), named: Any = None
    ) -> Any:
        named = named or {}
        if function is torch.ops.aten._local_scalar_dense.default:
            self.reads += arguments[0].device.type == GPU.type
            return 0.5 if arguments[0].is_floating_point() else 1
        if function is torch.ops.aten._to_copy.default:
            there = torch.device(named.get("device", arguments[0].device)).type == GPU.type
            self.copies += there and arguments[0].device.type == "cpu" and not named.get("non_blocking")
        return function(*arguments, **named)


def network(model: dict[str, Any], **solver: Any) -> Network:
    return build_model(NetworkConfig(**model), SolverConfig(**solver), GREY, 10).eval()


def waits_of_a_pass(network: Network, left_behind: str | None = None) -> Waits:
    """Of a pass of eight images on a GPU through the network, which is there too, but for a tensor of that name.

    In float32: in coarser formats a step is read with how rough it was, two numbers in one wait.
    """
    fp32 = torch.backends.cudnn.flags(allow_tf32=False)
    with FakeTensorMode(), Waits() as waits, torch.no_grad(), fp32:
        tensors = {
            name: torch.empty_strided(
                tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu" if name == left_behind else GPU
            )
            for name, tensor in chain(network.named_parameters(), network.named_buffers())
        }
        scores = functional_call(network, tensors, torch.empty(8, *GREY, device=GPU))
        assert scores.shape == (8, 10)
        assert scores.device.type == GPU.type
    assert waits.copies == 0
    return waits


def attempts(network: Network) -> int:
    return sum(len(block.statistics.attempts) for block in ode_blocks(network))


@pytest.mark.parametrize("name", NETWORKS)
def test_an_ode_net_reads_a_number_a_step_from_the_gpu_and_three_to_begin_a_solve(name: str) -> None:
    odenet = network(NETWORKS[name])
    reads = waits_of_a_pass(odenet).reads
    assert attempts(odenet) > 1
    assert reads == attempts(odenet) + READS_TO_BEGIN * len(ode_blocks(odenet))


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "bosh3", "heun"])
def test_no_adaptive_method_reads_more(method: str) -> None:
    odenet = network(SIMPLE, method=method)
    assert waits_of_a_pass(odenet).reads == attempts(odenet) + READS_TO_BEGIN


@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_a_fixed_step_method_reads_whether_each_step_is_finite(method: str) -> None:
    assert waits_of_a_pass(network(SIMPLE, method=method, steps=4)).reads == 4


@pytest.mark.parametrize("architecture", ["simple", "complex", "gladzik"])
def test_a_resnet_never_waits_for_the_gpu(architecture: str) -> None:
    model: dict[str, Any] = {"architecture": architecture, "body": "resnet"}
    assert waits_of_a_pass(network(model | {"augment": 0})).reads == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_of_each_image_run_on_the_gpu(name: str) -> None:
    odenet = network(NETWORKS[name], control="sample")
    waits_of_a_pass(odenet)
    assert [len(block.statistics.samples) for block in ode_blocks(odenet)] == [8] * len(ode_blocks(odenet))


@pytest.mark.parametrize("name", ["stem.0.weight", "body.1.field.normalisation.bias", "head.1.weight"])
def test_a_tensor_that_is_left_on_the_cpu_is_seen(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"devices|same device"):
        waits_of_a_pass(network(SIMPLE), left_behind=name)


def test_random_crops_are_copied_to_the_gpu_without_waiting_for_it() -> None:
    preprocessing = build_preprocessing(ImageConfig(preprocessing="random_crop"), GREY)
    with FakeTensorMode(), Waits() as waits:
        pixels = torch.zeros(8, *GREY, dtype=torch.uint8, device=GPU)
        cropped = preprocessing.for_training(pixels, torch.Generator())
        assert (cropped.device.type, cropped.shape) == (GPU.type, pixels.shape)
        assert (waits.reads, waits.copies) == (0, 0)
        torch.zeros(1).to(GPU)
        assert waits.copies == 1  # what is waited for is seen
