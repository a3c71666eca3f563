"""The searcher: what it proposes, what it remembers, and that it steers."""

import math
import time
from statistics import median

import pytest
from scipy.stats import mannwhitneyu

from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.reported import OBJECTIVE, PENALTY
from pipeline.sweeps.search import FORMER_PENALTY, SearchDrifted, TpeSearch
from pipeline.sweeps.state import SweepState, Trial

SPACE = parse_space(
    """
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-6, 1]}
  training.weight_decay: {loguniform: [1e-6, 1]}
  training.optimiser: {choice: [sgd, adam, rmsprop]}
""",
    "space.yaml",
)


def loss(suggestion: dict[str, float]) -> float:
    """Lowest, 0, at a rate of 1e-3 and a decay of 1e-4 with adam."""
    rate = math.log10(suggestion["training.lr"]) + 3
    decay = math.log10(suggestion["training.weight_decay"]) + 4
    return rate**2 + decay**2 + (suggestion["training.optimiser"] != "adam")


def searcher(state: SweepState, seed: int = 0, random_points: int = 10) -> TpeSearch:
    return TpeSearch(SPACE, 100, seed, random_points, state, lambda trial: str(trial.number), lambda: None)


def finish_as(search: TpeSearch, state: SweepState, trial_id: str, number: int) -> None:
    report = {"outcome": "completed", "value": loss(state.trials[number].suggestion)}
    search.on_trial_complete(trial_id, {**report, OBJECTIVE: report["value"]})


def finish(search: TpeSearch, state: SweepState, number: int) -> None:
    finish_as(search, state, str(number), number)


def run(search: TpeSearch, state: SweepState, trials: int) -> None:
    for _ in range(trials):
        number = int(search.suggest(str(len(state.trials) + 1))["trial"])
        finish(search, state, number)


def best(seed: int, random_points: int) -> float:
    state = SweepState()
    run(searcher(state, seed, random_points), state, 40)
    found = state.best("min")
    assert found is not None
    assert found.value is not None
    return found.value


def test_tpe_finds_a_known_optimum_better_than_random_search_with_the_same_budget() -> None:
    steered = [best(seed, random_points=10) for seed in range(20)]
    random = [best(seed, random_points=40) for seed in range(20)]
    assert median(steered) < 0.5 * median(random)
    assert mannwhitneyu(steered, random, alternative="less").pvalue < 0.01


def test_the_same_seed_proposes_the_same_points_and_another_seed_others() -> None:
    proposed = []
    for seed in (3, 3, 4):
        state = SweepState()
        run(searcher(state, seed), state, 15)
        proposed.append([trial.suggestion for trial in state.trials.values()])
    assert proposed[0] == proposed[1]
    assert proposed[0] != proposed[2]


def test_a_searcher_that_goes_on_from_a_stored_ledger_proposes_what_an_undisturbed_one_would() -> None:
    undisturbed = SweepState()
    whole = searcher(undisturbed)
    run(whole, undisturbed, 20)
    broken_off = SweepState()
    run(searcher(broken_off), broken_off, 13)
    resumed = SweepState.from_dict(broken_off.to_dict())
    run(searcher(resumed), resumed, 7)
    assert resumed.to_dict() == undisturbed.to_dict()


def test_trials_that_were_proposed_and_not_finished_come_first_and_under_their_numbers() -> None:
    state = SweepState()
    first = searcher(state)
    run(first, state, 6)
    open_trials = [int(first.suggest(f"t{n}")["trial"]) for n in range(3)]
    proposed = {number: state.trials[number].suggestion for number in open_trials}
    resumed = SweepState.from_dict(state.to_dict())
    second = searcher(resumed)
    assert [int(second.suggest(f"u{n}")["trial"]) for n in range(4)] == [7, 8, 9, 10]
    assert {number: resumed.trials[number].suggestion for number in open_trials} == proposed


def test_a_proposal_that_differs_from_what_it_was_is_told() -> None:
    state = SweepState()
    run(searcher(state), state, 5)
    state.trials[3].suggestion["training.lr"] *= 1.5
    with pytest.raises(SearchDrifted, match=r"trial 3.*start a new sweep"):
        searcher(state)


def test_everything_is_kept_before_a_trial_begins_and_before_the_next_is_proposed() -> None:
    state = SweepState()
    kept: list[list[tuple[str, int]]] = []
    search = TpeSearch(SPACE, 100, 0, 5, state, str, lambda: kept.append(list(state.events)))
    search.suggest("a")
    assert kept[-1] == [("suggested", 1)]
    search.on_trial_complete("a", {"outcome": "completed", "value": 1.0, OBJECTIVE: 1.0})
    assert kept[-1] == [("suggested", 1), ("over", 1)]


@pytest.mark.parametrize("outcome", ["underflow", "loss_diverged", "out_of_memory"])
def test_a_failure_is_a_bad_region_for_tpe_and_stays_what_it_was(outcome: str) -> None:
    state = SweepState()
    search = searcher(state)
    search.suggest("a")
    search.on_trial_complete("a", {"outcome": outcome, "value": None, "error": "…", OBJECTIVE: PENALTY})
    assert state.trials[1].outcome == outcome
    assert state.failures() == {outcome: 1}
    assert search._tpe._hpopt_trials.losses() == [PENALTY]


def test_a_trial_that_did_not_end_by_itself_was_pruned_and_its_value_counts() -> None:
    state = SweepState()
    search = searcher(state)
    search.suggest("a")
    search.on_trial_result("a", {"outcome": "running", "value": 0.7, "epochs": 3})
    search.on_trial_complete("a", {"outcome": "running", "value": 0.7, "epochs": 3})
    assert (state.trials[1].outcome, state.trials[1].epochs) == ("pruned", 3)
    assert search._tpe._hpopt_trials.losses() == [0.7]


def test_a_trial_that_ray_gives_up_is_handed_out_again_and_is_lost_the_third_time() -> None:
    state = SweepState()
    search = searcher(state)
    for trial_id in ("a", "b", "c"):
        assert search.suggest(trial_id)["trial"] == "1"
        assert not state.failures()
        search.on_trial_complete(trial_id, error=True)
    assert state.failures() == {"lost": 1}
    assert search.suggest("d")["trial"] == "2"


def test_the_search_is_over_when_all_trials_are_and_waits_for_those_that_run() -> None:
    state = SweepState()
    search = TpeSearch(SPACE, 2, 0, 5, state, lambda trial: str(trial.number), lambda: None)
    assert [search.suggest("a")["trial"], search.suggest("b")["trial"]] == ["1", "2"]
    finish_as(search, state, "a", 1)
    assert search.suggest("c") is None
    search.on_trial_complete("b", error=True)
    assert search.suggest("c")["trial"] == "2"
    finish_as(search, state, "c", 2)
    assert search.suggest("d") == TpeSearch.FINISHED


def test_an_interrupted_trial_is_not_over() -> None:
    state = SweepState()
    search = searcher(state)
    search.suggest("a")
    search.on_trial_complete("a", {"outcome": "interrupted", "value": 0.4})
    assert [trial.number for trial in state.unfinished()] == [1]
    assert state.events == [("suggested", 1)]


def test_the_best_is_a_completed_trial_and_the_better_end_of_the_metric() -> None:
    trials = {
        1: Trial(1, {}, outcome="completed", value=0.5),
        2: Trial(2, {}, outcome="pruned", value=0.1),
        3: Trial(3, {}, outcome="completed", value=0.3),
        4: Trial(4, {}, outcome="underflow"),
    }
    state = SweepState(trials, [("over", number) for number in (1, 2, 4, 3)])
    assert getattr(state.best("min"), "number", None) == 3
    assert getattr(state.best("max"), "number", None) == 1
    assert list(state.best_so_far("min")) == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.3)]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_first_of_equals_is_the_best(mode: str) -> None:
    state = SweepState({number: Trial(number, {}, outcome="completed", value=0.5) for number in (1, 2, 3)})
    assert getattr(state.best(mode), "number", None) == 1


def test_nothing_is_proposed_after_the_time_that_was_given() -> None:
    state = SweepState()
    late = TpeSearch(SPACE, 100, 0, 5, state, str, lambda: None, deadline=time.monotonic())
    assert late.suggest("a") == TpeSearch.FINISHED
    assert not state.trials


def told(search: TpeSearch) -> list[float]:
    """The losses that Hyperopt ranks."""
    return [float(loss) for loss in search._tpe._hpopt_trials.losses() if loss is not None]


def test_no_loss_that_a_trial_reaches_beats_the_penalty_of_a_failure() -> None:
    state = SweepState()
    search = searcher(state)
    for outcome, value in (("completed", 1.3e7), ("loss_diverged", None), ("completed", 3e38)):
        number = str(len(state.trials) + 1)
        search.suggest(number)
        search.on_trial_complete(number, {"outcome": outcome, "value": value, OBJECTIVE: 0.0})
    losses = told(search)
    assert max(losses) == losses[1] == PENALTY


def test_a_sweep_that_began_with_the_smaller_penalty_goes_on_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    state = SweepState()
    with monkeypatch.context() as former:
        former.setattr("pipeline.sweeps.search.PENALTY", FORMER_PENALTY)
        search = searcher(state, random_points=5)
        for number in range(1, 16):
            search.suggest(str(number))
            huge = {"outcome": "completed", "value": 1e7 * loss(state.trials[number].suggestion)}
            failed = {"outcome": "loss_diverged", "value": None}
            search.on_trial_complete(str(number), {**(failed if number % 4 == 0 else huge), OBJECTIVE: 0.0})
        following = search._draw(16)
    resumed = searcher(SweepState.from_dict(state.to_dict()), random_points=5)
    assert resumed._draw(16) == following


def test_a_sweep_whose_draws_left_their_bounds_before_can_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    quantised = parse_space(
        "minimise: validation.loss\nspace:\n  training.momentum: {quniform: [0.05, 0.95, 0.5]}\n", "space.yaml"
    )
    state = SweepState()

    def begin(kept: SweepState) -> TpeSearch:
        return TpeSearch(quantised, 100, 0, 10, kept, lambda trial: str(trial.number), lambda: None)

    with monkeypatch.context() as former:
        former.setattr(type(quantised), "flatten", type(quantised).flatten_unbounded)
        search = begin(state)
        for number in range(1, 9):
            search.suggest(str(number))
            search.on_trial_complete(str(number), {"outcome": "completed", "value": 0.1, OBJECTIVE: 0.1})
    assert {trial.suggestion["training.momentum"] for trial in state.trials.values()} - {0.5}, "none left them"
    resumed = begin(SweepState.from_dict(state.to_dict()))
    resumed.suggest("9")
    assert resumed._state.trials[9].suggestion == {"training.momentum": 0.5}
