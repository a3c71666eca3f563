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


def _row(*values: float | str) -> Row:
    """Numbers, and fractions as the papers print them, rounded once."""
    return tuple(float(Fraction(value)) for value in values)


def _difference(b: Row, embedded: Row) -> Row:
    return tuple(x - y for x, y in zip(b, embedded, strict=True))


EULER = Tableau(order=1, c=(0,), a=(), b=(1,))
"""Euler 1768."""

MIDPOINT = Tableau(order=2, c=(0, 0.5), a=((0.5,),), b=(0, 1))
"""Runge 1895."""

RK4 = Tableau(
    order=4,
    c=(0, 0.5, 0.5, 1),
    a=((0.5,), (0, 0.5), (0, 0, 1)),
    b=_row("1/6", "1/3", "1/3", "1/6"),
)
"""The classical method of Kutta 1901."""

HEUN = Tableau(order=2, c=(0, 1), a=((1,),), b=(0.5, 0.5), error=(-0.5, 0.5), error_order=1)
"""Heun 1900, with Euler's method embedded."""

_BOSH3_B = _row("2/9", "1/3", "4/9", 0)
BOSH3 = Tableau(
    order=3,
    c=(0, 0.5, 0.75, 1),
    a=((0.5,), (0, 0.75), _BOSH3_B[:-1]),
    b=_BOSH3_B,
    error=_difference(_BOSH3_B, _row("7/24", "1/4", "1/3", "1/8")),
    error_order=2,
)
"""Bogacki & Shampine 1989, *A 3(2) pair of Runge–Kutta formulas*."""

_DOPRI5_B = _row("35/384", 0, "500/1113", "125/192", "-2187/6784", "11/84", 0)
DOPRI5 = Tableau(
    order=5,
    c=_row(0, "1/5", "3/10", "4/5", "8/9", 1, 1),
    a=(
        _row("1/5"),
        _row("3/40", "9/40"),
        _row("44/45", "-56/15", "32/9"),
        _row("19372/6561", "-25360/2187", "64448/6561", "-212/729"),
        _row("9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"),
        _DOPRI5_B[:-1],
    ),
    b=_DOPRI5_B,
    error=_difference(_DOPRI5_B, _row("1951/21600", 0, "22642/50085", "451/720", "-12231/42400", "649/6300", "1/60")),
    error_order=4,
)
"""Dormand & Prince 1980, *A family of embedded Runge–Kutta formulae*, RK5(4)7M, with the embedded formula of Shampine
1986, *Some practical Runge–Kutta formulas*: two thirds of the original's error. torchdiffeq has the same, so that
evaluations are those of the papers."""

_TSIT5_B = _row(
    "0.09646076681806523",
    "0.01",
    "0.4798896504144996",
    "1.379008574103742",
    "-3.290069515436081",
    "2.324710524099774",
    0,
)
TSIT5 = Tableau(
    order=5,
    c=_row(0, "0.161", "0.327", "0.9", "0.9800255409045097", 1, 1),
    a=(
        _row("0.161"),
        _row("-0.008480655492356989", "0.335480655492357"),
        _row("2.8971530571054935", "-6.359448489975075", "4.3622954328695815"),
        _row("5.325864828439257", "-11.748883564062828", "7.4955393428898365", "-0.09249506636175525"),
        _row(
            "5.86145544294642",
            "-12.92096931784711",
            "8.159367898576159",
            "-0.071584973281401",
            "-0.028269050394068383",
        ),
        _TSIT5_B[:-1],
    ),
    b=_TSIT5_B,
    error=_row(
        "-0.00178001105222577714",
        "-0.0008164344596567469",
        "0.007880878010261995",
        "-0.1447110071732629",
        "0.5823571654525552",
        "-0.45808210592918697",
        "1/66",
    ),
    error_order=4,
)
"""Tsitouras 2011, *Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying assumption*."""

_DOPRI8_B = _row(
    "14005451/335480064",
    *("0",) * 4,
    "-59238493/1068277825",
    "181606767/758867731",
    "561292985/797845732",
    "-1041891430/1371343529",
    "760417239/1151165299",
    "118820643/751138087",
    "-528747749/2220607170",
    "1/4",
)
DOPRI8 = Tableau(
    order=8,
    c=_row(
        *(0, "1/18", "1/12", "1/8", "5/16", "3/8", "59/400", "93/200"),
        *("5490023248/9719169821", "13/20", "1201146811/1299019798", 1, 1),
    ),
    a=(
        _row("1/18"),
        _row("1/48", "1/16"),
        _row("1/32", 0, "3/32"),
        _row("5/16", 0, "-75/64", "75/64"),
        _row("3/80", 0, 0, "3/16", "3/20"),
        _row("29443841/614563906", 0, 0, "77736538/692538347", "-28693883/1125000000", "23124283/1800000000"),
        _row(
            *("16016141/946692911", 0, 0, "61564180/158732637", "22789713/633445777"),
            *("545815736/2771057229", "-180193667/1043307555"),
        ),
        _row(
            *("39632708/573591083", 0, 0, "-433636366/683701615", "-421739975/2616292301"),
            *("100302831/723423059", "790204164/839813087", "800635310/3783071287"),
        ),
        _row(
            *("246121993/1340847787", 0, 0, "-37695042795/15268766246", "-309121744/1061227803"),
            *("-12992083/490766935", "6005943493/2108947869", "393006217/1396673457", "123872331/1001029789"),
        ),
        _row(
            *("-1028468189/846180014", 0, 0, "8478235783/508512852", "1311729495/1432422823"),
            *("-10304129995/1701304382", "-48777925059/3047939560", "15336726248/1032824649"),
            *("-45442868181/3398467696", "3065993473/597172653"),
        ),
        _row(
            *("185892177/718116043", 0, 0, "-3185094517/667107341", "-477755414/1098053517"),
            *("-703635378/230739211", "5731566787/1027545527", "5232866602/850066563"),
            *("-4093664535/808688257", "3962137247/1805957418", "65686358/487910083"),
        ),
        _row(
            *("403863854/491063109", 0, 0, "-5068492393/434740067", "-411421997/543043805"),
            *("652783627/914296604", "11173962825/925320556", "-13158990841/6184727034"),
            *("3936647629/1978049680", "-160528059/685178525", "248638103/1413531060", 0),
        ),
    ),
    b=_DOPRI8_B,
    error=_difference(
        _DOPRI8_B,
        _row(
            "13451932/455176623",
            *("0",) * 4,
            "-808719846/976000145",
            "1757004468/5645159321",
            "656045339/265891186",
            "-3867574721/1518517206",
            "465885868/322736535",
            "53011238/667516719",
            "2/45",
            0,
        ),
    ),
    error_order=7,
)
"""Prince & Dormand 1981, *High order embedded Runge–Kutta formulae*, RK8(7)13M."""

TABLEAUS = {
    "euler": EULER,
    "midpoint": MIDPOINT,
    "rk4": RK4,
    "heun": HEUN,
    "bosh3": BOSH3,
    "dopri5": DOPRI5,
    "tsit5": TSIT5,
    "dopri8": DOPRI8,
}
FIXED_STEP_METHODS = tuple(name for name, tableau in TABLEAUS.items() if not tableau.is_adaptive)
ORDERS = {name: tableau.order for name, tableau in TABLEAUS.items()}
"""Order of convergence of each method."""
