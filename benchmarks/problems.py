"""Initial value problems whose solutions are known: for the tests of the solver, and for `benchmarks.work_precision`.

Sources:
    Hull, Enright, Fellen & Sedgwick 1972, *Comparing Numerical Methods for Ordinary Differential Equations*: DETEST.
    Enright & Pryce 1987, *Two FORTRAN Packages for Assessing Initial Value Methods* (Algorithm 648): DETEST's
    solutions at t = 20.
    Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, section II.0: Arenstorf's orbit.
    Hairer & Wanner, *Solving Ordinary Differential Equations II*, section IV.1, and Mazzia & Magherini 2008, *Test Set
    for Initial Value Problem Solvers*: the stiff problems.
    The tests of torchdiffeq: the problems that have a closed form on [1, 8].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.special import ellipj, spherical_jn
from torch import Tensor

Function = Callable[[Tensor, Tensor], Tensor]
"""dz/dt of a scalar t and a state vector z, of either floating-point type."""
Closed = Callable[[Tensor], Tensor]
"""The states, a row each, at times in double precision."""


@dataclass(frozen=True, eq=False)
class Problem:
    """dz/dt = function(t, z) from z(t0) = z0 to t1.

    Attributes:
        z0: in double precision.
        exact: the solution in closed form, where there is one.
        final: z(t1) from the literature, where that prints it.
        stiff: whether stability, not accuracy, would limit an explicit method's steps.
    """

    name: str
    function: Function
    z0: Tensor
    t1: float
    t0: float = 0.0
    exact: Closed | None = None
    final: Tensor | None = None
    stiff: bool = False

    def __str__(self) -> str:
        return self.name

    def times(self, count: int) -> tuple[float, ...]:
        """Evenly spaced, from t0 to t1."""
        return tuple(np.linspace(self.t0, self.t1, count).tolist())


def vector(*values: float) -> Tensor:
    """In double precision."""
    return torch.tensor(values, dtype=torch.float64)


def rows(*columns: Tensor) -> Tensor:
    """States from what each component is at the times."""
    return torch.stack(columns, dim=-1)


# ---- What SciPy makes of them


@dataclass(frozen=True)
class Solved:
    """SciPy's solution: a state for each time, and the evaluations that it took."""

    states: Tensor
    evaluations: int


def by_scipy(
    problem: Problem,
    method: str,
    tolerance: float,
    times: Sequence[float] | None = None,
    z0: Tensor | None = None,
    atol: float | None = None,
) -> Solved:
    """What SciPy's `method` finds at `times`, at the ends of the problem without them.

    Args:
        times: the first is where `z0` holds; either direction.
        z0: the problem's own without it.
        atol: `tolerance`, like the relative one, without it.
    """
    asked = (problem.t0, problem.t1) if times is None else times

    def derivative(t: float, z: np.ndarray) -> np.ndarray:
        return problem.function(torch.tensor(t, dtype=torch.float64), torch.from_numpy(z)).numpy()

    solved = solve_ivp(
        derivative,
        (asked[0], asked[-1]),
        (problem.z0 if z0 is None else z0).numpy(),
        method=method,
        t_eval=asked,
        rtol=tolerance,
        atol=tolerance if atol is None else atol,
    )
    if not solved.success:
        raise ArithmeticError(f"{method} does not solve {problem}: {solved.message}")
    return Solved(torch.from_numpy(solved.y.T.copy()), solved.nfev)


@cache
def reference(problem: Problem, times: tuple[float, ...]) -> Tensor:
    """The states at `times`, the first of which is t0, right to about 1e-10 of their size."""
    method, tolerance = ("Radau", 1e-10) if problem.stiff else ("DOP853", 1e-12)
    return by_scipy(problem, method, tolerance, times, atol=1e-14).states


def error(states: Tensor, right: Tensor) -> float:
    """The largest error of any component at any time; as large as the solution becomes, where that is above 1."""
    return float((states.double() - right).abs().max() / max(1.0, float(right.abs().max())))


# ---- torchdiffeq's


def _skew_symmetric(size: int) -> Tensor:
    draw = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 10
    return draw - draw.T


def _linear(name: str, matrix: Tensor, z0: Tensor, t1: float, t0: float = 0.0) -> Problem:
    """dz/dt = matrix z, with z(0) = z0."""

    def exact(times: Tensor) -> Tensor:
        to_then: Tensor = torch.linalg.matrix_exp(times[:, None, None] * matrix)
        return to_then @ z0

    def function(t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG001
        return matrix.to(z) @ z

    return Problem(name, function, exact(vector(t0))[0], t1, t0, exact)


def _from_closed_form(name: str, function: Function, exact: Closed) -> Problem:
    """On [1, 8], as torchdiffeq has them."""
    return Problem(name, function, exact(vector(1.0))[0], 8.0, 1.0, exact)


def _sine(t: Tensor) -> Tensor:
    wave = t**2 / 4 - t**4 / 2
    return rows(wave * torch.cos(2 * t) + t**3 / 2 * torch.sin(2 * t) - t**3 + 2 * t**4 + (math.pi - 0.25) * t**2)


TORCHDIFFEQ = (
    _from_closed_form("constant", lambda t, z: 0.2 + (z - (0.2 * t + 3)) ** 5, lambda t: rows(0.2 * t + 3)),
    _from_closed_form("sine", lambda t, z: 2 * z / t + t**4 * torch.sin(2 * t) - t**2 + 4 * t**3, _sine),
    _from_closed_form("exponential", lambda _t, z: 0.2 * z, lambda t: rows(torch.exp(0.2 * t))),
    _linear("linear", _skew_symmetric(10), torch.ones(10, dtype=torch.float64), 8.0, 1.0),
    _linear(
        "harmonic",
        torch.tensor([[0, 0, 1, 0], [0, 0, 0, 1], [-0.15, 0, 0, 0], [0, -0.04, 0, 0]], dtype=torch.float64),
        torch.ones(4, dtype=torch.float64),
        8.0,
        1.0,
    ),
)


# ---- DETEST


def _detest(
    name: str, function: Function, z0: Tensor, exact: Closed | None = None, final: Tensor | None = None
) -> Problem:
    return Problem(name, function, z0, 20.0, exact=exact, final=final)


def _first_of(size: int) -> Tensor:
    return vector(1.0, *[0.0] * (size - 1))


def _chain(rates: Sequence[float]) -> Tensor:
    """Radioactive decay of each kind into the next; the last one stays."""
    decay = torch.diag(vector(*rates))
    size = len(rates) + 1
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix[:-1, :-1] -= decay
    matrix[1:, :-1] += decay
    return matrix


def _diffusion(size: int) -> Tensor:
    """Of heat along a rod, with cold ends."""
    beside = torch.ones(size - 1, dtype=torch.float64)
    return torch.diag(beside, 1) + torch.diag(beside, -1) - 2 * torch.eye(size, dtype=torch.float64)


def _lotka_volterra(_t: Tensor, z: Tensor) -> Tensor:
    prey, predators = z.unbind()
    return torch.stack([2 * (prey - prey * predators), -(predators - prey * predators)])


def _reaction(_t: Tensor, z: Tensor) -> Tensor:
    first, second, _ = z.unbind()
    return torch.stack([-first, first - second**2, second**2])


def _torus(_t: Tensor, z: Tensor) -> Tensor:
    x, y, height = z.unbind()
    radius = torch.sqrt(x**2 + y**2)
    return torch.stack([-y - x * height / radius, x - y * height / radius, x / radius])


def _on_torus(t: Tensor) -> Tensor:
    radius = 2 + torch.cos(t)
    return rows(radius * torch.cos(t), radius * torch.sin(t), torch.sin(t))


def _rigid_body(_t: Tensor, z: Tensor) -> Tensor:
    x, y, w = z.unbind()
    return torch.stack([y * w, -x * w, -0.51 * x * y])


def _elliptic(t: Tensor) -> Tensor:
    return torch.from_numpy(np.stack(ellipj(t.numpy(), 0.51)[:3], axis=-1))


GRAVITY = 2.95912208286
SUN = 1.00000597682
PLANETS = vector(0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449, 0.00000277777777778)
"""Masses of Jupiter, Saturn, Uranus, Neptune and Pluto; the sun's has those of the inner planets in it."""


def _outer_planets(_t: Tensor, z: Tensor) -> Tensor:
    """Five positions seen from the sun, three coordinates each, and as many velocities."""
    positions, velocities = z.view(2, 5, 3).unbind()
    masses = PLANETS.to(z)
    pulls = positions / (positions.square().sum(1) ** 1.5)[:, None]
    between = positions - positions[:, None]  # [j, k]: from planet j to planet k
    cubes = between.square().sum(2) ** 1.5 + torch.eye(5, dtype=z.dtype, device=z.device)
    by_others = (masses[:, None] * (between / cubes[:, :, None])).sum(1)
    of_sun = (masses[:, None] * pulls).sum(0) - masses[:, None] * pulls  # the sun falls towards the other planets too
    return torch.stack([velocities, GRAVITY * (by_others - of_sun - (SUN + masses[:, None]) * pulls)]).view(-1)


# fmt: off
_PLANETS_AT_START = vector(
    3.42947415189, 3.35386959711, 1.35494901715, 6.64145542550, 5.97156957878, 2.18231499728,
    11.2630437207, 14.6952576794, 6.27960525067, -30.1552268759, 1.65699966404, 1.43785752721,
    -21.1238353380, 28.4465098142, 15.3882659679,
    -0.557160570446, 0.505696783289, 0.230578543901, -0.415570776342, 0.365682722812, 0.169143213293,
    -0.325325669158, 0.189706021964, 0.0877265322780, -0.0240476254170, -0.287659532608, -0.117219543175,
    -0.176860753121, -0.216393453025, -0.0148647893090,
)
_PLANETS_AT_END = vector(
    -4.792730224323733, -2.420550725448973, -0.9212509306014886, -4.217310404035213, 7.356202947498970,
    3.223785985421212, 4.035559443262270, 17.19865528670555, 7.478910794233703, -29.98759326324844,
    -4.107310937550929, -0.9277008321754407, -24.42125302518482, 23.81459045746554, 14.92096306951359,
    0.3499208963063806, -0.5748487687912825, -0.2551694020879149, -0.5237040978903326, -0.2493000463579661,
    -0.08045341642044464, -0.3875289237334110, 0.05648603288767891, 0.03023606472143342, 0.04133856546712445,
    -0.2862393029841379, -0.1183032405136207, -0.1511986457359206, -0.2460068894318766, -0.03189687411323877,
)
# fmt: on


def _two_bodies(_t: Tensor, z: Tensor) -> Tensor:
    position, velocity = z.view(2, 2).unbind()
    return torch.cat([velocity, -position / position.square().sum() ** 1.5])


def _orbit(name: str, eccentricity: float) -> Problem:
    """An ellipse with a half axis and a mass of 1, from its nearest point on."""
    minor = math.sqrt(1 - eccentricity**2)

    def exact(times: Tensor) -> Tensor:
        anomaly = times + eccentricity * torch.sin(times)
        for _ in range(50):  # Newton's method on Kepler's equation
            excess = anomaly - eccentricity * torch.sin(anomaly) - times
            anomaly = anomaly - excess / (1 - eccentricity * torch.cos(anomaly))
        x, y = torch.cos(anomaly), torch.sin(anomaly)
        speed = 1 / (1 - eccentricity * x)
        return rows(x - eccentricity, minor * y, -y * speed, minor * x * speed)

    start = vector(1 - eccentricity, 0, 0, math.sqrt((1 + eccentricity) / (1 - eccentricity)))
    return _detest(name, _two_bodies, start, exact)


def _second_order(acceleration: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Function:
    """Of t, position and velocity."""

    def function(t: Tensor, z: Tensor) -> Tensor:
        return torch.stack([z[1], acceleration(t, z[0], z[1])])

    return function


def _bessel(t: Tensor) -> Tensor:
    """J of order 1/2 at t + 1, and its derivative."""
    x = t.numpy() + 1
    factor = np.sqrt(2 * x / np.pi)
    wave, slope = spherical_jn(0, x), spherical_jn(0, x, derivative=True)
    return torch.from_numpy(np.stack([factor * wave, factor * (slope + wave / (2 * x))], axis=-1))


def _van_der_pol(stiffness: float) -> Function:
    return _second_order(lambda _t, x, v: stiffness * (1 - x**2) * v - x)


def _falling(t: Tensor) -> Tensor:
    rate = math.sqrt(0.032 * 0.4)
    return rows(30 + torch.log(torch.cosh(rate * t)) / 0.4, math.sqrt(0.032 / 0.4) * torch.tanh(rate * t))


def _pursuit(t: Tensor) -> Tensor:
    nearer = 25 / (25 - t)
    return rows((25 * torch.log(nearer) - t + t**2 / 50) / 2, (nearer - 1 / nearer) / 2)


DETEST = (
    _detest("A1", lambda _t, z: -z, vector(1), lambda t: rows(torch.exp(-t))),
    _detest("A2", lambda _t, z: -(z**3) / 2, vector(1), lambda t: rows(1 / torch.sqrt(t + 1))),
    _detest("A3", lambda t, z: z * torch.cos(t), vector(1), lambda t: rows(torch.exp(torch.sin(t)))),
    _detest("A4", lambda _t, z: z / 4 * (1 - z / 20), vector(1), lambda t: rows(20 / (1 + 19 * torch.exp(-t / 4)))),
    _detest("A5", lambda t, z: (z - t) / (z + t), vector(4), final=vector(-0.7887826688964196)),
    _detest("B1", _lotka_volterra, vector(1, 3), final=vector(0.6761876008576667, 0.1860816099640036)),
    _linear("B2", vector(-1, 1, 0, 1, -2, 1, 0, 1, -1).view(3, 3), vector(2, 0, 1), 20.0),
    _detest(
        "B3", _reaction, vector(1, 0, 0), final=vector(2.061153488557776e-9, 5.257228022048349e-2, 0.9474277177183630)
    ),
    _detest("B4", _torus, vector(3, 0, 0), _on_torus),
    _detest("B5", _rigid_body, vector(0, 1, 1), _elliptic),
    _linear("C1", _chain([1.0] * 9), _first_of(10), 20.0),
    _linear("C2", _chain([float(rate) for rate in range(1, 10)]), _first_of(10), 20.0),
    _linear("C3", _diffusion(10), _first_of(10), 20.0),
    _linear("C4", _diffusion(51), _first_of(51), 20.0),
    _detest("C5", _outer_planets, _PLANETS_AT_START, final=_PLANETS_AT_END),
    *(_orbit(f"D{number}", 0.2 * number - 0.1) for number in range(1, 6)),
    _detest(
        "E1",
        _second_order(lambda t, x, v: -v / (t + 1) - (1 - 0.25 / (t + 1) ** 2) * x),
        _bessel(vector(0))[0],
        _bessel,
    ),
    _detest("E2", _van_der_pol(1), vector(2, 0), final=vector(2.008149762174948, -4.250887527320057e-2)),
    _detest(
        "E3",
        _second_order(lambda t, x, _v: x**3 / 6 - x + 2 * torch.sin(2.78535 * t)),
        vector(0, 0),
        final=vector(-0.1004178858647128, 0.2411400132095954),
    ),
    _detest("E4", _second_order(lambda _t, _x, v: 0.032 - 0.4 * v**2), vector(30, 0), _falling),
    _detest("E5", _second_order(lambda t, _x, v: torch.sqrt(1 + v**2) / (25 - t)), vector(0, 0), _pursuit),
)
"""Single equations, small systems, moderate systems, orbits and equations of higher order; none of them stiff."""


# ---- Others


MOON = 0.012277471
PERIOD = 17.0652165601579625588917206249


def _satellite(_t: Tensor, z: Tensor) -> Tensor:
    """Around earth and moon, which stand still in its coordinates."""
    x, y, u, v = z.unbind()
    by_earth = (1 - MOON) / ((x + MOON) ** 2 + y**2) ** 1.5
    by_moon = MOON / ((x - 1 + MOON) ** 2 + y**2) ** 1.5
    along = x + 2 * v - by_earth * (x + MOON) - by_moon * (x - 1 + MOON)
    across = y - 2 * u - (by_earth + by_moon) * y
    return torch.stack([u, v, along, across])


_ARENSTORF_START = vector(0.994, 0, 0, -2.00158510637908252240537862224)
ARENSTORF = Problem("Arenstorf", _satellite, _ARENSTORF_START, PERIOD, final=_ARENSTORF_START)


def _butterfly(_t: Tensor, z: Tensor) -> Tensor:
    x, y, w = z.unbind()
    return torch.stack([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w])


LORENZ = Problem("Lorenz", _butterfly, vector(1, 1, 1), 2.0)
"""For a time after which an error has not grown tenfold yet."""


def _robertson(_t: Tensor, z: Tensor) -> Tensor:
    first, second, third = z.unbind()
    slow, reverse, fast = 0.04 * first, 1e4 * second * third, 3e7 * second**2
    return torch.stack([reverse - slow, slow - reverse - fast, fast])


VAN_DER_POL = Problem("van der Pol", _van_der_pol(1), vector(2, 0), 20.0)
STIFF_VAN_DER_POL = Problem(
    "stiff van der Pol",
    _van_der_pol(1000),
    vector(2, 0),
    2000.0,
    final=vector(1.706167732170483, -0.8928097010247975e-3),
    stiff=True,
)
ROBERTSON = Problem(
    "Robertson",
    _robertson,
    vector(1, 0, 0),
    1e11,
    final=vector(0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
    stiff=True,
)


def slow_decay(t1: float, rate: float = 1.0) -> Problem:
    """Decays towards exp(-1): all that happens, happens within a few times 1 / rate."""

    def exact(times: Tensor) -> Tensor:
        return rows(torch.exp(-rate * times / (1 + rate * times)))

    return Problem("slow decay", lambda t, z: -rate * z / (1 + rate * t) ** 2, vector(1), t1, exact=exact)


def slow_wave(t1: float) -> Problem:
    """Swings once while t grows by a factor of exp(2π)."""

    def function(t: Tensor, z: Tensor) -> Tensor:
        return torch.stack([z[1], -z[0]]) / (1 + t)

    def exact(times: Tensor) -> Tensor:
        angle = torch.log1p(times)
        return rows(torch.sin(angle), torch.cos(angle))

    return Problem("slow wave", function, vector(0, 1), t1, exact=exact)


PROBLEMS = {
    problem.name: problem
    for problem in (*TORCHDIFFEQ, *DETEST, ARENSTORF, LORENZ, VAN_DER_POL, STIFF_VAN_DER_POL, ROBERTSON)
}
