"""Dormand and Prince, order 5(4).

Source: Dormand & Prince 1980, *A family of embedded Runge–Kutta formulae*, RK5(4)7M, with the embedded formula of
Shampine 1986, *Some practical Runge–Kutta formulas*: two thirds of the original's error. torchdiffeq has the same, so
that evaluations are those of the papers.

The continuous extension of order 4, which needs no further evaluations, is Shampine's too. It is that of DOPRI5 in
Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, section II.6 and appendix, multiplied out.
"""

from pipeline.methods.tableau import Dense, Tableau, difference, row

_B = row("35/384", 0, "500/1113", "125/192", "-2187/6784", "11/84", 0)
METHOD = Tableau(
    order=5,
    c=row(0, "1/5", "3/10", "4/5", "8/9", 1, 1),
    a=(
        row("1/5"),
        row("3/40", "9/40"),
        row("44/45", "-56/15", "32/9"),
        row("19372/6561", "-25360/2187", "64448/6561", "-212/729"),
        row("9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"),
        _B[:-1],
    ),
    b=_B,
    error=difference(_B, row("1951/21600", 0, "22642/50085", "451/720", "-12231/42400", "649/6300", "1/60")),
    error_order=4,
    dense=Dense(
        order=4,
        weights=(
            row(1, "-8048581381/2820520608", "8663915743/2820520608", "-12715105075/11282082432"),
            row(0, 0, 0, 0),
            row(0, "131558114200/32700410799", "-68118460800/10900136933", "87487479700/32700410799"),
            row(0, "-1754552775/470086768", "14199869525/1410260304", "-10690763975/1880347072"),
            row(0, "127303824393/49829197408", "-318862633887/49829197408", "701980252875/199316789632"),
            row(0, "-282668133/205662961", "2019193451/616988883", "-1453857185/822651844"),
            row(0, "40617522/29380423", "-110615467/29380423", "69997945/29380423"),
        ),
    ),
)
