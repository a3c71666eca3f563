"""Who is compared: each turns a workload into something that can take a training step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import peers
from benchmarks.networks import TOLERANCE, Workload, replace_blocks
from pipeline.config import SolverConfig, TrainingConfig
from pipeline.models import Network
from pipeline.ode import ODEBlock
from pipeline.training import numerics

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Candidate:
    """A way to solve and to differentiate.

    Attributes:
        solver: how our own blocks are solved.
        peer: makes another library's block of one of ours; None for our own.
    """

    precision: Precision = "fp32"
    solver: SolverConfig = SolverConfig(rtol=TOLERANCE, atol=TOLERANCE)  # noqa: RUF009 - frozen
    peer: Callable[[ODEBlock], nn.Module] | None = None


def _ours(precision: Precision = "fp32", **solver: Any) -> Candidate:
    return Candidate(precision, SolverConfig(**({"rtol": TOLERANCE, "atol": TOLERANCE} | solver)))


CANDIDATES = {
    "torchdiffeq adjoint": Candidate(peer=lambda block: peers.TorchdiffeqBlock(block, "adjoint")),
    "torchdiffeq adjoint, seminorm": Candidate(peer=lambda block: peers.TorchdiffeqBlock(block, "seminorm")),
    "torchdiffeq direct": Candidate(peer=lambda block: peers.TorchdiffeqBlock(block, "direct")),
    "torchode autodiff": Candidate(peer=peers.TorchodeBlock),
    "torchdyn autograd": Candidate(peer=lambda block: peers.TorchdynBlock(block, "autograd")),
    "torchdyn adjoint": Candidate(peer=lambda block: peers.TorchdynBlock(block, "adjoint")),
    "odenet direct, fp32": _ours(gradient="direct"),
    "odenet checkpointed, fp32": _ours(gradient="checkpointed"),
    "odenet adjoint, fp32": _ours(gradient="adjoint"),
    "odenet direct, bf16": _ours("bf16", gradient="direct"),
    "odenet checkpointed, bf16": _ours("bf16", gradient="checkpointed"),
    "odenet adjoint, bf16": _ours("bf16", gradient="adjoint"),
    "odenet tsit5 direct, fp32": _ours(method="tsit5", gradient="direct"),
    "odenet rk4, 4 steps, direct, fp32": _ours(method="rk4", steps=4, gradient="direct"),
    "odenet rk4, 4 steps, direct, bf16": _ours("bf16", method="rk4", steps=4, gradient="direct"),
}
"""For ODE-Nets; a residual network is timed as `fp32` and `bf16`."""
RESNET_CANDIDATES = {"fp32": Candidate(), "bf16": Candidate("bf16")}


class Training:
    """A network and its batch, ready to be timed."""

    def __init__(self, workload: Workload, candidate: Candidate) -> None:
        self.candidate = candidate
        self.network: Network = workload.network(candidate.solver)
        self.fields = [block.field for block in self.network.ode_blocks()]
        self.evaluations = 0
        for field in self.fields:
            field.register_forward_hook(self._count)
        if candidate.peer is not None:
            replace_blocks(self.network, candidate.peer)
        self.images, self.labels = workload.batch()

    def _count(self, *_: object) -> None:
        self.evaluations += 1

    def step(self) -> dict[str, float]:
        """Forward and backward once: milliseconds, evaluations and the loss."""
        self.network.zero_grad()
        self.evaluations = 0
        started = time.perf_counter()
        loss = self._loss()
        forward = self.evaluations
        loss.backward()
        seconds = time.perf_counter() - started
        return {
            "train_ms": 1000 * seconds,
            "nfe_forward": forward,
            "nfe_backward": self.evaluations - forward,
            "loss": float(loss.detach()),
        }

    def _loss(self) -> Tensor:
        with numerics(TrainingConfig(precision=self.candidate.precision), self.images.device):
            return functional.cross_entropy(self.network(self.images).float(), self.labels)

    @torch.no_grad()
    def inference(self) -> dict[str, float]:
        """Forward once, without gradients."""
        started = time.perf_counter()
        self._loss()
        return {"inference_ms": 1000 * (time.perf_counter() - started)}

    def gradient(self) -> Tensor:
        """Of the fields' parameters after a step, as one vector in double precision; empty for a residual network."""
        found = [p.grad.flatten().double() for field in self.fields for p in field.parameters() if p.grad is not None]
        return torch.cat(found) if found else torch.zeros(0)


def exact_gradient(workload: Workload, tolerance: float) -> Tensor:
    """The same gradient in float64 at a tight tolerance."""
    solver = {"rtol": tolerance, "atol": tolerance, "max_steps": 100_000}
    training = Training(workload, _ours(gradient="checkpointed", **solver))
    training.network.double()
    training.images = training.images.double()
    loss = functional.cross_entropy(training.network(training.images), training.labels)
    loss.backward()
    return training.gradient()


def ceiling(workload: Workload, precision: Precision) -> dict[str, float]:
    """Milliseconds of the field's convolutions alone, forward and backward, for one evaluation."""
    training = Training(workload, Candidate(precision))
    inputs: list[tuple[nn.Module, Tensor]] = []
    for field in training.fields:
        for module in field.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda module, given, _out: inputs.append((module, given[0].detach())))
    with torch.no_grad():
        training._loss()
    once = {id(module): (module, given) for module, given in inputs}.values()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        for module, given in once:
            given.requires_grad_()
            with numerics(TrainingConfig(precision=precision), given.device):
                output = module(given)
            output.backward(torch.ones_like(output))
        seconds.append(time.perf_counter() - started)
    return {"ceiling_ms": 1000 * sorted(seconds)[len(seconds) // 2]}
