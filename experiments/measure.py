"""Single training steps of a configuration, measured, as a run of their own."""

from functools import partial
from typing import Any

import torch
from safetensors.torch import save

from experiments.prepare import Prepared
from experiments.recording import recording_failure, recording_warnings
from experiments.tracked import Outcome, observer_for, run_once
from pipeline.device.out_of_memory import IN_A_TRAINING, naming_lack_of_memory
from pipeline.device.precision import choose_device
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.tracking.run_document import MEASUREMENT
from pipeline.tracking.run_log import RunLog
from pipeline.training.step_measurement import StepMeasurement, measure_steps
from pipeline.util.interruption import terminable


def measure_tracked(prepared: Prepared, info: dict[str, Any] | None = None) -> Outcome:
    """Measure steps of what is prepared; a run of the experiment `measurement`.

    Raises:
        OdenetError: the store does not take a new run.
    """
    observer = observer_for(prepared.task, info=info)
    config = prepared.config.to_dict()
    error = run_once(MEASUREMENT, partial(_measure, prepared), config, observer, "measure again")
    return Outcome(document=observer.record.document, metrics={}, error=error)


def measure(prepared: Prepared, steps: int = 3, with_memory: bool = True) -> StepMeasurement:
    """Measure steps of what is prepared, untracked.

    Raises:
        SolverFailure: an ODE could not be solved.
    """
    task, config = prepared.task, prepared.config
    device = choose_device(config.training)
    data = prepared.data.to(device)
    torch.manual_seed(config.seed)
    model = task.build_model(config, data).to(device)
    return measure_steps(model, task.objective(config, data), config.training, config.seed, steps, with_memory)


@terminable()
@naming_plugin_failures()
def _measure(prepared: Prepared, run_log: RunLog) -> float | None:
    with recording_failure(run_log), recording_warnings(run_log), naming_lack_of_memory(IN_A_TRAINING):
        run_log.update_info({"device": str(choose_device(prepared.config.training)), **prepared.facts})
        run_log.update_info({MEASUREMENT: measure(prepared).to_dict() | {"model_kb": _model_kb(prepared)}})
    return None


def _model_kb(prepared: Prepared) -> float:
    """Size of the file with the weights."""
    with torch.random.fork_rng(devices=()):
        model = prepared.task.build_model(prepared.config, prepared.data)
    return len(save({name: value.contiguous() for name, value in model.state_dict().items()})) / 1000
