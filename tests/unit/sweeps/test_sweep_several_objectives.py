"""The search for several objectives and within constraints: that it steers, and goes on as it was."""

import math

import pytest
from scipy.stats import mannwhitneyu

from pipeline.sweeps.crowded_order import VIOLATING
from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.reported import OBJECTIVE, PENALTY
from pipeline.sweeps.search import Tpe, TpeSearch
from pipeline.sweeps.space import Space
from pipeline.sweeps.state import SweepState

TEXT = """
{goal}
space:
  training.lr: {{loguniform: [1e-6, 1]}}
  training.weight_decay: {{loguniform: [1e-6, 1]}}
  training.optimiser: {{choice: [sgd, adam, rmsprop]}}
"""
TWO = parse_space(TEXT.format(goal="minimise: [validation.loss, solver.nfe_forward]"), "space.yaml")
BOUNDED = parse_space(
    TEXT.format(goal="minimise: [validation.loss, solver.nfe_forward]\nconstraints: [validation.loss <= 6]"),
    "space.yaml",
)
ONE_BOUNDED = parse_space(
    TEXT.format(goal="minimise: validation.loss\nconstraints: [solver.nfe_forward <= 4]"), "space.yaml"
)
REFERENCE = 16.0
"""Of both objectives, from which the area that a front dominates is counted."""


def measure(suggestion: dict[str, float]) -> dict[str, float]:
    """Lowest at a rate of 1e-5 and at one of 1e-1, both at a decay of 1e-4 with adam."""
    rate = math.log10(suggestion["training.lr"])
    rest = (math.log10(suggestion["training.weight_decay"]) + 4) ** 2 + (suggestion["training.optimiser"] != "adam")
    return {"validation.loss": (rate + 5) ** 2 + rest, "solver.nfe_forward": (rate + 1) ** 2 + rest}


def searcher(space: Space, state: SweepState, seed: int = 0, random_points: int = 10) -> TpeSearch:
    return TpeSearch(space, 100, seed, random_points, state, lambda trial: str(trial.number), lambda: None)


def finish(search: TpeSearch, space: Space, state: SweepState, number: int) -> None:
    measured = measure(state.trials[number].suggestion)
    violates = [str(constraint) for constraint in space.goal.violated(measured)]
    report = {"outcome": "completed", "value": measured["validation.loss"], "measured": list(measured.items())}
    search.on_trial_complete(str(number), {**report, "violates": violates, OBJECTIVE: 0.0})


def run(search: TpeSearch, space: Space, state: SweepState, trials: int) -> None:
    for _ in range(trials):
        finish(search, space, state, int(search.suggest(str(len(state.trials) + 1))["trial"]))


def searched(space: Space, seed: int, random_points: int = 10, trials: int = 40) -> SweepState:
    state = SweepState()
    run(searcher(space, state, seed, random_points), space, state, trials)
    return state


def dominated_area(space: Space, state: SweepState) -> float:
    """Hypervolume of the front, up to the reference."""
    area, top = 0.0, REFERENCE
    for x, y in sorted(space.goal.losses(trial.measured) for trial in state.front(space.goal)):
        if x < REFERENCE and y < top:
            area, top = area + (REFERENCE - x) * (top - y), y
    return area


@pytest.mark.parametrize("space", [TWO, BOUNDED], ids=["two", "two within a bound"])
def test_the_front_is_found_better_than_at_random_with_the_same_budget(space: Space) -> None:
    steered = [dominated_area(space, searched(space, seed)) for seed in range(10)]
    at_random = [dominated_area(space, searched(space, seed, random_points=40)) for seed in range(10)]
    assert mannwhitneyu(steered, at_random, alternative="greater").pvalue < 0.01


def test_all_objectives_steer_and_not_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [dominated_area(TWO, searched(TWO, seed)) for seed in range(10)]
    monkeypatch.setattr(Tpe, "tell_again", lambda _search, _ranks: None)
    first_alone = [dominated_area(TWO, searched(TWO, seed)) for seed in range(10)]
    assert mannwhitneyu(both, first_alone, alternative="greater").pvalue < 0.01


def test_the_search_turns_away_from_where_a_constraint_is_violated() -> None:
    def violating(space: Space, seed: int) -> int:
        later = list(searched(space, seed).trials.values())[10:]
        return sum(trial.measured["solver.nfe_forward"] > 4 for trial in later)

    unbounded = parse_space(TEXT.format(goal="minimise: validation.loss"), "space.yaml")
    assert sum(violating(ONE_BOUNDED, seed) for seed in range(5)) < sum(violating(unbounded, seed) for seed in range(5))
    best = searched(ONE_BOUNDED, 0).best("min")
    assert best is not None
    assert best.measured["solver.nfe_forward"] <= 4


@pytest.mark.parametrize("space", [TWO, BOUNDED, ONE_BOUNDED], ids=["two", "two within a bound", "one within a bound"])
def test_a_searcher_that_goes_on_proposes_what_an_undisturbed_one_would(space: Space) -> None:
    undisturbed = searched(space, 0, random_points=6, trials=16)
    broken_off = searched(space, 0, random_points=6, trials=10)
    resumed = SweepState.from_dict(broken_off.to_dict())
    run(searcher(space, resumed, 0, 6), space, resumed, 6)
    assert resumed.to_dict() == undisturbed.to_dict()


def test_trials_that_run_beside_each_other_are_gone_on_with_in_the_order_in_which_they_ended() -> None:
    state = SweepState()
    search = searcher(TWO, state, random_points=4)
    for number in (1, 2, 3, 4, 5, 6):
        search.suggest(str(number))
    for number in (3, 1, 2, 6):
        finish(search, TWO, state, number)
    stored = SweepState.from_dict(state.to_dict())
    search.suggest("7")
    resumed = searcher(TWO, stored, random_points=4)
    assert [resumed.suggest(name)["trial"] for name in ("a", "b", "c")] == ["4", "5", "7"]
    assert stored.trials[7].suggestion == state.trials[7].suggestion


def test_failures_rank_behind_violating_trials_and_these_behind_all_others() -> None:
    state = SweepState()
    search = searcher(BOUNDED, state)
    for number in range(1, 25):
        search.suggest(str(number))
        if number % 4 == 0:
            search.on_trial_complete(str(number), {"outcome": "diverged", "value": None, OBJECTIVE: PENALTY})
        else:
            finish(search, BOUNDED, state, number)
    ranks = search._ranks()
    search.suggest("25")
    assert [loss for loss in search._tpe._hpopt_trials.losses() if loss is not None] == list(ranks.values())
    for number, trial in list(state.trials.items())[:24]:
        if trial.has_failed:
            assert ranks[number] == PENALTY
        elif trial.violates:
            assert VIOLATING <= ranks[number] < PENALTY
        else:
            assert ranks[number] < 24
    assert {bool(trial.violates) for trial in state.trials.values() if not trial.has_failed} == {True, False}
