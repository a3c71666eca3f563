"""ODE-Nets beside residual networks: data, models, solvers, training, evaluation and their record."""

import os

# Before torch is imported: its threads then spin for some microseconds while they wait for one another, and sleep after
# that. When they spin on, as they do by themselves, two runs on two cores take ten times longer than one after the
# other; when they sleep at once, small networks take twice as long, as waking up takes longer than what there is to do.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# Before cuBLAS is first used, which looks once: without it `training.deterministic` is refused on a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
