"""Bogacki and Shampine, order 3(2).

Source: Bogacki & Shampine 1989, *A 3(2) pair of Runge–Kutta formulas*. Its continuous extension is
Hermite's cubic (`Tableau.dense`), of order 3 too.
"""

from pipeline.methods.tableau import Tableau, difference, row

_B = row("2/9", "1/3", "4/9", 0)
METHOD = Tableau(
    order=3,
    c=(0, 0.5, 0.75, 1),
    a=((0.5,), (0, 0.75), _B[:-1]),
    b=_B,
    error=difference(_B, row("7/24", "1/4", "1/3", "1/8")),
    error_order=2,
)
