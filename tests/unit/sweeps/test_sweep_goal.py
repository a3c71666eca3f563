"""What a sweep searches for: objectives and constraints, and which trials they leave on the front."""

import random
from typing import Any

import pytest

from experiments.sweep_plan import Plan, find_space
from experiments.trial import objective_of, summarise
from pipeline.sweeps.crowded_order import VIOLATING, crowded_order
from pipeline.sweeps.goal import Constraint, Goal, Objective, undominated
from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.reported import PENALTY
from pipeline.sweeps.searched_task import SearchedTask
from pipeline.sweeps.space import Space, SpaceError
from pipeline.sweeps.state import SweepState, Trial
from pipeline.sweeps.trial_spec import SweepOfTrial
from pipeline.tasks.cost_specs import cost_specs
from pipeline.util.errors import InvalidInput

REST = "space:\n  training.lr: {loguniform: [1e-4, 1e-1]}\n"
ACCURACY, EVALUATIONS = Objective("validation.accuracy", "max"), Objective("solver.nfe_forward", "min")
FEW = Constraint("solver.nfe_forward", "<=", 30.0)


def space(text: str, *constraints: str, task: str = "classification") -> Space:
    return parse_space(f"{text}\n{REST}", "space.yaml", lambda _: SearchedTask.of(task), constraints)


def plan_of(parsed: Space, **settings: Any) -> Plan:
    return Plan(
        parsed, "space.yaml", (), 10, 0, **{"fresh_seeds": 0, "prunes": False, "skips_existing": False} | settings
    )


# The words


def test_objectives_are_those_of_the_file_in_its_order() -> None:
    one_each = space("maximise: validation.accuracy\nminimise: solver.nfe_forward")
    assert one_each.goal.objectives == (ACCURACY, EVALUATIONS)
    several = space("minimise: [solver.nfe_forward, time.epoch_seconds]\nmaximise: [validation.accuracy]")
    assert [o.metric for o in several.goal.objectives] == [
        "solver.nfe_forward",
        "time.epoch_seconds",
        "validation.accuracy",
    ]
    assert (several.metric, several.mode) == ("solver.nfe_forward", "min")


@pytest.mark.parametrize("task", ["classification", "density", "series", "trajectories"])
def test_every_metric_that_allows_it_is_an_objective_of_its_task(task: str) -> None:
    known = SearchedTask.of(task).searchable
    assert {"validation.loss", *(spec.name for spec in cost_specs())} <= set(known)
    assert not any(name.startswith("test.") for name in known)
    for name, spec in known.items():
        verb = {"min": "minimise", "max": "maximise"}[spec.mode]
        parsed = space(f"{verb}: {name}", task=task)
        assert (parsed.metric, parsed.mode, parsed.spec) == (name, spec.mode, spec)


def test_series_are_searched_by_their_error_and_by_what_they_cost() -> None:
    parsed = space("minimise: [validation.rmse, memory.peak_mb]\nconstraints: validation.kl >= 0.1", task="series")
    assert parsed.goal.metrics == ("validation.rmse", "memory.peak_mb", "validation.kl")


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("solver.nfe_forward <= 30", Constraint("solver.nfe_forward", "<=", 30.0)),
        (" validation.accuracy>=0.975 ", Constraint("validation.accuracy", ">=", 0.975)),
        ("training.loss<=1e-3", Constraint("training.loss", "<=", 1e-3)),
    ],
)
def test_a_constraint_says_what_is_bounded_and_by_what(text: str, constraint: Constraint) -> None:
    assert Constraint.parse(text) == constraint
    assert Constraint.parse(str(constraint)) == constraint


def test_the_constraints_of_the_command_line_are_added_to_those_of_the_space() -> None:
    parsed = space(
        "minimise: validation.loss\nconstraints: [solver.nfe_forward <= 30]",
        *("solver.nfe_forward<=30", "validation.accuracy >= 0.9"),
    )
    assert [str(found) for found in parsed.goal.constraints] == [
        "solver.nfe_forward <= 30",
        "validation.accuracy >= 0.9",
    ]


@pytest.mark.parametrize(
    ("text", "constraints", "words"),
    [
        ("with: []", (), "say either minimise or maximise, or both"),
        ("minimise: validation.los", (), "did you mean validation.loss?"),
        ("minimise: solver.nfe", (), "did you mean solver.nfe_forward?"),
        ("minimise: test.loss", (), "not 'test.loss'"),
        ("minimise: [validation.loss, validation.loss]", (), "validation.loss is named twice"),
        ("minimise: validation.loss\nmaximise: validation.loss", (), "validation.loss is named twice"),
        ("minimise:", (), "not None"),
        ("minimise: validation.loss\nconstraint: solver.nfe_forward <= 3", (), "did you mean constraints"),
        ("minimise: validation.loss\nconstraints: solver.nfe_forward < 3", (), "<= or >=, and a number"),
        (
            "minimise: validation.loss\nconstraints: [solver.nfe_forward <= many]",
            (),
            "not 'solver.nfe_forward <= many'",
        ),
        ("minimise: validation.loss\nconstraints: [solver.nfe_forward <= inf]", (), "<= or >=, and a number"),
        ("minimise: validation.loss\nconstraints: {solver.nfe_forward: 30}", (), "space.yaml: a constraint is"),
        ("minimise: validation.loss", ("solver.nfe_forwards<=30",), "--constraint: a constraint bounds"),
        (
            "minimise: validation.loss",
            ("test.accuracy >= 0.9",),
            "not test.accuracy (did you mean validation.accuracy?)",
        ),
    ],
)
def test_a_goal_that_cannot_be_is_refused_with_what_and_where(text: str, constraints: list[str], words: str) -> None:
    with pytest.raises(SpaceError) as refused:
        space(text, *constraints)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sweep_that_goes_on_has_its_objectives_and_its_constraints() -> None:
    parsed = space(
        "maximise: validation.accuracy\nminimise: solver.nfe_forward\nconstraints: [validation.loss <= 2]",
        "solver.nfe_forward <= 30",
    )
    plan = plan_of(parsed, constraints=("solver.nfe_forward <= 30",))
    again = Plan.from_dict(plan.to_dict())
    assert again == plan
    assert again.space.goal == parsed.goal


def test_a_sweep_that_was_stored_before_there_were_constraints_goes_on() -> None:
    plan = plan_of(space("minimise: validation.loss"))
    stored = plan.to_dict()
    del stored["constraints"]
    assert Plan.from_dict(stored) == plan


@pytest.mark.parametrize(
    ("settings", "words"), [({"fresh_seeds": 3}, "no single best to check"), ({"prunes": True}, "cannot be pruned")]
)
def test_several_objectives_have_no_best_to_check_and_nothing_to_prune_by(settings: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        plan_of(find_space("cnf_pareto"), **settings).check()


# What trials come to


def test_a_constraint_is_missed_by_a_share_of_its_bound() -> None:
    assert [FEW.excess(value) for value in (29.0, 30.0, 45.0)] == [0, 0, 0.5]
    assert Constraint("validation.accuracy", ">=", 0.8).excess(0.6) == pytest.approx(0.25)
    assert Constraint("validation.loss", "<=", 0.0).excess(3.0) == 3.0


def test_the_front_is_what_a_comparison_of_all_pairs_leaves() -> None:
    draw = random.Random(0)  # noqa: S311
    losses = {k: (draw.randint(0, 9), draw.randint(0, 9), draw.randint(0, 9)) for k in range(200)}

    def beats(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and any(
            a < b for a, b in zip(one, other, strict=True)
        )

    left = [k for k, own in losses.items() if not any(beats(other, own) for other in losses.values())]
    assert undominated(losses) == left
    assert undominated({1: (1, 2), 2: (1, 2), 3: (2, 2)}) == [1, 2], "equal ones stay together"


def trial(number: int, accuracy: float, evaluations: float, outcome: str = "completed", *violates: str) -> Trial:
    measured = {"validation.accuracy": accuracy, "solver.nfe_forward": evaluations}
    return Trial(number, {}, 100 + number, outcome, accuracy, measured=measured, violates=list(violates))


def state_of(*trials: Trial) -> SweepState:
    return SweepState({one.number: one for one in trials}, [("over", one.number) for one in trials])


def test_the_front_has_completed_trials_within_the_constraints_the_best_first() -> None:
    goal = Goal((ACCURACY, EVALUATIONS), (FEW,))
    state = state_of(
        trial(1, 0.90, 20),
        trial(2, 0.80, 10),
        trial(3, 0.95, 28),
        trial(4, 0.89, 20),
        trial(5, 0.99, 60, "completed", str(FEW)),
        trial(6, 0.98, 8, "pruned"),
    )
    assert [one.number for one in state.front(goal)] == [3, 1, 2]
    assert state.nearest(goal) is None


def test_one_that_violates_a_constraint_is_never_the_best() -> None:
    goal = Goal((ACCURACY,), (FEW,))
    state = state_of(trial(1, 0.99, 60, "completed", str(FEW)), trial(2, 0.8, 20), trial(3, 0.7, 20))
    assert [one.number for one in state.front(goal)] == [2]
    assert list(state.best_so_far("max")) == [(2, 0.8), (3, 0.8)]


def test_where_none_meets_the_constraints_the_nearest_is_known() -> None:
    goal = Goal((ACCURACY,), (FEW,))
    state = state_of(
        trial(1, 0.99, 60, "completed", str(FEW)),
        trial(2, 0.8, 33, "completed", str(FEW)),
        Trial(3, {}, 103, "diverged"),
    )
    nearest = state.nearest(goal)
    assert nearest is not None
    assert nearest.number == 2
    assert state.front(goal) == []


def test_what_trials_came_to_is_stored_without_dots_and_only_where_there_is_something() -> None:
    state = state_of(trial(1, 0.99, 60, "completed", str(FEW)), Trial(2, {"training.lr": 0.1}, 102, "completed", 0.5))
    stored = state.to_dict()
    assert stored["trials"][0]["measured"] == {"validation": {"accuracy": 0.99}, "solver": {"nfe_forward": 60}}
    assert stored["trials"][0]["violates"] == ["solver.nfe_forward <= 30"]
    assert not {"measured", "violates"} & stored["trials"][1].keys(), "as earlier versions store and read it"
    assert SweepState.from_dict(stored) == state


# From the epochs of a run


def of_trials(goal: Goal) -> SweepOfTrial:
    return SweepOfTrial(1, "uid", goal, "validation.accuracy", False, ())


POINTS = {
    "validation.loss": {"values": [0.9, 0.5, 0.7, 0.6]},
    "validation.accuracy": {"values": [0.5, 0.8, 0.9, 0.7]},
    "solver.nfe_forward": {"values": [14.0, 26.0, 32.0, 38.0]},
    "time.epoch_seconds": {"values": [1.0, 2.0, 3.0, 4.0]},
}


def test_several_metrics_are_of_the_one_epoch_whose_weights_are_kept() -> None:
    report = summarise(POINTS, of_trials(Goal((ACCURACY, EVALUATIONS), (Constraint("time.epoch_seconds", "<=", 1.5),))))
    assert dict(report["measured"]) == {
        "validation.accuracy": 0.8,
        "solver.nfe_forward": 26.0,
        "time.epoch_seconds": 2.0,
    }
    assert (report["value"], report["nfe_forward"], report["validation_result"], report["epochs"]) == (
        0.8,
        26.0,
        0.8,
        4,
    )
    assert report["violates"] == ["time.epoch_seconds <= 1.5"]


def test_one_metric_of_the_validation_split_counts_by_its_own_best_epoch() -> None:
    report = summarise(POINTS, of_trials(Goal((ACCURACY,))))
    assert (report["value"], report["nfe_forward"]) == (0.9, 38.0)
    assert not {"measured", "violates"} & report.keys()


def test_a_cost_alone_is_not_that_of_an_untrained_network() -> None:
    assert summarise(POINTS, of_trials(Goal((EVALUATIONS,))))["value"] == 26.0


@pytest.mark.parametrize("missing", [{}, {"solver.nfe_forward": {"values": [14.0, float("nan"), 32.0, 38.0]}}])
def test_without_a_value_of_each_metric_there_is_none(missing: Any) -> None:
    points = {name: POINTS[name] for name in POINTS if name != "solver.nfe_forward"} | missing
    report = summarise(points, of_trials(Goal((ACCURACY, EVALUATIONS))))
    assert report["value"] is None
    assert objective_of(report, Goal((ACCURACY, EVALUATIONS))) == -PENALTY


def test_pruning_ranks_violating_trials_behind_all_others_by_how_much_they_miss() -> None:
    goal = Goal((ACCURACY,), (FEW,))
    heights = [
        objective_of({"value": value, "measured": [("validation.accuracy", value), ("solver.nfe_forward", nfe)]}, goal)
        for value, nfe in ((0.7, 20), (0.1, 30), (0.99, 33), (0.99, 60))
    ]
    assert heights == sorted(heights, reverse=True)
    assert heights[:2] == [0.7, 0.1]
    assert -PENALTY < heights[3] < heights[2] <= -VIOLATING


# One order for several


def test_every_trial_ranks_behind_those_that_dominate_it_whatever_the_units() -> None:
    draw = random.Random(3)  # noqa: S311
    losses = [(draw.random(), 1e6 * draw.random() ** 8, draw.random()) for _ in range(80)]
    ranks = crowded_order(losses)
    front = undominated(dict(enumerate(losses)))
    assert {k for k, rank in enumerate(ranks) if rank < 1} == set(front)
    for one, own in enumerate(losses):
        for other, theirs in enumerate(losses):
            if one != other and all(a <= b for a, b in zip(own, theirs, strict=True)):
                assert ranks[one] < ranks[other]
    assert crowded_order([(a, b / 1024, c) for a, b, c in losses]) == ranks


def test_within_a_level_the_ends_come_first_and_the_crowded_last() -> None:
    ranks = crowded_order([(0.0, 10.0), (1.0, 9.0), (1.1, 8.9), (1.2, 8.8), (6.0, 3.0), (10.0, 0.0), (11.0, 11.0)])
    assert sorted(range(7), key=ranks.__getitem__) == [0, 5, 4, 3, 1, 2, 6]
    assert ranks[0] == ranks[5] == 0.0


def test_a_single_trial_equal_ones_and_none_have_ranks_too() -> None:
    assert crowded_order([]) == []
    assert crowded_order([(3.0, 4.0)]) == [0.0]
    assert max(crowded_order([(3.0, 4.0)] * 5)) < 1
