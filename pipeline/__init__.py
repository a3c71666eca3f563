"""ODE-Nets beside residual networks: data, models, solvers, training, evaluation and their record."""

import os

from pipeline.util.plotting_backend import forget_unknown_backend

forget_unknown_backend()

# Before torch is imported: its threads then wait without holding a core (docs/decisions/waiting-threads.md).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# Before cuBLAS is first used, which looks once: without it `training.deterministic` is refused on a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Before MKL is first used: else on some processors a row times a matrix depends on where among the rows it lies.
os.environ.setdefault("MKL_CBWR", "AUTO")
