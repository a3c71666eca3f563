"""Heun's method.

Source: Heun 1900, with Euler's method embedded.
"""

from pipeline.methods.tableau import Tableau

METHOD = Tableau(order=2, c=(0, 1), a=((1,),), b=(0.5, 0.5), error=(-0.5, 0.5), error_order=1)
