"""The methods of integration, a file each; `solver.method` names the file. Nothing here needs torch."""

import pkgutil
from importlib import import_module

from pipeline.methods.tableau import ImplicitTableau, Symplectic, Tableau

METHODS: dict[str, Tableau | ImplicitTableau | Symplectic] = {
    found.name: import_module(f"{__name__}.{found.name}").METHOD
    for found in pkgutil.iter_modules(__path__)
    if found.name != "tableau"
}
"""Method -> what it consists of."""
TABLEAUS = {name: method for name, method in METHODS.items() if isinstance(method, Tableau)}
"""The explicit Runge–Kutta methods."""
FIXED_STEP_METHODS = tuple(name for name, method in METHODS.items() if not method.is_adaptive)
ORDERS = {name: method.order for name, method in METHODS.items()}
"""Order of convergence of each method."""
