"""Fields whose weights depend on time: θ(t) instead of θ.

Each design begins with weights that do not depend on time, those of the usual initialisation, so that a first step with
it is to the bit one without.

Source: Massaroli et al. 2020, section 3, for `fourier`, `chebyshev` (a Galerkin basis) and `piecewise`; Grathwohl et
al. 2019, the published code, for `gate` and `linear`; Chen et al. 2018, section 4, for `hypernetwork`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import pi, prod
from typing import Protocol

import torch
from torch import Tensor, nn

from pipeline.config import ConfigError
from pipeline.util.errors import InvalidInput

Weights = Mapping[str, Tensor]
"""Parameters of a module by their names."""
FILM_HIDDEN = 16
RANK = 8
HYPERNETWORK_HIDDEN = 8
TERMS = 3
"""What the designs have without `model.time_terms`."""


class ConfigOfTime(Protocol):
    """The settings of a model whose weights may depend on time."""

    @property
    def time_weights(self) -> str: ...
    @property
    def time_terms(self) -> int | None: ...
    @property
    def final_time(self) -> float: ...


class Design(nn.Module, ABC):
    """How weights depend on time, for the parameters of one function.

    Attributes:
        pieces: so many intervals of [0, 1], on each of which the weights are constant; 1 where they change smoothly.
    """

    pieces = 1

    @abstractmethod
    def at(self, times: Tensor, weights: Weights) -> list[dict[str, Tensor]]:
        """The weights that change, at times of shape (n,) in units of the final time.

        Args:
            weights: the function's own parameters.
        """


class Basis(Design):
    """θ(t) = θ + Σ ψ_j(t) θ_j, of all parameters; the θ_j begin at zero.

    Args:
        functions: ψ at times (n,), of shape (n, terms), the constant one left out.
    """

    def __init__(self, weights: Weights, terms: int, functions: Callable[[Tensor], Tensor], pieces: int = 1) -> None:
        super().__init__()
        self.functions = functions
        self.pieces = pieces
        self.coefficients = nn.Parameter(torch.zeros(terms, _numbers(weights)))

    def at(self, times: Tensor, weights: Weights) -> list[dict[str, Tensor]]:
        return _changed(weights, self.functions(times) @ self.coefficients)


class Hypernetwork(Design):
    """θ(t) = θ + W tanh(v t + c) + b, of the chosen parameters; W and b begin at zero."""

    def __init__(self, weights: Weights, chosen: Sequence[str], hidden: int, has_bias: bool) -> None:
        super().__init__()
        numbers = _numbers({name: weights[name] for name in chosen})
        self.chosen = tuple(chosen)
        self.rates = nn.Parameter(torch.randn(hidden))
        self.offsets = nn.Parameter(torch.randn(hidden))
        self.coefficients = nn.Parameter(torch.zeros(hidden, numbers))
        self.bias = nn.Parameter(torch.zeros(numbers)) if has_bias else None

    def at(self, times: Tensor, weights: Weights) -> list[dict[str, Tensor]]:
        changes = torch.tanh(torch.outer(times, self.rates) + self.offsets) @ self.coefficients
        if self.bias is not None:
            changes = changes + self.bias
        return _changed({name: weights[name] for name in self.chosen}, changes)


class Gate(Design):
    """2 σ(g t + h) times what a layer gives, plus b t if it has a bias, for each of its outputs; all begin at zero."""

    def __init__(self, weights: Weights, chosen: Sequence[str]) -> None:
        super().__init__()
        self.chosen = tuple(chosen)
        outputs = sum(len(weights[name]) for name in chosen)
        self.rates = nn.Parameter(torch.zeros(outputs))
        self.offsets = nn.Parameter(torch.zeros(outputs))
        self.shifts = nn.Parameter(torch.zeros(outputs))

    def at(self, times: Tensor, weights: Weights) -> list[dict[str, Tensor]]:
        factors = 2 * torch.sigmoid(torch.outer(times, self.rates) + self.offsets)
        shifts = torch.outer(times, self.shifts)
        sizes = [len(weights[name]) for name in self.chosen]
        found = []
        for of_time, shift in zip(factors, shifts, strict=True):
            changed = {}
            for name, factor, moved in zip(self.chosen, of_time.split(sizes), shift.split(sizes), strict=True):
                weight, bias = weights[name], _bias_of(name)
                changed[name] = weight * factor.view(-1, *[1] * (weight.dim() - 1))
                if bias in weights:
                    changed[bias] = weights[bias] * factor + moved
            found.append(changed)
        return found


class LowRank(Design):
    """W + Σ_j a_j(t) u_j v_jᵀ of each layer's matrix, a_j(t) = α_j + β_j t; the v_j begin at zero."""

    def __init__(self, weights: Weights, chosen: Sequence[str], rank: int) -> None:
        super().__init__()
        self.chosen = tuple(chosen)
        sizes = [(len(weights[name]), prod(weights[name].shape[1:])) for name in chosen]
        self.left = nn.ParameterList(torch.randn(outputs, rank) / rank**0.5 for outputs, _ in sizes)
        self.right = nn.ParameterList(torch.zeros(rank, inputs) for _, inputs in sizes)
        self.offsets = nn.ParameterList(torch.randn(rank) for _ in sizes)
        self.rates = nn.ParameterList(torch.randn(rank) for _ in sizes)

    def at(self, times: Tensor, weights: Weights) -> list[dict[str, Tensor]]:
        layers = list(zip(self.chosen, self.left, self.right, self.offsets, self.rates, strict=True))
        return [
            {
                name: weights[name] + ((left * (offsets + t * rates)) @ right).view(weights[name].shape)
                for name, left, right, offsets, rates in layers
            }
            for t in times
        ]


class OfTime(nn.Module):
    """dz/dt = f(t, z) of a function whose weights are those of t.

    Attributes:
        knots: times at which the weights jump.
    """

    def __init__(self, function: nn.Module, design: Design, final_time: float) -> None:
        super().__init__()
        self.function = function
        self.design = design
        self.final_time = final_time
        self.knots = tuple(final_time * k / design.pieces for k in range(1, design.pieces))

    def at_times(self, times: Tensor) -> list[dict[str, Tensor]]:
        """The weights at times of shape (n,), an entry a time.

        Raises:
            InvalidInput: every sample has its own time, and so would have its own weights.
        """
        if times.dim() > 1:
            raise InvalidInput("weights that depend on time are one for a batch: use solver.control=batch")
        weights = dict(self.function.named_parameters())
        share = times.to(next(iter(weights.values())).dtype) / self.final_time
        # Weights, not what they are multiplied with: autocast would round them to its format.
        with torch.autocast(times.device.type, enabled=False):
            return self.design.at(share, weights)

    def forward(self, t: Tensor, z: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Args: weights: as `at_times` gave them for `t`, where it was asked."""
        if weights is None:
            (weights,) = self.at_times(t.view(1))
        slope: Tensor = torch.func.functional_call(self.function, dict(weights), (t, z))
        return slope


def of_time(function: nn.Module, config: ConfigOfTime) -> nn.Module:
    """The function with weights that depend on time as `config` says; itself with `none`, or `channel`.

    Torch's global random state is as if there was none.

    Raises:
        ConfigError: the function has nothing that could depend on time in this way.
    """
    if config.time_weights in ("none", "channel"):
        return function
    with torch.random.fork_rng(devices=()):
        design = _design(function, config.time_weights, config.time_terms)
    return OfTime(function, design, config.final_time)


def _design(function: nn.Module, name: str, terms: int | None) -> Design:
    weights = dict(function.named_parameters())
    layers = [of for of, weight in weights.items() if weight.dim() > 1]
    norms = [
        f"{path}.{of}" if path else of
        for path, module in function.named_modules()
        if isinstance(module, nn.GroupNorm | nn.modules.batchnorm._BatchNorm | nn.LayerNorm)
        for of, _ in module.named_parameters(recurse=False)
    ]
    if not (norms if name == "film" else layers):
        lacking = "normalisation with weights" if name == "film" else "layers with a matrix of weights"
        raise ConfigError(
            f"model.time_weights is {name}, but the field has no {lacking}: use another one, such as fourier"
        )
    count = terms or TERMS
    match name:
        case "linear":
            return Basis(weights, 1, _straight)
        case "fourier":
            return Basis(weights, count - 1, partial(fourier, terms=count - 1))
        case "chebyshev":
            return Basis(weights, count - 1, partial(chebyshev, terms=count - 1))
        case "piecewise":
            return Basis(weights, count - 1, partial(indicators, pieces=count), pieces=count)
        case "film":
            return Hypernetwork(weights, norms, terms or FILM_HIDDEN, has_bias=True)
        case "hypernetwork":
            return Hypernetwork(weights, list(weights), terms or HYPERNETWORK_HIDDEN, has_bias=False)
        case "gate":
            _refuse_transposed(function)
            return Gate(weights, layers)
        case "low_rank":
            return LowRank(weights, layers, terms or RANK)
    raise ConfigError(f"there are no model.time_weights={name}")


def _refuse_transposed(function: nn.Module) -> None:
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    if any(isinstance(module, kinds) for module in function.modules()):
        raise ConfigError(
            "model.time_weights is gate, which weighs the outputs of layers, and the weights of the field's transposed "
            "convolution are not ordered by them: use another one, such as fourier"
        )


def _straight(times: Tensor) -> Tensor:
    """t itself, shape (n, 1)."""
    return times[:, None]


def fourier(times: Tensor, terms: int) -> Tensor:
    """cos 2πt, sin 2πt, cos 4πt, …, shape (n, terms)."""
    functions = (torch.cos, torch.sin)
    columns = [functions[k % 2](2 * pi * (k // 2 + 1) * times) for k in range(terms)]
    return _columns(columns, times)


def chebyshev(times: Tensor, terms: int) -> Tensor:
    """T_1, T_2, … of 2t - 1, shape (n, terms)."""
    x = 2 * times - 1
    found = [torch.ones_like(x), x]
    while len(found) <= terms:
        found.append(2 * x * found[-1] - found[-2])
    return _columns(found[1 : terms + 1], times)


def indicators(times: Tensor, pieces: int) -> Tensor:
    """Whether t is in the second, third, … of equal intervals, shape (n, pieces - 1); the last goes on without end."""
    columns = [
        (times >= k / pieces) & ((times < (k + 1) / pieces) if k + 1 < pieces else True) for k in range(1, pieces)
    ]
    return _columns([column.to(times.dtype) for column in columns], times)


def _columns(columns: Sequence[Tensor], times: Tensor) -> Tensor:
    return torch.stack(list(columns), dim=1) if columns else times.new_zeros(len(times), 0)


def _numbers(weights: Weights) -> int:
    return sum(weight.numel() for weight in weights.values())


def _bias_of(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"


def _changed(weights: Weights, changes: Tensor) -> list[dict[str, Tensor]]:
    """Each weight plus its share of the changes, of shape (n, numbers), in the weight's layout."""
    sizes = [weight.numel() for weight in weights.values()]
    return [
        {
            name: weight + change.view(weight.shape)
            for (name, weight), change in zip(weights.items(), of_one.split(sizes), strict=True)
        }
        for of_one in changes
    ]


@torch.no_grad()
def curves(model: nn.Module, points: int = 129) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each part whose weights depend on time: times, |θ(t)|, and |θ(t) - θ̄| / |θ̄| with the mean θ̄ over time."""
    found = []
    for part in model.modules():
        if isinstance(part, OfTime):
            device = next(part.parameters()).device
            times = torch.linspace(0, part.final_time, points, device=device)
            own = dict(part.function.named_parameters())
            weights = torch.stack(
                [torch.cat([value.flatten() for value in (own | one).values()]) for one in part.at_times(times)]
            ).double()  # norms in float32 would show their rounding where weights hardly change
            mean = (weights[:-1] + weights[1:]).mean(0) / 2
            away = (weights - mean).norm(dim=1) / mean.norm()
            found.append((times.cpu(), weights.norm(dim=1).cpu(), away.cpu()))
    return found
