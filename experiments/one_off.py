"""Sacred experiments that are made anew for each run, as what they do depends on what is asked."""

import logging
from collections.abc import Mapping
from typing import Any

from sacred import Experiment

from experiments.classification import FAILURES, describe_failure
from pipeline.tracking.observer import StoreObserver


def run_once(
    experiment: Experiment, config: Mapping[str, Any], observer: StoreObserver, if_interrupted: str
) -> str | None:
    """Run the experiment, tracked by `observer`; what broke it off, in a sentence, or None where nothing did.

    Args:
        if_interrupted: the remedy, with `{run_id}` for the number of the run.

    Raises:
        OdenetError: it could not begin.
    """
    experiment.logger = logging.getLogger("odenet.sacred")  # type: ignore[assignment]  # annotated as None there
    experiment.observers = [observer]
    try:
        # Forced: to Sacred the whole configuration is added keys.
        experiment.run(config_updates=dict(config), options={"--force": True})
    except FAILURES as ended:
        if not observer.has_started:
            raise
        if isinstance(ended, KeyboardInterrupt):
            return f"interrupted; {if_interrupted.format(run_id=observer.record.run_id)}"
        return describe_failure(ended)
    return None
