"""Sweeps as their runs' documents have them, of trials that behave like real ones; nothing is trained."""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.state import Check, SweepState, Trial

SPACE = """\
with: [odenet_simple, digits]
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-5, 1e-1]}
  model.augment: {quniform: [0, 10, 1]}
  training.weight_decay: {loguniform: [1e-7, 1e-2]}
  optimiser:
    choice:
      - {training.optimiser: adam}
      - {training.optimiser: sgd, training.momentum: {uniform: [0, 0.95]}}
"""
RESNET_SPACE = """\
with: [resnet_small, digits]
maximise: validation.accuracy
space:
  training.lr: {loguniform: [1e-5, 1e-1]}
  training.batch_size: {choice: [32, 64, 128, 256]}
"""
GOAL_KEYS = """\
  training.lr: {loguniform: [1e-5, 1e-1]}
  solver.rtol: {loguniform: [1e-5, 1e-1]}
  model.augment: {quniform: [0, 10, 1]}
"""
ERRORS = {
    "underflow": "the solve ended by step size underflow at t = 0.312, dt = 1e-08 after 412 evaluations: lower "
    "training.lr or raise solver.rtol",
    "loss_diverged": "the loss is nan in epoch 3, batch 12: lower training.lr",
    "out_of_memory": (
        "the GPU is out of memory: use a smaller training.batch_size, fewer model.channels or "
        "solver.gradient=checkpointed"
    ),
}


def ended_trial(draw: random.Random, number: int, odenet: bool = True) -> Trial:
    """A trial that is over: high learning rates diverge, some fall behind and are pruned."""
    lr = 10 ** draw.uniform(-5, -1)
    if odenet:
        suggestion: dict[str, Any] = {
            "training.lr": lr,
            "model.augment": draw.randint(0, 10),
            "training.weight_decay": 10 ** draw.uniform(-7, -2),
            "training.optimiser": draw.choice(["adam", "sgd"]),
        }
        if suggestion["training.optimiser"] == "sgd":
            suggestion["training.momentum"] = draw.uniform(0, 0.95)
    else:
        suggestion = {"training.lr": lr, "training.batch_size": draw.choice([32, 64, 128, 256])}
    loss = 0.08 + 0.25 * (math.log10(lr) + 2.8) ** 2 + abs(draw.gauss(0, 0.05))
    accuracy = max(0.1, 1 - loss / 3)
    trial = Trial(number, suggestion, run_id=100 + number, epochs=20, seconds=draw.uniform(15, 60))
    trial.value, trial.validation_result = (loss if odenet else accuracy), accuracy
    trial.nfe_forward = 14 + 6 * draw.randint(0, 3) + suggestion["model.augment"] * 0.2 if odenet else None
    trial.peak_memory_mb = draw.uniform(700, 900)
    trial.outcome = "completed"
    if math.log10(lr) > -1.7 and draw.random() < 0.7:
        trial.outcome = draw.choice(["underflow", "underflow", "loss_diverged"])
        trial.error = ERRORS[trial.outcome]
        trial.value = trial.validation_result = trial.nfe_forward = None
        trial.epochs, trial.seconds = draw.randint(0, 3), draw.uniform(0.5, 6)
    elif loss > 0.35 and draw.random() < 0.7:
        trial.outcome, trial.epochs, trial.seconds = "pruned", 4, trial.seconds / 5
    return trial


def sample_ledger(over: int, running: int = 0, checks: int = 0, seed: int = 0, odenet: bool = True) -> SweepState:
    """A state of so many trials."""
    draw = random.Random(seed)  # noqa: S311  # for samples
    state = SweepState()
    for number in range(1, over + running + 1):
        trial = ended_trial(draw, number, odenet)
        state.trials[number] = trial
        state.events.append(("suggested", number))
        if number <= over:
            state.events.append(("over", number))
        else:
            trial.outcome, trial.error, trial.epochs, trial.seconds = "running", None, number % 7, 3.5 * (number % 7)
            if trial.epochs == 0:
                trial.value = trial.validation_result = trial.nfe_forward = None
    for k in range(checks):
        state.checks.append(Check(1000 + k, 900 + k, "completed", 0.9611 + 0.004 * k))
    return state


def sweep_document(
    state: SweepState, trials: int, status: str = "COMPLETED", text: str = SPACE, **config: Any
) -> dict[str, Any]:
    """The document of the sweep's run."""
    start = datetime(2026, 11, 20, 9, 30)  # as the store gives it
    now = datetime.now(UTC)
    accuracies = [check.result for check in state.checks if check.result is not None]
    return {
        "_id": 12,
        "format": "odenet-1",
        "status": status,
        "experiment": {
            "name": "sweep",
            "repositories": [{"url": "", "commit": "0123456789abcdef", "dirty": False}],
            "dependencies": ["hyperopt==0.3.0", "ray==2.60.0", "torch==2.15.0"],
        },
        "host": {
            "hostname": "gpu1",
            "cpu": "AMD EPYC",
            "python_version": "3.11.7",
            "machine": {"torch": "2.15.0", "torch_threads": 2, "gpu_names": []},
        },
        "config": {
            "space": {"file": "experiments/sweeps/simple_digits.yaml", "text": text},
            "with": ["training.max_epochs=20"],
            "trials": trials,
            "parallel": 2,
            "cpus_per_trial": 1.0,
            "gpus_per_trial": 0.0,
            "seed": 0,
            "fresh_seeds": 3,
            "prunes": True,
            "skips_existing": False,
            "initial_points": 20,
            **config,
        },
        "info": {"sweep": state.to_dict()},
        "result": sum(accuracies) / len(accuracies) if accuracies else None,
        "start_time": start,
        "heartbeat": now if status == "RUNNING" else start,
        "stop_time": None if status == "RUNNING" else start + timedelta(minutes=21),
        "artifacts": [],
        "captured_out": "",
    }


def goal_sweep_document(goal: str, trials: int, constraints: Sequence[str] = (), **config: Any) -> dict[str, Any]:
    """A whole sweep of ODE-Nets with the objectives of `goal`, YAML; who evaluates more is more accurate."""
    text = f"with: [odenet_simple, digits]\n{goal}\nspace:\n{GOAL_KEYS}"
    space = parse_space(text, "the sample", constraints=constraints)
    draw, state = random.Random(1), SweepState()  # noqa: S311
    for number in range(1, trials + 1):
        trial = ended_trial(draw, number)
        trial.suggestion = {
            "training.lr": trial.suggestion["training.lr"],
            "solver.rtol": 10 ** draw.uniform(-5, -1),
            "model.augment": draw.randint(0, 10),
        }
        state.trials[number] = trial
        state.events += [("suggested", number), ("over", number)]
        if trial.has_failed:
            continue
        evaluations = 8.0 - 6 * round(math.log10(trial.suggestion["solver.rtol"]))
        accuracy = min(0.995, 0.6 + 0.1 * evaluations**0.3 + 0.1 * draw.random())
        values = {
            "validation.loss": 1 - accuracy,
            "validation.accuracy": accuracy,
            "solver.nfe_forward": evaluations,
            "time.epoch_seconds": 0.1 * evaluations + draw.random(),
            "memory.peak_mb": trial.peak_memory_mb or 800.0,
        }
        trial.value, trial.validation_result = values[space.metric], accuracy
        trial.nfe_forward, trial.outcome = evaluations, "completed"
        if space.goal.is_of_kept_weights:
            trial.measured = {metric: values[metric] for metric in space.goal.metrics}
            trial.violates = [str(constraint) for constraint in space.goal.violated(trial.measured)]
    document = sweep_document(state, trials, text=text, fresh_seeds=0, prunes=False, **config)
    document["config"] |= {"space": {"file": "goals.yaml", "text": text}, "constraints": list(constraints)}
    return document
