"""Coefficients of the explicit Runge–Kutta methods.

A method with stages k_1 … k_s takes the step z -> z + dt Σ b_i k_i, where
k_i = f(t + c_i dt, z + dt Σ_j a_ij k_j) with j < i.

Notation after Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, section II.1.
"""

from dataclasses import dataclass
from fractions import Fraction

Row = tuple[float, ...]


@dataclass(frozen=True)
class Tableau:
    """One method.

    Attributes:
        order: of the solution that it carries on.
        c: times of the stages, as fractions of the step.
        a: row i holds the weights that k_1 … k_i have in the state of stage i + 1; the first stage has none.
        b: weights of the stages in the solution.
        error: weights of the stages in the difference to the embedded solution, which is of order `error_order`;
            empty for a fixed-step method.
        error_order: order of the embedded solution.
    """

    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    error: Row = ()
    error_order: int = 0

    @property
    def is_adaptive(self) -> bool:
        """Whether it estimates its error, and so chooses its steps."""
        return bool(self.error)

    # Not cached: a cache has a lock, which torch cannot compile, and these are asked for once a step.

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage is evaluated at the solution: it is then the first stage of the next step."""
        return self.is_adaptive and self.c[-1] == 1 and self.a[-1] == self.b[:-1] and self.b[-1] == 0

    @property
    def advancing_stages(self) -> int:
        """Stages that the solution depends on; with `first_same_as_last` the last one is for the error alone."""
        return len(self.b) - self.first_same_as_last


def row(*values: float | str) -> Row:
    """Numbers, and fractions as the papers print them, rounded once."""
    return tuple(float(Fraction(value)) for value in values)


def difference(b: Row, embedded: Row) -> Row:
    """The weights of the error: those of the solution less those of the embedded one."""
    return tuple(x - y for x, y in zip(b, embedded, strict=True))
