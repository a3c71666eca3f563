"""Solving dz/dt = f(t, z), with statistics of the solve and failures that say why."""

from pipeline.ode.adjoint import AdjointWarning
from pipeline.ode.block import ODEBlock
from pipeline.ode.guard import RoundingWarning
from pipeline.ode.integrate import integrate
from pipeline.ode.interpolant import Interpolant
from pipeline.ode.solution import AdjointFailure, Solution, SolverFailure, Statistics, Status
from pipeline.ode.state import State
from pipeline.ode.stepping import StepGraphs
from pipeline.ode.tolerance import RootMeanSquare
from pipeline.ode.torchdiffeq_api import odeint, odeint_adjoint, odeint_event

__all__ = [
    "AdjointFailure",
    "AdjointWarning",
    "Interpolant",
    "ODEBlock",
    "RootMeanSquare",
    "RoundingWarning",
    "Solution",
    "SolverFailure",
    "State",
    "Statistics",
    "Status",
    "StepGraphs",
    "integrate",
    "odeint",
    "odeint_adjoint",
    "odeint_event",
]
