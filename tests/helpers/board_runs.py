"""Finished runs of every task, recorded as trainings record theirs, for the tests that look at the dashboard."""

from collections.abc import Mapping, Sequence
from typing import Any

from sacred import Experiment

from pipeline.tasks import lookup
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.run_document import metric_entry


def record_run(
    task: str,
    config: Mapping[str, Any],
    result: float,
    info: Mapping[str, Any] | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
    losses: Sequence[float] = (2.0, 1.0, 0.5),
) -> int:
    """Record a run at the store of `ODENET_HOME`.

    Returns:
        Its id.
    """
    described = {
        "task": task,
        "metrics": [metric_entry(spec) for spec in lookup.metric_specs(task)],
        "result": lookup.result_name(task),
    }
    annotations = {"tags": list(tags)} | ({"name": name} if name else {})
    observer = StoreObserver(experiment=described, info=info, annotations=annotations)
    experiment = Experiment(task, save_git_info=False)
    experiment.observers = [observer]
    experiment.add_config(dict(config))

    @experiment.main
    def main() -> float:
        for epoch, loss in enumerate(losses, start=1):
            observer.log_epoch(epoch, {"training.loss": loss, "validation.loss": 1.1 * loss})
        return result

    run_id: int = experiment.run(options={"--loglevel": "ERROR"})._id
    return run_id


def run_of_each_task() -> dict[str, int]:
    """Task -> the id of its run; `trial` -> that of a trial of classification."""
    training = {"training": {"lr": 5e-4}, "seed": 0}
    classifier = {"data": {"name": "digits"}, "model": {"architecture": "simple", "body": "odenet", "blocks": 3}}
    rate = 3.1622776601683794e-05
    trial = {**classifier, "training": {"lr": rate}, "seed": 1529665511}
    return {
        "classification": record_run(
            "classification", classifier | training, 0.9722222222222222, name="wide field", tags=["paper"]
        ),
        "trial": record_run(
            "classification", trial, 0.9055555555555556, {"sweep": {"id": 15, "trial": 3, "phase": "search"}}
        ),
        "density": record_run(
            "density",
            training | {"data": {"name": "two_moons"}, "model": {"architecture": "cnf"}},
            1.2345678901234567,
        ),
        "series": record_run(
            "series",
            training | {"data": {"name": "spirals"}, "model": {"architecture": "latent_ode"}},
            0.00012345678901234567,
        ),
        "trajectories": record_run(
            "trajectories",
            training | {"data": {"name": "reflection"}, "model": {"architecture": "anode"}},
            0.07654321098765432,
        ),
    }
