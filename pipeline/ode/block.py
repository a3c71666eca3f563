"""A layer whose output is the solution of an ODE that starts at its input."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import RegularisationConfig, SolverConfig
from pipeline.device.compilation import CompiledInTraining
from pipeline.methods import METHODS
from pipeline.methods.tableau import Symplectic
from pipeline.ode.graphed import Graphed
from pipeline.ode.integrate import integrate, refuse_no_solver
from pipeline.ode.penalties import PenalisedField
from pipeline.ode.solution import Statistics
from pipeline.ode.tolerance import RootMeanSquare, Sum
from pipeline.util.errors import InvalidInput

LARGEST_REUSED_STEP = 0.5
"""Share of the interval that a first step taken over from the last batch covers at most: given the whole of it, a step
may be accepted whose error the estimate does not see."""


class ODEBlock(CompiledInTraining, Graphed):
    """z(0) -> z(T) of dz/dt = field(t, z), solved as `solver` says; keeps the statistics of the last solve.

    The state has float32 at least: rounded to bfloat16, as a layer under autocast hands it over, it would drown the
    solver's error estimate and its times.

    Attributes:
        final_time: T; a parameter, which gradients reach, or a number.
        implicit_zeros: elements of each sample's state that it does without: see `RootMeanSquare`.
        first_dt: with `solver.reuse_first_step`, what the next solve in training begins with; state of the training.
        end_time_spread: how far from `final_time` solves in training end at most; the time is drawn once a batch.
        across: of several processes that train on some items of a batch each: see `RootMeanSquare`.
        penalties: name -> of each item of the last batch in training, shape (batch,), if `regularise` asked for them.
    """

    def __init__(
        self, field: nn.Module, final_time: float | Tensor, solver: SolverConfig, implicit_zeros: int = 0
    ) -> None:
        super().__init__()
        refuse_no_solver(solver)
        if isinstance(METHODS[solver.method], Symplectic):
            raise InvalidInput(
                f"method={solver.method} needs a state of two parts, positions and momenta, not of one: use another"
            )
        self.field = field
        self.final_time = final_time
        self.solver = solver
        self.implicit_zeros = implicit_zeros
        self.statistics = Statistics()
        self.first_dt: float | None = None
        self.across: Sum | None = None
        self.penalties: dict[str, Tensor] = {}
        self.end_time_spread = 0.0
        self._differentiates = False
        self._penalised: tuple[PenalisedField, ...] = ()  # in a tuple, or its weights would have two names each

    def regularise(self, regularisation: RegularisationConfig) -> None:
        """Do what this says in the solves of training; evaluations stay as they are."""
        self.end_time_spread = regularisation.end_time_spread
        self._differentiates = regularisation.differentiates
        names = regularisation.weights
        self._penalised = (PenalisedField(self.field, names),) if names else ()

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy: without the penalties, which belong to the graph of a batch."""
        own: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**own, "penalties": {}}

    def forward(self, z: Tensor) -> Tensor:
        state = z.to(torch.promote_types(z.dtype, torch.float32))
        reuses = self.solver.reuse_first_step and self.training
        penalised = self._with_penalties() if self.training and self._penalised else None
        solution = integrate(
            self.field if penalised is None else penalised,
            state if penalised is None else penalised.start(state),
            (0.0, self._end_time()),
            self.solver,
            norm=RootMeanSquare(
                self.implicit_zeros,
                outside=() if penalised is None else penalised.names,
                across=self.across if self.training else None,
            ),
            context=() if penalised is None else penalised.probes(state),
            knots=self.knots,
            first_dt=self.first_dt if reuses else None,
            is_compiled=self.can_be_compiled and self.is_compiled_for(z),
            graphs=self.graphs_now(),
        )
        self.statistics = solution.statistics
        if reuses and self.statistics.proposed_dt is not None:
            length = float(torch.as_tensor(self.final_time, dtype=torch.float64).detach().abs())
            self.first_dt = min(self.statistics.proposed_dt, LARGEST_REUSED_STEP * length)
        end = solution.state
        if isinstance(end, Tensor):
            return end
        assert isinstance(end, dict)
        self.penalties = {name: integral for name, integral in end.items() if name != "z"}
        z_end: Tensor = end["z"]
        return z_end

    @property
    def can_be_compiled(self) -> bool:
        """Whether its steps in training can be compiled, which those that differentiate the field cannot."""
        return self.solver.can_be_compiled and not self._differentiates

    @property
    def can_be_graphed(self) -> bool:
        """The same of recording them."""
        return self.can_be_compiled

    @property
    def knots(self) -> Sequence[float]:
        """Times at which the field says that it jumps, by an attribute `knots`; steps end there."""
        return getattr(self.field, "knots", ())

    def _with_penalties(self) -> PenalisedField:
        # Made once for a field: a compiled step is compiled for this object.
        (known,) = self._penalised
        if known.field is not self.field:
            known = PenalisedField(self.field, known.names)
            self._penalised = (known,)
        return known

    def _end_time(self) -> float | Tensor:
        if not (self.training and self.end_time_spread):
            return self.final_time
        return self.final_time + self.end_time_spread * (2 * torch.rand(()).item() - 1)
