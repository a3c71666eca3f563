"""ODE-Nets beside residual networks: data, models, solvers, training, evaluation and their record."""
