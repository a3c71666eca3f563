"""Search spaces, and what Hyperopt draws from them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hyperopt import space_eval
from hyperopt.pyll.stochastic import sample
from numpy.random import default_rng

from experiments.sweep_plan import SPACES, Plan, find_space
from pipeline.config import ImageConfig
from pipeline.data import Splits, load_splits
from pipeline.plugins import load_plugins
from pipeline.plugins.loading import unload
from pipeline.reporting.importance import measure_importance
from pipeline.sweeps.axes import build_axes
from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.space import Space, SpaceError
from pipeline.sweeps.state import Trial
from pipeline.util.errors import InvalidInput

CONDITIONAL = """
with: [odenet_simple, digits]
minimise: validation.loss
space:
  training.lr: {loguniform: [1e-4, 1e-1]}
  model.augment: {quniform: [0, 8, 2]}
  optimiser:
    choice:
      - {training.optimiser: adam}
      - training.optimiser: sgd
        training.momentum: {uniform: [0.5, 0.9]}
        schedule:
          choice:
            - {training.schedule: constant}
            - {training.schedule: step}
"""


def space(text: str) -> Space:
    return parse_space(text, "space.yaml")


def of(parameters: str) -> str:
    return f"with: [odenet_simple, digits]\nminimise: validation.loss\nspace:\n  {parameters}\n"


def draw(parsed: Space, number: int) -> list[dict[str, object]]:
    generator = default_rng(0)
    expression = parsed.build()
    return [parsed.flatten(sample(expression, generator)) for _ in range(number)]


def plan_of(parsed: Space, *words: str) -> Plan:
    return Plan(parsed, "space.yaml", words, 10, 0, 3, True, False)


def test_every_draw_is_a_configuration_and_conditional_keys_come_with_their_branch_alone() -> None:
    parsed = space(CONDITIONAL)
    drawn = draw(parsed, 200)
    for suggestion in drawn:
        plan_of(parsed).resolved(suggestion, 0)
        assert ("training.momentum" in suggestion) == (suggestion["training.optimiser"] == "sgd")
        assert ("training.schedule" in suggestion) == (suggestion["training.optimiser"] == "sgd")
    assert {s["training.optimiser"] for s in drawn} == {"adam", "sgd"}
    assert {s.get("training.schedule") for s in drawn} == {None, "constant", "step"}


def test_a_file_that_trials_start_from_is_read_once_and_may_change_or_go(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("training: {max_epochs: 3, lr: 0.5}")
    plan = plan_of(space(CONDITIONAL.replace("digits]", f"digits, {base}]")), "training.weight_decay=1e-3")
    base.write_text("training.max_epochs: 1")
    configs = [plan.resolved({"training.lr": 0.1}, 7).config]
    base.unlink()
    configs.append(Plan.from_dict(plan.to_dict()).resolved({"training.lr": 0.1}, 7).config)
    for config in configs:
        assert (config.training.max_epochs, config.training.lr, config.training.weight_decay) == (3, 0.1, 1e-3)
        assert (config.data.name, config.seed) == ("digits", 7)


def test_numbers_stay_within_their_bounds_and_whole_ones_are_whole() -> None:
    drawn = draw(space(CONDITIONAL), 300)
    rates = [float(str(s["training.lr"])) for s in drawn]
    assert 1e-4 <= min(rates) < 3e-4
    assert 3e-2 < max(rates) <= 1e-1 * (1 + 1e-12)
    assert {s["model.augment"] for s in drawn} == {0, 2, 4, 6, 8}
    assert all(isinstance(s["model.augment"], int) for s in drawn)


def test_logarithmic_bounds_are_the_values_themselves() -> None:
    drawn = draw(space(of("training.lr: {loguniform: [1e-6, 1]}")), 400)
    below = sum(float(str(s["training.lr"])) < 1e-3 for s in drawn)
    assert 150 < below < 250


def test_what_the_space_says_goes_over_the_named_configurations_and_their_siblings_stay() -> None:
    parsed = space(CONDITIONAL)
    config = plan_of(parsed, "training.patience=7").resolved({"training.lr": 0.5, "model.augment": 4}, 3).config
    assert (config.training.lr, config.model.augment, config.seed) == (0.5, 4, 3)
    assert config.training.patience == 7
    assert (config.data.name, config.model.body) == ("digits", "odenet")


def test_the_parameters_are_those_that_vary() -> None:
    parsed = space(CONDITIONAL)
    assert parsed.parameters() == [
        *("training.lr", "model.augment", "training.optimiser", "training.momentum", "training.schedule"),
    ]
    assert parsed.is_logarithmic("training.lr")
    assert not parsed.is_logarithmic("training.momentum")


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_space_that_comes_along_can_be_searched(path: Path) -> None:
    parsed = find_space(path.stem)
    for suggestion in [*parsed.corners(), *draw(parsed, 20)]:
        plan_of(parsed).resolved(suggestion, 0)


def test_the_corners_hold_every_extreme_and_every_option() -> None:
    corners = space(CONDITIONAL).corners()
    values = {(key, value) for corner in corners for key, value in corner.items()}
    assert {("training.lr", 1e-4), ("training.lr", 1e-1), ("model.augment", 0), ("model.augment", 8)} <= values
    assert {("training.momentum", 0.5), ("training.momentum", 0.9), ("training.schedule", "step")} <= values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("[]", "must have the keys"),
        ("minimize: validation.loss\nspace: {training.lr: {uniform: [0, 1]}}", "did you mean minimise"),
        (of("training.lr: {uniform: [0, 1]}").replace("validation.loss", "test.loss"), "validation.accuracy"),
        (
            of("training.lr: {uniform: [0, 1]}").replace("minimise: validation.loss\n", ""),
            "either minimise or maximise",
        ),
        (of("training.learning_rate: {uniform: [0, 1]}"), "unknown key training.learning_rate"),
        (of("training.lr: {loguniform: [-9, -2]}"), "not logarithms"),
        (of("training.lr: {uniform: [1, 0]}"), "low below high"),
        (of("training.lr: {uniform: [1]}"), "takes [low, high]"),
        (of("training.lr: {log_uniform: [1, 2]}"), "did you mean loguniform"),
        (of("model.augment: {uniform: [1, 5]}"), "whole number"),
        (of("training.optimiser: {uniform: [1, 5]}"), "no number"),
        (of("training.optimiser: {choice: adam}"), "list of two or more"),
        (of("training.lr: {choice: [1, {training.lr: 2}]}"), "all be branches"),
        (of("seed: {choice: [1, 2]}"), "odenet sweep --seed"),
        (of("training.lr: 0.1"), "nothing in space varies"),
        (of("training.lr: {uniform: [0, 1]}\n  o: {choice: [{training.lr: 1}, {training.lr: 2}]}"), "set twice"),
        (of("training.lr: {uniform: [0, 1]}").replace("validation.loss", "{a: 1}"), "minimise must name one of"),
        (of("training.lr: {uniform: [0, 1]}").replace("validation.loss", "[[validation.loss]]"), "must name one of"),
        ("with: digits\n" + of("training.lr: {uniform: [0, 1]}").partition("\n")[2], "must be a list"),
    ],
)
def test_a_space_that_cannot_be_is_refused_with_what_and_where(text: str, words: str) -> None:
    with pytest.raises(SpaceError) as refused:
        space(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_keys_that_only_some_draws_would_set_twice_are_refused_in_a_new_file(tmp_path: Path) -> None:
    branches = (
        "a: {choice: [{training.lr: 0.1}, {training.momentum: 0.5}]}\n"
        "  b: {choice: [{training.momentum: 0.9}, {training.lr: 0.2}]}"
    )
    (tmp_path / "mine.yaml").write_text(of(branches))
    with pytest.raises(SpaceError, match=r"training\.lr is set twice in the space: by b, and by what stands before it"):
        find_space(str(tmp_path / "mine.yaml"))
    assert space(of(branches)).parameters(), "what a store has stays readable"


@pytest.mark.parametrize(
    ("goal", "sentence"),
    [
        ("minimise: validation.accuracy", "validation.accuracy is better when higher: write maximise: validation.acc"),
        ("maximise: [validation.accuracy, solver.nfe_forward]", "solver.nfe_forward is better when lower: write minim"),
        (
            "minimise: validation.loss\nconstraints: validation.accuracy >= 92.5",
            "is a share from 0 to 1: write validation.accuracy >= 0.925 for 92.5 %",
        ),
    ],
)
def test_a_search_for_worse_values_or_beyond_all_of_them_is_refused_in_a_new_file(
    tmp_path: Path, goal: str, sentence: str
) -> None:
    text = of("training.lr: {uniform: [0, 1]}").replace("minimise: validation.loss", goal)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SpaceError, match=sentence):
        find_space(str(tmp_path / "mine.yaml"))
    assert space(text).parameters(), "what a store has stays readable"


FIELDS = """
from torch import nn
from pipeline import plugins

@plugins.field("real")
def real(channels: int, *, gain: float = 0.5, widths: list | None = None) -> nn.Module: ...

@plugins.field("whole")
def whole(channels: int, *, gain: int = 1) -> nn.Module: ...

@plugins.field("of_densities", task="density")
def of_densities(channels: int, *, widths: str = "8") -> nn.Module: ...
"""


@pytest.fixture
def fields(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "fields.py"
    file.write_text(FIELDS)
    load_plugins([str(file)])
    yield
    unload(str(file))


@pytest.mark.usefixtures("fields")
def test_an_option_is_of_the_type_that_the_chosen_part_gives_it() -> None:
    parsed = space(of("model.options.gain: {uniform: [0.5, 1.5]}"))
    for corner in parsed.corners():
        config = plan_of(parsed, "model.architecture=real").resolved(corner, 0).config
        assert config.model.options["gain"] == corner["model.options.gain"]
        with pytest.raises(InvalidInput, match=r"model\.options\.gain must be a whole number, not"):
            plan_of(parsed, "model.architecture=whole").resolved(corner, 0)


@pytest.mark.usefixtures("fields")
def test_lists_are_options_of_a_choice_where_a_key_takes_them() -> None:
    parsed = space(of("model.options.widths: {choice: [[8, 8], [16], None]}"))
    drawn = draw(parsed, 20)
    for suggestion in drawn:
        config = plan_of(parsed, "model.architecture=real").resolved(suggestion, 0).config
        assert config.model.options["widths"] == suggestion["model.options.widths"]
    trials = [Trial(number, suggestion) for number, suggestion in enumerate(drawn)]
    assert [label for _, label in build_axes(parsed, trials)[0].ticks()] == ["[8, 8]", "[16]", "None"]
    assert all(0 < build_axes(parsed, trials)[0].place(one["model.options.widths"]) < 1 for one in drawn)
    assert measure_importance(drawn, range(20)).runs == 20
    with pytest.raises(SpaceError, match=r"training.lr must be a value, a distribution or a choice, not \[1, 2\]"):
        space(of("training.lr: {choice: [[1, 2], 3]}"))


def test_none_is_a_value_where_a_key_may_have_it() -> None:
    parsed = space(of("training.patience: {choice: [None, 3]}"))
    assert {corner["training.patience"] for corner in parsed.corners()} == {None, 3}


def test_the_command_line_may_choose_the_task_and_no_key_that_the_space_sets(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("minimise: validation.loss\nspace: {training.lr: {uniform: [0.1, 1]}}")
    found = find_space(str(path), (), ("cnf", "two_moons"))
    assert found.task.result.name == "test.nll"
    assert Plan.from_dict(plan_of(found, "cnf", "two_moons").to_dict()).space.task.result.name == "test.nll"
    accuracy = tmp_path / "accuracy.yaml"
    accuracy.write_text("maximise: validation.accuracy\nspace: {training.lr: {uniform: [0.1, 1]}}")
    assert find_space(str(accuracy), (), ("odenet_simple", "digits")).mode == "max"
    with pytest.raises(SpaceError, match="maximise must name one of"):
        find_space(str(accuracy), (), ("cnf", "two_moons"))
    hidden = plan_of(found, "cnf", "two_moons", "training.lr=1e-3")
    with pytest.raises(InvalidInput, match=r"training\.lr is set by the space space\.yaml: change it there"):
        hidden.refuse_hidden_overrides()
    plan_of(found, "cnf", "two_moons", "training.max_epochs=1").refuse_hidden_overrides()
    with pytest.raises(InvalidInput, match=r"give its own, --seed, and leave seed=… out"):
        plan_of(found, "cnf", "two_moons", "seed=3").refuse_hidden_overrides()


def test_a_space_that_allows_an_impossible_value_is_refused_before_anything_runs() -> None:
    with pytest.raises(SpaceError, match=r"training\.lr must be above 0"):
        plan_of(space(of("training.lr: {uniform: [-1, 1]}"))).check()


def test_the_data_are_loaded_once_for_all_corners_that_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ImageConfig] = []

    def load(config: ImageConfig, seed: int, device: torch.device) -> Splits:
        loaded.append(config)
        return load_splits(config, seed, device)

    monkeypatch.setattr("pipeline.tasks.classification.task.load_splits", load)
    parameters = "training.lr: {uniform: [0.1, 1]}\n  data.validation_fraction: {choice: [0.1, 0.2]}"
    plan_of(space(of(parameters))).check()
    assert [config.validation_fraction for config in loaded] == [0.1, 0.2]


def test_an_unknown_space_names_those_there_are() -> None:
    with pytest.raises(SpaceError, match="digits, latent_spirals, thesis_complex, thesis_simple"):
        find_space("mnist_space")


def test_hyperopt_reads_the_expression_as_its_own() -> None:
    chosen = {"training.lr": 0.01, "model.augment": 2.0, "optimiser": 0}
    assert space_eval(space(CONDITIONAL).build(), chosen)["optimiser"]["training.optimiser"] == "adam"


@pytest.mark.parametrize(
    ("parameter", "allowed"),
    [
        ("training.momentum: {quniform: [0.05, 0.95, 0.1]}", {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}),
        ("model.augment: {quniform: [1, 10, 4]}", {4, 8}),
        ("model.channels: {qloguniform: [0.2, 9, 2]}", {2, 4, 6, 8}),
    ],
)
def test_quantised_draws_are_multiples_of_the_step_within_the_bounds(parameter: str, allowed: set[float]) -> None:
    parsed = space(of(parameter))
    key = parsed.parameters()[0]
    drawn = {suggestion[key] for suggestion in draw(parsed, 400)}
    assert {round(float(str(value)), 9) for value in drawn} == allowed
    assert {round(float(corner[key]), 9) for corner in parsed.corners()} == {min(allowed), max(allowed)}


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("training.lr: {uniform: [-1e308, 1e308]}", "spans more than a number can hold"),
        ("training.lr: {quniform: [0, 1, 1e-320]}", "spans more than a number can hold"),
        ("model.channels: {uniformint: [1, 1e30]}", "wants whole numbers below 2**63"),
        ("training.lr: {quniform: [0.1, 0.2, 5]}", "has no multiple of the step 5 between 0.1 and 0.2"),
        ("x: {choice: [{}, {}]}", "nothing in space varies"),
    ],
)
def test_bounds_that_overflow_and_branches_of_nothing_are_refused(parameter: str, sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence.replace("*", "[*]")):
        space(of(parameter))


def test_a_branch_may_be_empty_beside_one_that_is_not() -> None:
    parsed = space(of("x: {choice: [{}, {training.lr: {uniform: [0.1, 0.2]}}]}"))
    assert {"training.lr" in suggestion for suggestion in draw(parsed, 50)} == {True, False}
    assert {} in parsed.corners()


@pytest.mark.parametrize(
    ("words", "gpus"), [((), None), (("training.device=cpu",), 0.0), (("training.device=cuda",), None)]
)
def test_trials_that_are_told_to_use_the_cpu_take_no_share_of_a_gpu(words: tuple[str, ...], gpus: float | None) -> None:
    asked = plan_of(space(of("training.lr: {uniform: [0.1, 0.2]}")), *words)
    assert asked.gpus_asked == gpus
    assert replace(asked, gpus_per_trial=0.5).gpus_asked == 0.5
