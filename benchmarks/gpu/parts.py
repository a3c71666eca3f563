"""What is measured, in the order of its worth: a card that goes away early has given the main table."""

from collections.abc import Sequence
from dataclasses import dataclass

OURS = (
    *("odenet direct, fp32", "odenet direct, tf32", "odenet direct, bf16", "odenet direct, fp32, compiled"),
    *("odenet direct, tf32, compiled", "odenet direct, bf16, compiled", "odenet adjoint, fp32"),
    *("odenet direct, fp32, CUDA graphs", "odenet direct, bf16, CUDA graphs"),
    "odenet direct, bf16, compiled, CUDA graphs",
)
THEIRS = ("torchdiffeq adjoint", "torchdiffeq direct")
MORE = (
    "torchdiffeq adjoint",
    *("torchdiffeq adjoint, seminorm", "torchode autodiff", "torchdyn autograd", "torchdyn adjoint"),
    *("odenet checkpointed, fp32", "odenet direct, first step reused, bf16, compiled"),
)
REHEARSED = ("torchdiffeq adjoint", "odenet direct, fp32", "odenet direct, bf16")
"""What a machine without a GPU tries, so that the command itself is known to work."""


@dataclass(frozen=True)
class Part:
    """One process.

    Attributes:
        name: of its file.
        title: of its section.
        arguments: of Python; the part writes JSON to the file that follows them.
        minutes: that it needs; it does not begin with less.
        is_tests: it is pytest, whose exit status alone is kept.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    minutes: float
    is_tests: bool = False


def parts(device: str) -> Sequence[Part]:
    """All of them; on a CPU small ones."""
    if device == "cpu":
        return (
            _tests(),
            _steps("digits", "Training steps of a small network", ("digits",), REHEARSED, 1, "cpu"),
            _epoch("epoch", "An epoch", ("--images", "512", "--size", "8"), "cpu", 2),
            _small("small", "Small fields", ("mlp-2",), 1, 2, "cpu"),
            _sharing("sharing", "Trials that share a card", ("--shares", "1", "2", "--size", "8"), "cpu", 2),
        )
    return (
        _steps("simple", "Training steps of the simple ODE-Net", ("simple",), (*THEIRS, *OURS), 2.5, device),
        _steps("resnets", "Residual networks beside it", ("simple-resnet", "simple-resnet-3"), (), 1, device),
        _tests(),
        _epoch("epoch", "An epoch of 48 000 images of 28 × 28", ("--images", "60000", "--size", "28"), device, 2),
        _steps("peers", "Other libraries and gradients, the simple ODE-Net", ("simple",), MORE, 1.5, device),
        _small("small", "Small fields", ("mlp-2", "latent-ode"), 5, 3, device),
        _steps("networks", "Other networks", ("simple-colour", "complex", "gladzik-2"), (*THEIRS, *OURS), 3, device),
        _sharing("sharing", "Trials that share a card", ("--shares", "1", "2", "4", "8", "--size", "28"), device, 2),
    )


def _steps(
    name: str, title: str, networks: tuple[str, ...], candidates: tuple[str, ...], minutes: float, device: str
) -> Part:
    chosen = [word for network in networks for word in ("--network", network)]
    chosen += [word for candidate in candidates for word in ("--candidate", candidate)]
    fewer = ("--reference", "1e-4", "--repeats", "2") if device == "cpu" else ("--reference", "1e-6", "--repeats", "5")
    return Part(name, title, ("-m", "benchmarks", "--device", device, *fewer, *chosen, "--out"), minutes)


def _small(name: str, title: str, networks: tuple[str, ...], repeats: int, minutes: float, device: str) -> Part:
    chosen = [word for network in networks for word in ("--network", network)]
    words = ("-m", "benchmarks.gpu.small_fields", "--device", device, "--repeats", str(repeats), *chosen, "--out")
    return Part(name, title, words, minutes)


def _tests() -> Part:
    words = ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu")
    return Part("tests", "Tests on the card", words, 2, is_tests=True)


def _epoch(name: str, title: str, size: tuple[str, ...], device: str, minutes: float) -> Part:
    return Part(name, title, ("-m", "benchmarks.gpu.epoch", "--device", device, *size, "--out"), minutes)


def _sharing(name: str, title: str, size: tuple[str, ...], device: str, minutes: float) -> Part:
    return Part(name, title, ("-m", "benchmarks.gpu.sharing", "--device", device, *size, "--out"), minutes)
