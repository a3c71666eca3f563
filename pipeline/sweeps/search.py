"""Hyperopt's search as Ray Tune drives it, with every step of it in the sweep's state."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch

from pipeline.sweeps.crowded_order import crowded_order, violating
from pipeline.sweeps.reported import OBJECTIVE, PENALTY, objective_value, update
from pipeline.sweeps.space import Space
from pipeline.sweeps.state import PRUNED, RUNNING, SweepState, Trial
from pipeline.util.errors import OdenetError

logging.getLogger("hyperopt").setLevel(logging.WARNING)

FORMER_PENALTY = 1e6
"""What it was before; a sweep with losses above it that began then goes on as it would have."""
GAMMA, GAMMA_OF_SEVERAL = 0.25, 1.0
"""TPE models the best gamma * sqrt(n) of n trials as the good ones. Of several objectives they are a front, so more;
the value is ours, tried on functions such as those of `tests/unit/sweeps/test_sweep_several_objectives.py`."""
LOSSES = 3
"""So often Ray Tune may give a trial up. It goes on with another worker by itself, but not where it hears of one loss
twice, as of a node that vanishes while a trial begins."""


class SearchDrifted(OdenetError):
    """The searcher does not propose again what it proposed before."""


class Tpe(HyperOptSearch):
    """Hyperopt's TPE as Ray drives it, to which losses can be told anew."""

    def tell_again(self, losses: Mapping[int, float]) -> None:
        """Number of a trial that is over, from 1 in the order of proposals -> its loss."""
        for document in self._hpopt_trials.trials:
            if (number := document["tid"] + 1) in losses:
                document["result"]["loss"] = losses[number]
        self._hpopt_trials.refresh()


class TpeSearch(Searcher):
    """Proposes what TPE does; what it proposes and hears is in the state, and kept, before anything else happens.

    TPE's proposals follow from its seed and from what it was told in which order. So a state is all that is needed
    to go on after the driver died: the new searcher lives through the same events, and then hands out what was
    proposed and not finished before it proposes anything new.

    Of several objectives TPE is told before each proposal how all trials so far rank
    (`pipeline.sweeps.crowded_order`).
    """

    def __init__(
        self,
        space: Space,
        trials: int,
        seed: int,
        random_points: int,
        state: SweepState,
        encode: Callable[[Trial], str],
        keep: Callable[[], None],
        deadline: float = math.inf,
    ) -> None:
        """Live through the events of `state`.

        Args:
            trials: so many in all, those of the state among them.
            encode: a trial -> what its worker needs to know.
            keep: makes what the state holds outlive this process.
            deadline: on the monotonic clock; after it nothing more is proposed.

        Raises:
            SearchDrifted: a proposal is another than it was; the libraries have changed since.
        """
        super().__init__(metric=OBJECTIVE, mode=space.mode)
        self._space, self._state, self._encode, self._keep = space, state, encode, keep
        self._trials = trials
        self._told: list[int] = []
        self._tpe, self._penalty = self._new_tpe(seed, random_points), PENALTY
        self._numbers: dict[str, int] = {}
        self._losses: Counter[int] = Counter()
        try:
            self._live_through(state)
        except SearchDrifted:
            self._tpe, self._penalty = self._new_tpe(seed, random_points), FORMER_PENALTY
            self._live_through(state)
        self._unfinished = state.unfinished()
        self._deadline = deadline

    def _new_tpe(self, seed: int, random_points: int) -> Tpe:
        self._told, is_single = [], self._space.goal.is_single
        return Tpe(
            self._space.build(),
            metric=OBJECTIVE,
            mode=self._space.mode if is_single else "min",
            gamma=GAMMA if is_single else GAMMA_OF_SEVERAL,
            n_initial_points=random_points,
            random_state_seed=seed,
        )

    def _live_through(self, state: SweepState) -> None:
        """Propose and hear again what the state says.

        Raises:
            SearchDrifted: a proposal is another than it was.
        """
        for event, number in state.events:
            trial = state.trials[number]
            if event == "over":
                self._tell(trial)
                continue
            drawn = self._draw(number)
            proposed = self._space.flatten(drawn)
            if trial.suggestion not in (proposed, self._space.flatten_unbounded(drawn)):
                raise SearchDrifted(
                    f"the searcher proposes {proposed} for trial {number}, where it proposed {trial.suggestion}: go on "
                    "with the versions of hyperopt and ray that the sweep began with, or start a new sweep"
                )

    # Called by Ray Tune

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration; None while there is none, `FINISHED` when there will be none."""
        if time.monotonic() > self._deadline:
            return Searcher.FINISHED
        if not self._unfinished and len(self._state.trials) == self._trials:
            # A trial that runs may lose its worker, and be handed out again.
            return None if self._state.unfinished() else Searcher.FINISHED
        trial = self._unfinished.pop(0) if self._unfinished else self._new_trial()
        trial.outcome = RUNNING
        self._numbers[trial_id] = trial.number
        # As text: in nested dictionaries Tune looks for search spaces of its own, and flattens keys.
        return {"trial": self._encode(trial)}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        update(self._state.trials[self._numbers[trial_id]], result)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        trial = self._state.trials[self._numbers[trial_id]]
        if result:
            update(trial, result)
        if error:
            self._losses[trial.number] += 1
            if self._losses[trial.number] < LOSSES:
                self._unfinished.append(trial)
                return
            trial.outcome = "lost"
            trial.error = "its worker was lost again and again: look at the machines' logs"
        elif trial.outcome == RUNNING:  # it has not ended by itself
            trial.outcome = PRUNED
        if not trial.is_over:  # interrupted
            return
        self._state.events.append(("over", trial.number))
        self._tell(trial)
        self._keep()

    def save(self, checkpoint_path: str) -> None:
        """Tune would keep the searcher in a file; the state has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # likewise

    # Hyperopt

    def _new_trial(self) -> Trial:
        number = len(self._state.trials) + 1
        trial = Trial(number, self._space.flatten(self._draw(number)))
        self._state.trials[number] = trial
        self._state.events.append(("suggested", number))
        self._keep()
        return trial

    def _draw(self, number: int) -> dict[str, Any]:
        if not self._space.goal.is_single:
            self._tpe.tell_again(self._ranks())
        drawn: dict[str, Any] | None = self._tpe.suggest(str(number))
        if drawn is None:
            raise SearchDrifted(f"the searcher has nothing to propose for trial {number}: start a new sweep")
        return drawn

    def _tell(self, trial: Trial) -> None:
        penalty = self._penalty if self._space.mode == "min" else -self._penalty
        value = objective_value(self._space.goal, trial.value, trial.measured) if trial.is_known else penalty
        self._tpe.on_trial_complete(str(trial.number), {OBJECTIVE: value})
        self._told.append(trial.number)

    def _ranks(self) -> dict[int, float]:
        """Number of each trial that is over -> what it counts as among them, the lower the better."""
        goal = self._space.goal
        told = [self._state.trials[earlier] for earlier in self._told]
        losses = {trial.number: PENALTY for trial in told}
        known = [trial for trial in told if trial.is_known]
        losses |= {trial.number: violating(goal.excess(trial.measured)) for trial in known}
        meeting = [trial for trial in known if not trial.violates]
        ranks = crowded_order([goal.losses(trial.measured) for trial in meeting])
        return losses | {trial.number: rank for trial, rank in zip(meeting, ranks, strict=True)}
