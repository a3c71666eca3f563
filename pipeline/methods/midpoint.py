"""The midpoint method.

Source: Runge 1895.
"""

from pipeline.methods.tableau import Tableau

METHOD = Tableau(order=2, c=(0, 0.5), a=((0.5,),), b=(0, 1))
