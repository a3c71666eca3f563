"""Solving dz/dt = f(t, z), with statistics of the solve and failures that say why."""

from pipeline.ode.block import ODEBlock
from pipeline.ode.integrate import integrate
from pipeline.ode.solution import Solution, SolverFailure, Statistics, Status

__all__ = ["ODEBlock", "Solution", "SolverFailure", "Statistics", "Status", "integrate"]
