"""The methods of integration, a kind a file: each computes one step."""

from pipeline.methods import METHODS
from pipeline.methods.tableau import ImplicitTableau, Symplectic, Tableau
from pipeline.ode.stepping.diagonally_implicit import DiagonallyImplicit
from pipeline.ode.stepping.explicit import ExplicitRungeKutta
from pipeline.ode.stepping.graphs import StepGraphs
from pipeline.ode.stepping.leapfrog import Leapfrog
from pipeline.ode.stepping.method import Method, Step

__all__ = ["DiagonallyImplicit", "ExplicitRungeKutta", "Method", "Step", "StepGraphs", "method_named"]


def method_named(name: str, is_compiled: bool = False, graphs: StepGraphs | None = None) -> Method:
    """The method that `solver.method` names.

    Args:
        is_compiled: compute it by compiled functions, where it has them.
        graphs: launch its parts as these, where it has some that can be.
    """
    match METHODS[name]:
        case Tableau() as tableau:
            return ExplicitRungeKutta(tableau, is_compiled, graphs)
        case ImplicitTableau() as tableau:
            return DiagonallyImplicit(tableau)
        case Symplectic():
            return Leapfrog()
