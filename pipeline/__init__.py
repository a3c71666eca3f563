"""ODE-Nets beside residual networks: data, models, solvers, training, evaluation and their record."""

import os

# Before torch is imported: its threads then sleep while they wait for one another. Spinning, as they do by themselves,
# two runs on two cores took ten times longer than one after the other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
