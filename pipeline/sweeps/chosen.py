"""Which trial of a sweep somebody means who asks for its best."""

from pipeline.reporting.words import listed
from pipeline.sweeps.state import Trial
from pipeline.sweeps.stored import Sweep
from pipeline.sweeps.text import never_met
from pipeline.util.errors import InvalidInput


def chosen_trial(sweep: Sweep, number: int | None) -> Trial:
    """The trial of this number, by default the best.

    Raises:
        InvalidInput: there is no such trial, or no one best: nothing completed, nothing meets the constraints, or there
            are several objectives.
    """
    if number is not None:
        if number not in sweep.state.trials:
            raise InvalidInput(f"sweep {sweep.sweep_id} has no trial {number}: it has 1 to {len(sweep.state.trials)}")
        return sweep.state.trials[number]
    if sweep.best is not None:
        return sweep.best
    name = f"`odenet sweeps best {sweep.sweep_id}"
    if sweep.nearest is not None:
        sentence = never_met(sweep, sweep.nearest)
        raise InvalidInput(f"{sentence}; {name} {sweep.nearest.number}` takes it all the same")
    if not sweep.front:
        raise InvalidInput(f"no trial of sweep {sweep.sweep_id} has completed, so none is the best")
    numbers = [str(trial.number) for trial in sweep.front]
    raise InvalidInput(
        f"sweep {sweep.sweep_id} has several objectives and no one best: choose a trial of its Pareto front, "
        f"{listed(numbers)}, as in {name} {numbers[0]}`"
    )
