"""ODE-Nets beside residual networks: data, models, solvers, training, evaluation and their record."""

import os

from pipeline.paths import home

# Before torch is imported: its threads then sleep while they wait for one another. Spinning, as they do by themselves,
# two runs on two cores took ten times longer than one after the other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Before torch's compiler is: code that it compiles is kept with the runs, and not in a folder for everybody below /tmp.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home() / "compiled"))
