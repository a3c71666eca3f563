"""Who is compared: each makes of a workload something that takes training steps."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import peers
from benchmarks.device import Device, Stopwatch
from benchmarks.networks import Workload, replace_blocks
from benchmarks.padded import pad_whole
from benchmarks.trainable import Precision, Step, Trainable
from pipeline.config import SolverConfig, TrainingConfig
from pipeline.device.compilation import compile_for_training
from pipeline.device.host_memory import keep_freed_memory
from pipeline.device.precision import backward, numerics
from pipeline.models import Network
from pipeline.ode import ODEBlock, StepGraphs
from pipeline.ode.counts import nfe_backward, nfe_forward, ode_blocks
from pipeline.ode.stepping.graphs import GraphWarning


class Training:
    """Our network; its blocks are solved as `solver` says, or by what `peer` makes of each.

    A peer's complex ODE-Net has the whole padded state, as in the thesis.
    """

    def __init__(
        self,
        workload: Workload,
        solver: Mapping[str, Any] | None = None,
        training: TrainingConfig = TrainingConfig(),  # noqa: B008 - frozen
        peer: Callable[[ODEBlock], nn.Module] | None = None,
    ) -> None:
        tolerances: dict[str, Any] = {"rtol": workload.tolerance, "atol": workload.tolerance}
        self.network: Network = workload.network(SolverConfig(**tolerances, **(solver or {})))
        self.training, self.precision = training, training.precision
        self.device = workload.device
        if peer is None:
            keep_freed_memory()  # as our training does, and others leave to their users
        else:
            pad_whole(self.network, workload.image_shape[0])
        self.fields = [block.field for block in ode_blocks(self.network)]
        self.images, self.labels = workload.batch()
        self._is_to_be_compiled = training.compile is True
        if training.cuda_graphs:
            for block in ode_blocks(self.network):
                block.graphs = StepGraphs()
        self._evaluations = 0
        if peer is not None:
            for field in self.fields:
                field.register_forward_hook(self._count)
            replace_blocks(self.network, peer)

    def _count(self, *_: object) -> None:
        self._evaluations += 1

    def step(self) -> Step:
        self.network.zero_grad()
        self._evaluations = 0
        stopwatch = Stopwatch(self.device)
        with numerics(self.training, self.images.device), warnings.catch_warnings():
            warnings.simplefilter("error", GraphWarning)  # what is measured is to be what it is called
            if self._is_to_be_compiled:
                self._compile()
            loss = self._loss()
            counted = self._evaluations
            backward(loss)
        milliseconds = stopwatch.milliseconds()
        of_forward = nfe_forward(self.network) or counted  # a peer's blocks count nothing
        of_backward = nfe_backward(self.network) or self._evaluations - counted
        return Step(milliseconds, of_forward, of_backward, float(loss.detach()))

    def _compile(self) -> None:
        if compile_for_training(self.network, self.images) is None:
            raise SystemExit("the network could not be compiled: see the warning above")
        self._is_to_be_compiled = False

    def _loss(self) -> Tensor:
        return functional.cross_entropy(self.network(self.images).float(), self.labels)

    @torch.no_grad()
    def inference_ms(self) -> float:
        stopwatch = Stopwatch(self.device)
        with numerics(self.training, self.images.device):
            self._loss()
        return stopwatch.milliseconds()

    def gradient(self) -> np.ndarray:
        found = [p.grad.flatten().double() for field in self.fields for p in field.parameters() if p.grad is not None]
        return torch.cat(found).cpu().numpy() if found else np.zeros(0)


Candidate = Callable[[Workload], Trainable]


def _ours(precision: Precision = "fp32", compiled: bool = False, graphs: bool = False, **solver: Any) -> Candidate:
    training = TrainingConfig(precision=precision, compile=compiled, cuda_graphs=graphs)
    return partial(Training, solver=solver, training=training)


def _theirs(block: Callable[..., nn.Module], **options: Any) -> Candidate:
    return partial(Training, peer=partial(block, **options))


def _diffrax(workload: Workload) -> Trainable:
    from benchmarks.diffrax_training import DiffraxTraining  # JAX is in this candidate's process alone

    return DiffraxTraining(workload)


BASELINE = "torchdiffeq adjoint"
"""The papers' way, which the others' times are compared with."""
CANDIDATES = {
    BASELINE: _theirs(peers.TorchdiffeqBlock, gradient="adjoint"),
    "torchdiffeq adjoint, seminorm": _theirs(peers.TorchdiffeqBlock, gradient="seminorm"),
    "torchdiffeq direct": _theirs(peers.TorchdiffeqBlock, gradient="direct"),
    "torchode autodiff": _theirs(peers.TorchodeBlock),
    "torchdyn autograd": _theirs(peers.TorchdynBlock, sensitivity="autograd"),
    "torchdyn adjoint": _theirs(peers.TorchdynBlock, sensitivity="adjoint"),
    "diffrax": _diffrax,
    "torchdiffeq adjoint, in the pipeline": _ours(engine="torchdiffeq", gradient="adjoint"),
    "torchdiffeq direct, in the pipeline": _ours(engine="torchdiffeq", gradient="direct"),
    "odenet direct, fp32": _ours(gradient="direct"),
    "odenet checkpointed, fp32": _ours(gradient="checkpointed"),
    "odenet adjoint, fp32": _ours(gradient="adjoint"),
    "odenet direct, tf32": _ours("tf32", gradient="direct"),
    "odenet direct, bf16": _ours("bf16", gradient="direct"),
    "odenet direct, fp32, compiled": _ours(compiled=True, gradient="direct"),
    "odenet direct, tf32, compiled": _ours("tf32", compiled=True, gradient="direct"),
    "odenet direct, bf16, compiled": _ours("bf16", compiled=True, gradient="direct"),
    "odenet direct, fp32, CUDA graphs": _ours(graphs=True, gradient="direct"),
    "odenet direct, bf16, CUDA graphs": _ours("bf16", graphs=True, gradient="direct"),
    "odenet direct, bf16, compiled, CUDA graphs": _ours("bf16", compiled=True, graphs=True, gradient="direct"),
    "odenet direct, first step reused, fp32": _ours(gradient="direct", reuse_first_step=True),
    "odenet direct, first step reused, bf16": _ours("bf16", gradient="direct", reuse_first_step=True),
    "odenet direct, first step reused, bf16, compiled": _ours(
        "bf16", compiled=True, gradient="direct", reuse_first_step=True
    ),
    "odenet checkpointed, bf16": _ours("bf16", gradient="checkpointed"),
    "odenet adjoint, bf16": _ours("bf16", gradient="adjoint"),
    "odenet tsit5 direct, fp32": _ours(method="tsit5", gradient="direct"),
    "odenet rk4, 4 steps, direct, fp32": _ours(method="rk4", steps=4, gradient="direct"),
    "odenet rk4, 4 steps, direct, bf16": _ours("bf16", method="rk4", steps=4, gradient="direct"),
}
"""For ODE-Nets; another library's name is its first word. *In the pipeline* torchdiffeq is given what our engine is."""
RESNET_CANDIDATES = {
    "fp32": _ours(),
    "tf32": _ours("tf32"),
    "bf16": _ours("bf16"),
    "fp32, compiled": _ours(compiled=True),
    "tf32, compiled": _ours("tf32", compiled=True),
    "bf16, compiled": _ours("bf16", compiled=True),
}
PEERS = ("torchode", "torchdyn", "diffrax")
"""Libraries that need not be installed."""


def candidates(workload: Workload) -> dict[str, Candidate]:
    """All that can train a network like this there."""
    model = workload.model
    known = RESNET_CANDIDATES if model.body == "resnet" else CANDIDATES
    unfit = {name for name in known if "tf32" in name and "tf32" not in precisions(workload.device)}
    if model.time_weights == "channel":
        unfit.add("torchode autodiff")  # its samples have times of their own, our fields see one for all
    if workload.device == "cpu":
        unfit |= {name for name in known if "CUDA graphs" in name}
    if workload.device != "cpu":
        unfit.add("diffrax")  # whose network is written for a CPU, as is the JAX that comes with the extra
    return {name: candidate for name, candidate in known.items() if name not in unfit}


def precisions(device: Device) -> tuple[Precision, ...]:
    """What `training.precision` can mean there; on a CPU tf32 is fp32."""
    return ("fp32", "tf32", "bf16") if device == "cuda" else ("fp32", "bf16")


def exact_gradient(workload: Workload, tolerance: float) -> np.ndarray:
    """`Trainable.gradient` in float64 at a tight tolerance."""
    training = Training(replace(workload, tolerance=tolerance), {"gradient": "checkpointed", "max_steps": 100_000})
    training.network.double()
    training.images = training.images.double()
    functional.cross_entropy(training.network(training.images), training.labels).backward()
    return training.gradient()


def ceiling_ms(workload: Workload, precision: Precision) -> float:
    """Milliseconds of a field's convolutions alone, forward and backward, for one evaluation: the best of twenty.

    Of several blocks' fields the mean. A GPU is given ten in a row, whose starts it need not be waited for.
    """
    training = Training(workload, training=TrainingConfig(precision=precision))
    inputs: list[tuple[nn.Module, Tensor]] = []
    for field in training.fields:
        for module in field.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda module, given, _out: inputs.append((module, given[0].detach())))
    training.inference_ms()
    once = {id(module): (module, given) for module, given in inputs}.values()
    in_a_row = 10 if workload.device == "cuda" else 1
    milliseconds = []
    for _ in range(20):
        training.network.zero_grad()
        stopwatch = Stopwatch(workload.device)
        with numerics(training.training, training.images.device):
            for module, given in list(once) * in_a_row:
                given.grad = None
                given.requires_grad_()
                output = module(given)
                backward(output, torch.ones_like(output))
        milliseconds.append(stopwatch.milliseconds() / in_a_row)
    return min(milliseconds) / len(training.fields)
