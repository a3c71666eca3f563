"""Whether torchrun has started this process and others, as it says in the environment of each."""

import os

from pipeline.util.errors import InvalidInput


def is_under_torchrun() -> bool:
    """Whether it has."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def torchrun_rank() -> int:
    """Which of the processes this is; 0 without torchrun."""
    return int(os.environ["RANK"]) if is_under_torchrun() else 0


def gpu_number(rank: int) -> int:
    """Of the machine's GPUs the one of the worker with this rank."""
    return int(os.environ["LOCAL_RANK"]) if is_under_torchrun() else rank


def workers_asked(given: int | None) -> int:
    """How many processes train together, by an option's value and by torchrun.

    Raises:
        InvalidInput: they say something else.
    """
    of_torchrun = int(os.environ["WORLD_SIZE"]) if is_under_torchrun() else None
    if given is not None and of_torchrun not in (None, given):
        raise InvalidInput(f"--workers is {given}, but torchrun has started {of_torchrun} processes: leave it out")
    return given or of_torchrun or 1


def workers_here(workers: int) -> int:
    """How many of so many are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if is_under_torchrun() else workers
