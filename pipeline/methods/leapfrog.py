"""The leapfrog (Störmer–Verlet), of order 2, for positions and momenta.

Source: Hairer, Lubich & Wanner, *Geometric Numerical Integration*, section I.1.
"""

from pipeline.methods.tableau import Symplectic

METHOD = Symplectic(order=2)
