"""Coefficients of the methods of integration.

An explicit Runge–Kutta method with stages k_1 … k_s takes the step z -> z + dt Σ b_i k_i, where
k_i = f(t + c_i dt, z + dt Σ_j a_ij k_j) with j < i.

Between the ends of the step, its continuous extension ("dense output") gives
z(t + θ dt) = z + dt Σ b_i(θ) k_i for θ from 0 to 1.

Notation after Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, sections II.1 and II.6.
"""

from dataclasses import dataclass
from fractions import Fraction

from pipeline.util.errors import InvalidInput

Row = tuple[float, ...]
ROUNDING = 1e-9
"""How far sums of coefficients may be off."""


@dataclass(frozen=True)
class Dense:
    """The continuous extension of a method: b_i(θ) = Σ_j weights[i][j] θ^(j+1).

    Its k_i are the method's stages, behind them dz/dt at the step's end where the method is not
    `first_same_as_last` and so has no such stage, and behind these the extra stages, if there are any. Every k_i has a
    row of weights, of zeros where it does not count.

    It meets the solution at both ends of the step and, but for the straight line of a method of order 1, the slopes
    there too.

    Attributes:
        order: of the error at any θ, as a method's order is that of the error at the step's end.
        weights: row i holds the coefficients of θ, θ², … in b_i(θ).
        c: times of the extra stages, as fractions of the step. They are evaluated only for steps that are looked into.
        a: row i holds the weights that all k_j before the extra stage i have in its state.
    """

    order: int = 0
    weights: tuple[Row, ...] = ()
    c: Row = ()
    a: tuple[Row, ...] = ()


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
        dense: the continuous extension. Where none is given it is Hermite's cubic, through the states and the slopes
            at both ends, whose order is that of the method and 3 at most; for a method of order 1 the straight line.
    """

    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    error: Row = ()
    error_order: int = 0
    dense: Dense = Dense()

    def __post_init__(self) -> None:
        self._refuse_contradictions()
        if not self.dense.weights:
            object.__setattr__(self, "dense", straight_line(self) if self.order == 1 else cubic(self))

    def _refuse_contradictions(self) -> None:
        """What no method has, and a mistake in copying coefficients leads to."""
        stages = len(self.b)
        if len(self.c) != stages or [len(row) for row in self.a] != list(range(1, stages)):
            raise InvalidInput(
                f"a method of {stages} weights b has as many times c and rows a of 1 to {stages - 1} numbers, not "
                f"{len(self.c)} and {[len(row) for row in self.a]}"
            )
        for stage, (time, row) in enumerate(zip(self.c, ((), *self.a), strict=True), start=1):
            if abs(sum(row) - time) > ROUNDING:
                raise InvalidInput(f"the row a of stage {stage} adds up to {sum(row):g}, and its time c is {time:g}")
        if abs(sum(self.b) - 1) > ROUNDING:
            raise InvalidInput(f"the weights b add up to {sum(self.b):g}, not to 1")
        if self.error and (len(self.error) != stages or abs(sum(self.error)) > ROUNDING or self.error_order < 1):
            raise InvalidInput(
                f"the weights of the error are {stages} that add up to 0, with an error_order above 0, of the embedded "
                f"solution; these are {len(self.error)}, which add up to {sum(self.error):g}, with {self.error_order}"
            )

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


@dataclass(frozen=True)
class ImplicitTableau:
    """A method whose first stage is explicit and whose others each solve equations of their own: k_i is in its state.

    Attributes:
        diagonal: weight of k_i in its own state, the same for all stages but the first.
        c, a, b, error, error_order: as of a Tableau; the rows of `a` without the diagonal.
    """

    order: int
    diagonal: float
    c: Row
    a: tuple[Row, ...]
    b: Row
    error: Row
    error_order: int
    is_adaptive: bool = True


@dataclass(frozen=True)
class Symplectic:
    """A method of equal steps for a pair of parts, positions and momenta, that keeps the areas of their plane."""

    order: int
    is_adaptive: bool = False


def row(*values: float | str) -> Row:
    """Numbers, and fractions as the papers print them, rounded once."""
    return tuple(float(Fraction(value)) for value in values)


def difference(b: Row, embedded: Row) -> Row:
    """The weights of the error: those of the solution less those of the embedded one."""
    return tuple(x - y for x, y in zip(b, embedded, strict=True))


def straight_line(tableau: Tableau) -> Dense:
    """The straight line between the states at both ends."""
    weights = [(weight,) for weight in tableau.b]
    return Dense(1, tuple(weights if tableau.first_same_as_last else [*weights, (0.0,)]))


def cubic(tableau: Tableau) -> Dense:
    """The cubic through the states at both ends with the slopes there.

    Source: Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, section II.6.
    """
    b = tableau.b if tableau.first_same_as_last else (*tableau.b, 0.0)
    weights = [[0.0, 3 * weight, -2 * weight] for weight in b]
    for stage, of_slope in ((0, (1, -2, 1)), (-1, (0, -1, 1))):
        weights[stage] = [x + y for x, y in zip(weights[stage], of_slope, strict=True)]
    return Dense(min(3, tableau.order), tuple(tuple(values) for values in weights))
