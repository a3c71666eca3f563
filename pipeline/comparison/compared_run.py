"""A stored run by what a comparison asks of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.quantities import OF_MACHINE
from pipeline.reporting.seeds import seed_in
from pipeline.runs.query import ArtifactError, StoredRun
from pipeline.tasks.pairing import paired_test_of
from pipeline.tracking.run_document import (
    BETWEEN_EPOCHS,
    MACHINE,
    RunInfo,
    RunStatus,
    is_tracked,
    logged_specs,
    result_spec,
    test_specs,
)

_ENDINGS = {
    RunStatus.INTERRUPTED: "interrupted",
    RunStatus.PRUNED: "its sweep ended it early",
    RunStatus.DIED: "its process ended without a word",
}


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run by what a comparison asks of it; what it has not come to is None."""

    run_id: Any
    seed: int | None
    status: RunStatus
    document: Mapping[str, Any]
    """The run's, as it is stored."""
    info: RunInfo
    config: Mapping[str, Any]
    """Flat: dotted key -> value."""
    values: Mapping[str, float | None]
    """Quantity -> its value: each metric of the test split by its own name, parameters, …"""
    history: pd.DataFrame
    """Metrics in columns, epochs as index."""
    answers: Any
    """To the test split, as its task's paired test takes them."""

    @property
    def completed(self) -> bool:
        return self.status is RunStatus.COMPLETED


def read_run(run: StoredRun) -> ComparedRun:
    """The run by what a comparison asks of it."""
    info, metrics = run.facts, run.metrics()
    history = pd.DataFrame({name: one for name, one in metrics.items() if not name.startswith(BETWEEN_EPOCHS)})
    return ComparedRun(
        run_id=run.run_id,
        seed=seed_in(run.config),
        status=run.status,
        document=run.document,
        info=info,
        config=run.whole_config,
        values={name: _finite(value) for name, value in _values(run, info, history, metrics).items()},
        history=history,
        answers=_answers(run) if info.test else None,
    )


def _values(
    run: StoredRun, info: RunInfo, history: pd.DataFrame, metrics: Mapping[str, "pd.Series[float]"]
) -> dict[str, float | None]:
    def series(metric: str) -> "pd.Series[float]":
        return history.get(metric, pd.Series(dtype=float))

    result = result_spec(run.document).quantity
    tested = {spec.quantity: info.test.get(spec.quantity) for spec in test_specs(run.document)}
    # Of the metric's own series: in the common history it has gaps where others have steps.
    logged = {spec.quantity: metrics.get(spec.quantity) for spec in logged_specs(run.document)}
    tested |= {name: None if one is None or one.empty else one.iloc[-1] for name, one in logged.items()}
    if run.is_foreign:  # whose tests nobody knows: what its series came to
        tested = {name: series(name).iloc[-1] for name in tested if name in history and len(history)}
    if tested.get(result) is None and isinstance(run.result, int | float):
        tested[result] = run.result
    seconds = series("time.epoch_seconds")
    return {
        **tested,
        "epochs": None if is_tracked(run.document) else len(history) or None,
        "parameters": info.parameters,
        "multiply_adds": info.multiply_adds,
        "multiply_adds_per_evaluation": info.multiply_adds_per_evaluation,
        "multiply_adds_test": _multiply_adds_test(run, info),
        "nfe_test": info.nfe_test,
        "nfe_forward": series("solver.nfe_forward").tail(1).mean(),  # the last, as in `odenet runs`
        "nfe_backward": series("solver.nfe_backward").tail(1).mean(),
        "epoch_seconds": info.epoch_seconds or seconds.median(),
        "training_seconds": seconds.sum(min_count=1),
        "images_per_second": series("time.images_per_second").median(),
        "peak_memory_mb": series("memory.peak_mb").max(),
        **{name: one.mean() for name in OF_MACHINE if (one := metrics.get(f"{MACHINE}{name}")) is not None},
    }


def _multiply_adds_test(run: StoredRun, info: RunInfo) -> float | None:
    """Multiply-adds of one test sample with the evaluations that the solver made; all fields of a network are alike."""
    total, per_evaluation = info.multiply_adds, info.multiply_adds_per_evaluation
    evaluations = info.nfe_per_sample or info.nfe_test
    if total is None or per_evaluation is None:
        return total
    if evaluations is None:
        return None
    model = run.config["model"]
    configured = 1 if model.get("architecture") == "complex" else model.get("blocks", 1)
    return total - per_evaluation + per_evaluation * evaluations / (info.ode_blocks or configured)


def _finite(value: Any) -> float | None:
    """The number, if it is one: a stored document may have been changed."""
    return float(value) if isinstance(value, int | float | np.number) and isfinite(value) else None


def _answers(run: StoredRun) -> Any:
    test = paired_test_of(run.task)
    if test is None or test.artifact not in run.artifacts:
        return None
    try:
        return test.read(run.artifact(test.artifact))
    except ValueError as error:
        raise ArtifactError(
            f"the artifact {test.artifact} of run {run.run_id} holds no predictions; evaluate the run again"
        ) from error


def failure_of(run: ComparedRun) -> str | None:
    """What ended it, in a sentence, where it did not complete."""
    if run.completed:
        return None
    if run.status is not RunStatus.FAILED:
        return _ENDINGS.get(run.status, "it is not over")
    if (solve := run.info.solver_failure) is not None:
        reason = solve["status"].replace("_", " ")
        return f"solve ended by {reason} at t = {solve['t']:.4g}; odenet show {run.run_id} tells more"
    lines = [line.strip() for line in run.document.get("fail_trace") or [] if line.strip()]
    return re.sub(r"^pipeline[\w.]*: ", "", lines[-1]) if lines else "it left no trace"
