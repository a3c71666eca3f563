"""Fitting a model to the training split, watched by the validation split."""

from pipeline.training.callback import Callback, StopTraining
from pipeline.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from pipeline.training.fit import LossDiverged, fit, fit_along
from pipeline.training.fitted import Fitted
from pipeline.training.objective import BatchLoss, Objective

__all__ = [
    "BatchLoss",
    "Callback",
    "CheckpointError",
    "Fitted",
    "LossDiverged",
    "Objective",
    "StopTraining",
    "fit",
    "fit_along",
    "load_checkpoint",
    "save_checkpoint",
]
