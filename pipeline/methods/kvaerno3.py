"""Kværnø's singly diagonally implicit method with an explicit first stage, order 3(2), for stiff fields.

Stiffly accurate and L-stable; its embedded solution is A-stable.

Source: Kværnø 2004, *Singly diagonally implicit Runge–Kutta methods with an explicit first stage*, ESDIRK 3/2.
"""

from pipeline.methods.tableau import ImplicitTableau, difference

_GAMMA = 0.4358665215084589994160194511935568425293
"""The root of 6γ³ - 18γ² + 9γ - 1 that makes the method L-stable."""
_EMBEDDED = (
    (-4 * _GAMMA**2 + 6 * _GAMMA - 1) / (4 * _GAMMA),
    (1 - 2 * _GAMMA) / (4 * _GAMMA),
    _GAMMA,
    0.0,
)
_B = (
    (6 * _GAMMA - 1) / (12 * _GAMMA),
    -1 / ((24 * _GAMMA - 12) * _GAMMA),
    (-6 * _GAMMA**2 + 6 * _GAMMA - 1) / (6 * _GAMMA - 3),
    _GAMMA,
)
METHOD = ImplicitTableau(
    order=3,
    diagonal=_GAMMA,
    c=(0.0, 2 * _GAMMA, 1.0, 1.0),
    a=((_GAMMA,), _EMBEDDED[:2], _B[:3]),
    b=_B,
    error=difference(_B, _EMBEDDED),
    error_order=2,
)
