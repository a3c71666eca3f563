"""Which runs are sweeps; apart from the sweeps themselves, as every list of runs asks, and Hyperopt imports slowly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.util.errors import InvalidInput

NAME = "sweep"
"""Of the experiment whose runs are sweeps."""


def is_sweep(document: Mapping[str, Any]) -> bool:
    """Whether a run's document is that of a sweep."""
    return bool(document.get("experiment", {}).get("name") == NAME)


def refuse_sweep(document: Mapping[str, Any]) -> None:
    """For what is done with a training's run alone.

    Raises:
        InvalidInput: the run is a sweep.
    """
    if is_sweep(document):
        number = document["_id"]
        raise InvalidInput(
            f"run {number} is a sweep, no training: `odenet sweep --resume {number}` goes on with it, and "
            f"`odenet sweeps show {number}` names its runs"
        )


def space_name(config: Mapping[str, Any]) -> str:
    """The file name of a sweep's space, without its ending; a question mark where that was tampered with."""
    try:
        return Path(config["space"]["file"]).stem
    except (KeyError, TypeError):
        return "?"
