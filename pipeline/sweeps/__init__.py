"""Hyperparameter search: a space, Hyperopt's TPE on Ray Tune, a tracked run for each trial, a report."""
