"""The classical Runge–Kutta method.

Source: The classical method of Kutta 1901.
"""

from pipeline.methods.tableau import Tableau, row

METHOD = Tableau(
    order=4,
    c=(0, 0.5, 0.5, 1),
    a=((0.5,), (0, 0.5), (0, 0, 1)),
    b=row("1/6", "1/3", "1/3", "1/6"),
)
