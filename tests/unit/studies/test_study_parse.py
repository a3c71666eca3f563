"""Studies as people write them: what they say, and what is wrong with them in one sentence."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.study_plan import TOLD_APART, find_metrics, find_study, make_plan, study_files
from pipeline.config import ConfigError, SolverConfig
from pipeline.studies.paper_numbers import PaperNumberError, parse_number
from pipeline.studies.parse import load_study, parse_study
from pipeline.studies.study import Study, StudyError
from pipeline.tasks.solver_grid import Setting
from pipeline.util.errors import InvalidInput

STUDY: dict[str, Any] = {
    "title": "A title",
    "question": "A question?",
    "with": ["odenet_simple", "digits"],
    "runs": {"a": {"with": ["model.augment=0"]}, "b": {"with": ["model.augment=2"], "level": 2}},
    "read": ["accuracy", "loss", {"solver.nfe_forward": {"at": "largest"}}],
    "scales": {"small": {"with": ["data.subset=300"], "note": "300 images"}},
    "paper": {"a": {"accuracy": 97.5}},
    "claims": [{"says": "They do not differ.", "equivalent": ["a", "b"], "in": "accuracy", "within": 1}],
}


def parse(**changes: Any) -> Study:
    values = {key: value for key, value in (STUDY | changes).items() if value is not None}
    return parse_study(yaml.safe_dump(values), "mine", find_metrics)


def test_rows_columns_and_scales_are_what_the_file_says() -> None:
    study = parse()
    assert [row.name for row in study.rows] == ["a", "b"]
    assert study.row("a").words == ("odenet_simple", "digits", "model.augment=0")
    assert [column.name for column in study.columns] == ["accuracy", "loss", "solver.nfe_forward"]
    assert study.column("accuracy").factor == 100
    assert study.column("solver.nfe_forward").at == "largest"
    assert set(study.scales) == {"full", "small"}
    assert study.seeds == (0, 1, 2)


def test_what_varies_crosses_with_the_runs_and_names_and_levels_the_rows() -> None:
    study = parse(vary={"model.final_time": [1, 2.5]}, paper=None, claims=None)
    assert [row.name for row in study.rows] == [
        "a, final_time=1",
        "a, final_time=2.5",
        "b, final_time=1",
        "b, final_time=2.5",
    ]
    assert [row.level for row in study.rows] == [1, 2.5, 1, 2.5]
    assert study.axis == "model.final_time"
    methods = parse(runs={"a": {"label": "ours"}}, vary={"solver.method": ["rk4", "euler"]}, paper=None, claims=None)
    assert [row.label for row in methods.rows] == ["ours, method=rk4", "ours, method=euler"]
    alone = parse(runs=None, vary={"training.optimiser": ["adam", "sgd"]}, paper=None, claims=None)
    assert [row.name for row in alone.rows] == ["optimiser=adam", "optimiser=sgd"]
    assert make_plan(alone, "full").jobs[0].resolved.config.training.optimiser == "adam"


def test_later_words_go_over_earlier_ones_from_the_study_to_the_command_line() -> None:
    study = parse()
    row = study.row("a")
    assert make_plan(study, "full").resolved(row, 1).config.data.subset is None
    small = make_plan(study, "small").resolved(row, 1).config
    assert (small.data.subset, small.model.augment, small.seed) == (300, 0, 1)  # type: ignore[attr-defined]
    assert make_plan(study, "small", overrides=["data.subset=100"]).resolved(row, 1).config.data.subset == 100


def test_a_row_that_evaluates_another_has_its_configuration_and_a_setting_of_its_own() -> None:
    study = parse(runs={**STUDY["runs"], "euler": {"evaluates": "a", "solver": {"method": "euler", "steps": 2}}})
    jobs = [job for job in make_plan(study, "small").jobs if job.row.name == "euler"]
    assert [job.seed for job in jobs] == [0, 1, 2]
    assert {job.kind for job in jobs} == {"evaluate"}
    assert jobs[0].resolved == make_plan(study, "small").jobs[0].resolved


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"titel": "x"}, "has the key 'titel' (did you mean title?)"),
        ({"read": ["acuracy"]}, "there is nothing to read called 'acuracy' (did you mean accuracy?)"),
        ({"read": [{"loss": {"att": "last"}}]}, "has the key 'att' (did you mean at?)"),
        (
            {"read": [{"solver.nfe_forward": {"at": "begin"}}]},
            "at of the column solver.nfe_forward must be one",
        ),
        ({"read": []}, "reads nothing"),
        ({"question": None}, "has no question"),
        ({"runs": {"a": {"wiht": []}}}, "has the key 'wiht' (did you mean with?)"),
        ({"runs": {"a": {"do": "meassure"}}}, "(did you mean measure?)"),
        ({"runs": {"a": {}, "c": {"evaluates": "b"}}}, "evaluates 'b', which is no run"),
        ({"paper": {"c": {"accuracy": 1}}}, "numbers of 'c', which is no run"),
        ({"paper": {"a": {"acuracy": 1}}}, "(did you mean accuracy?)"),
        ({"paper": {"a": {"accuracy": "many"}}}, "is no number as a paper has it"),
        ({"seeds": [0, 0]}, "different whole numbers"),
        ({"seeds": []}, "different whole numbers"),
        ({"scales": {"small": {"without": ["c"]}}}, "leaves out 'c', which is no run"),
        ({"verdict": {"levle": 0.9}}, "(did you mean level?)"),
        ({"verdict": {"level": 2.0}}, "verdict.level cannot be 2.0"),
        ({"claims": [{"says": "x", "higer": ["a", "b"], "in": "loss"}]}, "(did you mean higher?)"),
        ({"claims": [{"says": "x", "higher": ["a", "c"], "in": "loss"}]}, "is of 'c', which is no run"),
        ({"claims": [{"says": "x", "higher": ["a"], "in": "loss"}]}, "compares two runs"),
        ({"claims": [{"says": "x", "higher": ["a", "a"], "in": "loss"}]}, "names 'a' twice: name each run once"),
        ({"claims": [{"says": "x", "higher": ["a", "b"], "in": "los"}]}, "(did you mean loss?)"),
        ({"claims": [{"says": "x", "equivalent": ["a", "b"], "in": "loss"}]}, "needs within"),
        ({"claims": [{"says": "x", "ratio": ["a", "b"], "in": "loss"}]}, "needs between"),
        ({"claims": [{"says": "x", "rises": ["a", "b"], "in": "loss"}]}, "needs the level of each run"),
        ({"claims": [{"says": "x"}]}, "needs one test"),
        ({"claims": [{"says": "x", "equivalent": ["a", "b"], "in": "loss", "within": 10**400}]}, "needs within"),
        ({"claims": [{"says": "x", "ratio": ["a", "b"], "in": "loss", "between": [1, 10**400]}]}, "needs between"),
        ({"vary": {"model.augment": 3}}, "must be a list of values"),
        ({"vary": {"model.augment": [2, 0, 2.0]}}, "vary.model.augment has 2 twice: name it once"),
        ({"runs": {"a": {"ends": "underflw"}}}, "not 'underflw' (did you mean underflow?)"),
        ({"runs": {"a": {"ends": "out_of_memory"}}}, "completed, underflow, step_limit, diverged, loss_diverged, not"),
        ({"claims": [{"says": "x", "ends": ["a"]}]}, "as is one of completed, underflow"),
        ({"claims": [{"says": "x", "ends": ["a"], "as": ["underflow"]}]}, "as is one of completed, underflow"),
        ({"claims": [{"says": "x", "order": ["a"], "in": "loss"}]}, "order compares two runs or more, not 1"),
        (
            {"claims": [{"says": "x", "order": ["a", "b"], "in": "loss", "over": "epochs"}]},
            "over is for rises and falls",
        ),
        ({"claims": [{"says": "x", "higher": ["a", "b"], "in": "loss", "within": 1}]}, "within is for equivalent"),
        ({"claims": [{"says": "x", "ends": ["a"], "as": "completed", "in": "loss"}]}, "ends does not take it"),
        ({"claims": [{"says": "x", "rises": ["a"], "in": "loss", "over": "epochs"}]}, "has one value a run"),
        ({"read": [{"accuracy": {"at": "first"}}]}, "accuracy has one value a run and none over epochs"),
        ({"read": [{"solver.nfe_forward": {"at": at}} for at in ("first", "last")]}, "reads solver.nfe_forward twice"),
        ({"runs": {"a": {}, "b": {"evaluates": "a"}, "e": {"evaluates": "b"}}}, "evaluates b, which trains no model"),
        ({"runs": {"a": {}, "b": {"evaluates": "b"}}}, "evaluates b, which trains no model"),
        ({"runs": None}, "neither runs nor vary"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_the_nearest_right_name(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(**changes)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_row_that_cannot_be_configured_names_itself_and_the_key() -> None:
    with pytest.raises(StudyError, match=r"mine, a: unknown key training.lrr \(did you mean training.lr\?\)"):
        parse(runs={"a": {"with": ["training.lrr=1"]}}, paper=None, claims=None)
    scaled = parse(scales={"small": {"with": ["training.lrr=1"]}})
    with pytest.raises(ConfigError, match=r"a of the study mine: unknown key training\.lrr"):
        make_plan(scaled, "small")
    wrong = parse(runs={"a": {}, "e": {"evaluates": "a", "solver": {"methd": "rk4"}}}, paper=None, claims=None)
    with pytest.raises(ConfigError, match=r"methd \(did you mean method\?\)"):
        make_plan(wrong, "full")


@pytest.mark.parametrize(
    ("solver", "sentence"),
    [
        ({"max_steps": 5}, "solver has max_steps, by which evaluations are not told apart"),
        ({"final_time": -1}, "final_time"),
        ({"final_time": "x"}, "final_time"),
    ],
)
def test_an_evaluation_that_cannot_be_or_cannot_be_found_again_is_refused(solver: Any, sentence: str) -> None:
    study = parse(runs={"a": {}, "b": {"evaluates": "a", "solver": solver}}, claims=None)
    with pytest.raises(ConfigError, match=sentence):
        make_plan(study, "full")


def test_the_keys_by_which_evaluations_are_told_apart_are_those_that_the_store_has_of_a_setting() -> None:
    assert {*TOLD_APART, "final_time"} == Setting(SolverConfig(), 1.0).to_dict().keys()


def test_a_key_that_stands_twice_in_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: t\nquestion: q\nread: [loss]\nruns:\n  a: {with: [digits]}\n  a: {with: [odenet_simple]}\n")
    with pytest.raises(InvalidInput, match=r"has 'a' twice in one section, again in line 6: rename or remove one"):
        load_study(path, find_metrics)


def test_there_is_a_verdict_at_the_papers_scale_alone_and_with_nothing_changed() -> None:
    study = parse()
    assert make_plan(study, "full").is_full
    assert not make_plan(study, "small").is_full
    changed = make_plan(study, "full", overrides=["data.subset=100"])
    assert not changed.is_full
    assert changed.conditions == "scale full: data.subset=100"
    other = make_plan(find_study("architecture"), "small", model="odenet_complex")
    assert other.conditions.endswith(", odenet_complex")


def test_unknown_studies_scales_and_a_model_where_none_is_replaced_are_refused() -> None:
    with pytest.raises(StudyError, match=r"did you mean bijsterbosch-7.1"):
        find_study("bijsterbosch-71")
    with pytest.raises(StudyError, match="has no scale smal"):
        make_plan(parse(), "smal")
    with pytest.raises(StudyError, match="--model"):
        make_plan(parse(), "full", model="odenet_complex")


def test_the_model_of_a_study_that_names_one_is_replaced() -> None:
    study = find_study("architecture")
    plan = make_plan(study, "smoke", model="odenet_complex", overrides=["model.stride=None"])
    assert {job.resolved.config.model.architecture for job in plan.jobs} == {"complex"}


def test_a_seed_of_a_row_would_have_no_effect_and_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"seed=1 of the study mine: a study trains every row on all of its seeds"):
        make_plan(parse(runs=None, vary={"seed": [1, 2]}, paper=None, claims=None), "full")
    with pytest.raises(ConfigError, match="no seed=…"):
        make_plan(parse(), "full", overrides=["seed=3"])


@pytest.mark.parametrize("name", study_files())
def test_every_study_that_comes_along_can_be_configured_at_its_three_scales(name: str) -> None:
    study = find_study(name)
    assert set(study.scales) == {"full", "small", "smoke"}
    for scale in study.scales:
        plan = make_plan(study, scale)
        assert plan.jobs
        for row in plan.rows:
            assert scale == "full" or plan.scale.note, "what is smaller is said"
            assert row.kind == "evaluate" or row.words


@pytest.mark.parametrize(
    ("given", "low", "high", "rounding", "text"),
    [
        (86.06, 86.06, 86.06, 0.005, "86.06"),
        ("69.80", 69.8, 69.8, 0.005, "69.80"),
        (26, 26, 26, 0.5, "26"),
        (17400, 17400, 17400, 0.5, "17,400"),
        ([75, 80], 75, 80, 0.5, "75 to 80"),
        ({"value": 169000, "within": 500}, 169000, 169000, 500, "169,000"),
        ({"above": 90}, 90, float("inf"), 0.0, "above 90"),
        ({"above": 90, "within": 0.5}, 90, float("inf"), 0.5, "above 90"),
        ("1.2e-3", 0.0012, 0.0012, 0.00005, "1.2e-3"),
    ],
)
def test_a_papers_number_is_as_fine_as_it_was_written(
    given: Any, low: float, high: float, rounding: float, text: str
) -> None:
    number = parse_number(given)
    assert (number.low, number.high, number.text) == (low, high, text)
    assert number.rounding == pytest.approx(rounding)


@pytest.mark.parametrize(
    "given",
    [
        None,
        True,
        "many",
        [2, 1],
        [1],
        {"value": 1, "above": 2},
        {"vaule": 1},
        {"within": 1},
        {"value": 1, "within": -5},
    ],
)
def test_what_is_no_number_is_refused(given: Any) -> None:
    with pytest.raises(PaperNumberError):
        parse_number(given)


def test_none_may_vary_as_it_is_written_elsewhere() -> None:
    study = parse(runs=None, vary={"training.patience": ["None", 3]}, paper=None, claims=None)
    assert [row.words[-1] for row in study.rows] == ["training.patience=None", "training.patience=3"]


@pytest.mark.parametrize("given", ["1e400", "1e-400", 10**400])
def test_a_number_that_no_double_holds_is_refused(given: Any) -> None:
    with pytest.raises(PaperNumberError, match="is larger or finer than any number that a computer measures"):
        parse_number(given)
