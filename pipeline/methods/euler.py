"""Euler's method.

Source: Euler 1768.
"""

from pipeline.methods.tableau import Tableau

METHOD = Tableau(order=1, c=(0,), a=(), b=(1,))
