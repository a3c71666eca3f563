"""How many trials a machine carries at once, and what each is given; without Ray, whose import takes a second."""

import math
from dataclasses import dataclass

import psutil
import torch

from pipeline.sweeps.text import fraction
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True)
class Share:
    """How many trials run at once, and what each is given."""

    parallel: int
    cpus_per_trial: float
    gpus_per_trial: float
    """Fractions schedule trials; they do not keep one from another's memory."""


def local_share(
    parallel: int | None, cpus_per_trial: float | None, gpus_per_trial: float | None, of: str = "trial"
) -> Share:
    """This machine's, where nothing else is asked: a trial on each GPU, or on each of up to four CPU cores.

    More trials than GPUs share them evenly; of more than fit with `gpus_per_trial`, those that fit run at once.

    Args:
        of: what the command's options call a trial.
    """
    gpus, cores = torch.cuda.device_count(), len(psutil.Process().cpu_affinity())
    # One each, or an even share of one.
    evenly = fraction(math.ceil((parallel or gpus) / gpus)) if gpus else 0.0
    per_trial = evenly if gpus_per_trial is None else gpus_per_trial
    refuse_part_of_several(per_trial, of)
    if per_trial > gpus:
        raise InvalidInput(f"--gpus-per-{of} {per_trial:g} asks for more than the {gpus} GPUs of this machine")
    refuse_no_share(cpus_per_trial, of)
    if cpus_per_trial is not None and cpus_per_trial > cores:
        raise InvalidInput(f"--cpus-per-{of} {cpus_per_trial:g} asks for more than the {cores} cores of this machine")
    fitting = max(1, int(cores // (cpus_per_trial or 1)))
    most = trials_on(gpus, per_trial) if per_trial else parallel or min(4, fitting)
    if cpus_per_trial is not None:
        most = min(most, fitting)
    chosen = min(parallel or most, most)
    return Share(chosen, cpus_per_trial or max(1, cores // chosen), per_trial)


def refuse_no_share(given: float | None, of: str) -> None:
    """
    Raises:
        InvalidInput: nothing is no share.
    """
    if given is not None and given <= 0:
        raise InvalidInput(f"--cpus-per-{of} {given:g} leaves a {of} nothing: give a number above 0, or leave it out")


def refuse_part_of_several(gpus_per_trial: float, of: str) -> None:
    """
    Raises:
        InvalidInput: Ray gives a trial a part of one GPU, or whole ones.
    """
    if gpus_per_trial > 1 and gpus_per_trial != int(gpus_per_trial):
        raise InvalidInput(
            f"--gpus-per-{of} {gpus_per_trial:g} is more than one GPU and no whole number: a {of} has a part of one, "
            "or whole ones"
        )


def trials_on(gpus: float, per_trial: float) -> int:
    """How many trials run at once on so many GPUs: a share of one is never of two."""
    if per_trial >= 1:
        return int(gpus // per_trial)
    return int(gpus) * int(1 / per_trial + 1e-9)
