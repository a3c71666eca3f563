"""Continuous normalizing flows."""

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config import SolverConfig
from pipeline.device.compilation import CompiledInTraining
from pipeline.flows.base import Base, Normal, OfTorch
from pipeline.flows.divergence import has_closed_form
from pipeline.flows.dynamics import NOISES, PENALTIES, Dynamics, Noise, can_be_compiled, draw_probes
from pipeline.flows.log_prob import LogProb
from pipeline.ode import RootMeanSquare, Solution, Statistics, integrate
from pipeline.ode.graphed import Graphed
from pipeline.util.errors import InvalidInput
from pipeline.util.user_warnings import OdenetWarning

if TYPE_CHECKING:
    from pipeline.flows.check import FlowCheck

PRECISE = SolverConfig(rtol=1e-5, atol=1e-5)
"""What a likelihood needs, as in the papers: at 1e-3 it comes out too high."""
EXACT_DIMENSIONS = 3
"""Up to which `auto` takes the exact divergence in training: D products cost hardly more than one there."""
TRACES = ("auto", "exact", "hutchinson")
TOO_DEAR = 100.0
"""Times the cost of an estimate from which on the exact divergence is refused."""
_WITH_A_KINK = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardsigmoid)


class FlowWarning(OdenetWarning):
    """A flow that works, but not as a density is expected to."""


class Flow(CompiledInTraining, Graphed):
    """A density that a vector field makes of a base distribution.

    **Direction of time.** The base is at t = 0 and the data at t = T, the final time. `forward` goes from 0 to T, from
    z to x, and is how samples are made; `inverse` and `log_prob` go back from T to 0.

    **Sign.** With dx/dt = f(t, x) the log-density along a path changes by d log p/dt = -div f, so that

        log p(x) = log p_base(z) - ∫₀ᵀ div f(t, x(t)) dt,   x(T) = x, x(0) = z.

    The integral is a part of the state beside the points. A step's error is the larger one of the root mean squares of
    the two parts, so that the log-density is controlled whatever the number of dimensions is; penalties are parts
    outside of that norm, and change no step.

    The divergence is exact where the field has it in closed form. Otherwise `trace` says how it is computed: `exact`
    takes a product with the Jacobian for every dimension, `hutchinson` an estimate from random probes, which stay the
    same throughout a solve. `auto` is exact in training up to 3 dimensions, and in evaluation wherever that costs less
    than a hundred times an estimate.

    With `solver.control=sample` and an exact divergence the log-density of a point does not depend on the points
    beside it, to the bit.

    Source: Chen et al. 2018, section 4 and appendix A; Grathwohl et al. 2019 for the estimate.

    Attributes:
        statistics: of the last solve.
    """

    def __init__(
        self,
        field: nn.Module,
        base: Base | Distribution | None = None,
        solver: SolverConfig = PRECISE,
        *,
        dimension: int,
        trace: Literal["auto", "exact", "hutchinson"] = "auto",
        probes: int = 1,
        noise: Noise = "rademacher",
        final_time: float = 1.0,
        penalties: Sequence[str] = (),
    ) -> None:
        """
        Args:
            field: a module that returns dz/dt, shape (n, D), for t and z; see `pipeline.flows.divergence` for what more
                it may know. t is a scalar, or with `control=sample` of shape (n, 1). It treats each row for itself.
            base: log_prob(z) and sample(n, generator), or a distribution of torch with events of shape (D,); the
                standard normal distribution without it.
            solver: how it is integrated.
            dimension: D, numbers of a point.
            trace: how the divergence is computed where the field has no closed form.
            probes: random directions that an estimate averages over.
            noise: their distribution; rademacher is ±1, of the smaller variance.
            final_time: T.
            penalties: of `kinetic` and `jacobian`, what `log_prob` integrates too in training.

        Raises:
            InvalidInput: what makes no density, or costs a hundred times what it should.
        """
        super().__init__()
        _refuse_unknown(trace, noise, penalties)
        _refuse_unsuitable(field, dimension, trace, probes, final_time, penalties)
        if isinstance(base, Distribution) and base.event_shape != (dimension,):
            raise InvalidInput(
                f"the base must have events of shape ({dimension},), not {tuple(base.event_shape)}: make numbers of a "
                "batch one event by torch.distributions.Independent(base, 1)"
            )
        self.field = field
        self.base: Any = (
            Normal(dimension) if base is None else OfTorch(base) if isinstance(base, Distribution) else base
        )
        self.solver = solver
        self.dimension = dimension
        self.trace = trace
        self.probes = probes
        self.noise: Noise = noise
        self.final_time = final_time
        self.penalties = tuple(penalties)
        self.statistics = Statistics()
        self._dynamics: dict[tuple[Any, ...], Dynamics] = {}

    def log_prob(self, x: Tensor, *, time: float | None = None, generator: torch.Generator | None = None) -> LogProb:
        """The log-density of points in nats.

        Args:
            x: shape (n, D).
            time: at which the points are; the final time without it.
            generator: of the probes, where the divergence is estimated.

        Raises:
            InvalidInput: points of another shape or number format.
            SolverFailure: the solve could not go on.
        """
        began = self.final_time if time is None else time
        if began == 0:
            return LogProb(self.base.log_prob(x))
        state = self._solved(x, began, 0.0, generator)
        value = self.base.log_prob(state["point"]) + state["change"]
        # Integrated from the end to the start: the integrals have the other sign.
        return LogProb(value, self.statistics, {name: -state[name] for name in self.penalties if name in state})

    def sample(self, n: int, seed: int) -> Tensor:
        """Points of the density, shape (n, D), without gradients; those of a seed on every device, but for rounding."""
        with torch.no_grad():
            return self(self._drawn(n, torch.Generator().manual_seed(seed)))  # type: ignore[no-any-return]

    def rsample_and_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, LogProb]:
        """Points of the density with gradients, and their log-density, by one solve from the base."""
        z = self._drawn(n, generator)
        state = self._solved(z, 0.0, self.final_time, generator)
        value = self.base.log_prob(z) - state["change"]
        penalties = {name: state[name] for name in self.penalties if name in state}
        return state["point"], LogProb(value, self.statistics, penalties)

    def _drawn(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Points of the base where and as the flow computes, also of a distribution that knows nothing of it."""
        drawn: Tensor = self.base.sample(n, generator)
        weights = next(self.field.parameters(), None)
        return drawn if weights is None else drawn.to(weights)

    def forward(self, z: Tensor) -> Tensor:
        """Where points of the base, shape (n, D), come to at the final time."""
        return self._moved(z, (0.0, self.final_time))[-1]

    def inverse(self, x: Tensor) -> Tensor:
        """Where points at the final time come from at t = 0, shape (n, D)."""
        return self._moved(x, (self.final_time, 0.0))[-1]

    def trajectory(self, x: Tensor, times: Sequence[float]) -> Tensor:
        """Where points that are at x at the final time are at other times.

        Args:
            times: between 0 and the final time, in any order.

        Returns:
            Shape (times, n, D).
        """
        times = [float(time) for time in times]
        if not all(0 <= time <= self.final_time for time in times):
            raise InvalidInput(
                f"a trajectory has times from 0 to the flow's final time {self.final_time:g}: got {times}"
            )
        backwards = sorted({self.final_time, *times}, reverse=True)
        if len(backwards) == 1:
            return x.unsqueeze(0).expand(len(times), *x.shape)
        states = self._moved(x, backwards)
        return states[[backwards.index(time) for time in times]]

    def check(self, x: Tensor, seed: int = 0) -> "FlowCheck":
        """How far the flow's numbers can be believed: see `FlowCheck`."""
        from pipeline.flows.check import check  # it knows flows

        return check(self, x, seed)

    def carried(
        self, x: Tensor, start: float, end: float, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Points from one time to another: where they are, `point`; ∫ div f dt on the way, `change`; and the penalties.

        For what puts flows one behind the other.
        """
        return self._solved(x, start, end, generator)

    def with_solver(self, solver: SolverConfig) -> "Flow":
        """The same flow, of the same weights, solved otherwise."""
        other = copy.copy(self)
        other.solver, other._dynamics = solver, {}
        return other

    @property
    def is_estimated(self) -> bool:
        """Whether log-densities are estimates as the flow is now, in training or in evaluation."""
        if self.trace != "auto" or has_closed_form(self.field):
            return self.trace == "hutchinson" and not has_closed_form(self.field)
        if self.training:
            return self.dimension > EXACT_DIMENSIONS
        return cost_of_exact(self.dimension, self.probes) >= TOO_DEAR

    # The solves.

    def _solved(self, x: Tensor, start: float, end: float, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Points, the change of their log-density and the penalties, from one time to another."""
        self._refuse_other(x)
        names = self.penalties if self.training else ()
        nothing = x.new_zeros(len(x))
        # An exact trace has the whole Jacobian, and a closed form none of it.
        is_dear = has_closed_form(self.field) and self.dimension > EXACT_DIMENSIONS
        uses_probes = self.is_estimated or ("jacobian" in names and is_dear)
        probes = [draw_probes(x, self.probes, self.noise, generator)] if uses_probes else []
        dynamics = self._dynamics_for(uses_probes, names)
        state = {"point": x, "change": nothing} | dict.fromkeys(names, nothing)
        return self._integrated(dynamics, state, (start, end), RootMeanSquare(outside=names), probes).state  # type: ignore[return-value]

    def _dynamics_for(self, uses_probes: bool, penalties: tuple[str, ...]) -> Dynamics:
        # Made once each for a field: a compiled step is compiled for these objects.
        chosen = (uses_probes, penalties, self.solver.control == "sample")
        known = self._dynamics.get(chosen)
        if known is None or known.field is not self.field:
            known = self._dynamics[chosen] = Dynamics(self.field, *chosen)
        return known

    def _moved(self, z: Tensor, times: Sequence[float]) -> Tensor:
        """The points alone at the times, shape (times, n, D)."""
        self._refuse_other(z)
        return self._integrated(self.field, z, times, RootMeanSquare(), []).states  # type: ignore[return-value]

    def _integrated(
        self, dynamics: nn.Module, state: Any, times: Sequence[float], norm: RootMeanSquare, context: list[Tensor]
    ) -> Solution:
        is_compiled = self.is_compiled_for(state["point"] if isinstance(state, dict) else state)
        solution = integrate(
            dynamics,
            state,
            times,
            self.solver,
            norm=norm,
            context=context,
            is_compiled=is_compiled and can_be_compiled(self.field),
            graphs=self.graphs_now(),
        )
        self.statistics = solution.statistics
        return solution

    @property
    def can_be_graphed(self) -> bool:
        return self.solver.can_be_compiled and can_be_compiled(self.field)

    def _refuse_other(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            kind = type(x).__name__
            raise InvalidInput(f"the points of a flow are a tensor, not a {kind}: torch.as_tensor makes one")
        if x.dim() != 2 or x.shape[1] != self.dimension:
            raise InvalidInput(
                f"the flow has points of {self.dimension} numbers, shape (n, {self.dimension}), not {tuple(x.shape)}"
            )
        kinds = {parameter.dtype for parameter in self.field.parameters()}
        if kinds and x.dtype not in kinds:
            kind = str(kinds.pop()).removeprefix("torch.")
            raise InvalidInput(
                f"the points are of {str(x.dtype).removeprefix('torch.')}, and the flow's weights of {kind}"
            )


def cost_of_exact(dimension: int, probes: int = 1) -> float:
    """Times the cost of an estimate, in products of matrices: one for the field and one for each direction."""
    return (1 + dimension) / (1 + probes)


def _refuse_unknown(trace: str, noise: str, penalties: Sequence[str]) -> None:
    for name, value, known in (("trace", trace, TRACES), ("noise", noise, NOISES)):
        if value not in known:
            raise InvalidInput(f"{name} is {value!r}: choose of {', '.join(known)}")
    unknown = [name for name in penalties if name not in PENALTIES]
    if unknown:
        raise InvalidInput(f"there is no penalty {unknown[0]!r} of a flow: choose of {', '.join(PENALTIES)}")


def _refuse_unsuitable(
    field: Any, dimension: int, trace: str, probes: int, final_time: float, penalties: Sequence[str]
) -> None:
    if not isinstance(field, nn.Module):
        raise InvalidInput(f"the field of a flow is a module of t and z, not a {type(field).__name__}")
    if dimension < 1 or probes < 1 or not final_time > 0:
        raise InvalidInput(
            f"a flow has one dimension at least, not {dimension}, one probe, not {probes}, and a final time above 0, "
            f"not {final_time:g}"
        )
    normalising = next((name for name, module in field.named_modules() if isinstance(module, _BatchNorm)), None)
    if normalising is not None:
        raise InvalidInput(
            f"the field's layer {normalising} normalises over the batch, so that the density of a point would depend "
            "on its company: leave batch normalisation out of a flow"
        )
    is_exact = has_closed_form(field) or trace == "exact"
    if is_exact and probes != 1 and "jacobian" not in penalties:  # which may be estimated all the same
        raise InvalidInput(
            f"probes is {probes}, but the divergence is exact and uses none: leave it out, or trace=hutchinson"
        )
    cost = cost_of_exact(dimension, probes)
    if trace == "exact" and not has_closed_form(field) and cost >= TOO_DEAR:
        raise InvalidInput(
            f"the exact divergence of {dimension} dimensions costs about {cost:.0f} times an estimate from one probe: "
            "use trace=hutchinson, or auto"
        )
    kinked = next((type(module).__name__ for module in field.modules() if isinstance(module, _WITH_A_KINK)), None)
    if kinked is not None:
        warnings.warn(
            f"the field has a {kinked}, whose derivative jumps, and with it the divergence: steps shrink at each jump, "
            "and the density has edges; tanh and softplus are smooth",
            FlowWarning,
            stacklevel=3,
        )
