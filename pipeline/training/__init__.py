"""Fitting a network to the training split, watched by the validation split."""

from pipeline.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from pipeline.training.fit import Fitted, LossDiverged, Reporter, fit

__all__ = [
    "CheckpointError",
    "Fitted",
    "LossDiverged",
    "Reporter",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
]
