"""The Runge–Kutta methods, a file each; `solver.method` names the file. Nothing here needs torch."""

import pkgutil
from importlib import import_module

from pipeline.methods.tableau import Tableau

TABLEAUS: dict[str, Tableau] = {
    found.name: import_module(f"{__name__}.{found.name}").TABLEAU
    for found in pkgutil.iter_modules(__path__)
    if found.name != "tableau"
}
"""Method -> its coefficients."""
FIXED_STEP_METHODS = tuple(name for name, tableau in TABLEAUS.items() if not tableau.is_adaptive)
ORDERS = {name: tableau.order for name, tableau in TABLEAUS.items()}
"""Order of convergence of each method."""
