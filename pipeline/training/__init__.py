"""Fitting a network to the training split, watched by the validation split."""

from pipeline.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from pipeline.training.fit import Fitted, LossDiverged, Reporter, fit
from pipeline.training.precision import backward, choose_device, numerics

__all__ = [
    "CheckpointError",
    "Fitted",
    "LossDiverged",
    "Reporter",
    "backward",
    "choose_device",
    "fit",
    "load_checkpoint",
    "numerics",
    "save_checkpoint",
]
