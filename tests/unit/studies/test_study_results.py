"""What a study says of runs that are made up: claims with their tests, tables, documents that nothing breaks out of."""

import json
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import yaml

from experiments.study_plan import find_metrics
from pipeline.comparison.compare import Comparison
from pipeline.comparison.compared_run import ComparedRun
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.groups import Group
from pipeline.comparison.tables import conditions
from pipeline.reporting.markdown import escaped as markdown_escaped
from pipeline.reporting.words import sentence_case
from pipeline.studies.claims import JudgedClaim, judge_claims
from pipeline.studies.figures import plot_over_levels
from pipeline.studies.latex import escaped, latex
from pipeline.studies.page import page
from pipeline.studies.parse import parse_study
from pipeline.studies.progress import JobProgress, seconds_left
from pipeline.studies.result import Answer, StudyResult, build_result
from pipeline.studies.study import Claim
from pipeline.studies.tables import markdown, study_tables
from pipeline.tracking.run_document import RunInfo, RunStatus

NASTY = "50% of $x_1 & \\input{a} | <b>*"
STUDY: dict[str, Any] = {
    "title": f"A title with {NASTY}",
    "question": "A question?",
    "source": "A paper, table 1",
    "doubts": ["Something is doubtful."],
    "with": ["odenet_simple", "digits"],
    "runs": {
        "a": {"label": NASTY, "level": 1},
        "b": {"label": "b", "level": 2, "with": ["model.augment=0"]},
        "c": {"label": "c", "level": 5, "with": ["model.augment=1"], "ends": "underflow"},
    },
    "read": ["accuracy", "nfe_test", "parameters", "solver.nfe_backward"],
    "scales": {"small": {"note": "a few images"}},
    "paper": {
        "a": {"accuracy": 90.2, "parameters": 100},
        "b": {"accuracy": {"value": 95, "doubtful": "it is a guess"}},
    },
}
HOST = {"hostname": "here", "cpu": "a processor", "os": ["Linux", "6"], "python_version": "3.11"}
VALUES = {
    "a": {"accuracy": (0.901, 0.904, 0.902), "nfe_test": (20, 20, 20), "parameters": (100, 100, 100)},
    "b": {"accuracy": (0.899, 0.903, 0.900), "nfe_test": (26, 27, 26), "parameters": (300, 300, 300)},
    "c": {"accuracy": (0.701, 0.720, 0.711), "nfe_test": (40, 44, 41), "parameters": (300, 300, 300)},
}


def made_up(number: int, seed: int, values: dict[str, float], backward: list[float]) -> ComparedRun:
    epochs = pd.Index(range(1, len(backward) + 1), name="epoch")
    config = {"seed": seed, "training.max_epochs": 3, "training.patience": None, "data.name": "digits"}
    document = {"_id": number, "experiment": {"name": "classification"}, "config": {}, "host": HOST, "info": {}}
    history = pd.DataFrame({"solver.nfe_backward": backward}, index=epochs)
    return ComparedRun(number, seed, RunStatus.COMPLETED, document, RunInfo(), config, values, history, None)


def result_of(scale: str = "full", claims: Any = (), **outcomes: str | tuple[str, ...]) -> StudyResult:
    """The study with its made-up runs; a row's outcome is that of all of its runs, or they have one each."""
    study = parse_study(yaml.safe_dump(STUDY | {"claims": list(claims)}), "mine", find_metrics)
    answers, number = {}, 0
    for row, values in VALUES.items():
        of_row = []
        for seed in range(3):
            number += 1
            run = made_up(number, seed, {name: each[seed] for name, each in values.items()}, [20.0, 22.0 + seed, 26.0])
            outcome = outcomes.get(row, "completed")
            of_seed = outcome if isinstance(outcome, str) else outcome[seed]
            of_row.append(Answer(seed, None if of_seed == "refused" else run, of_seed, "in its words"))
        answers[row] = of_row
    return build_result(study, study.scales[scale], f"scale {scale}", scale == "full", (0, 1, 2), answers)


def claim(scale: str = "full", **test: Any) -> JudgedClaim:
    return result_of(scale, [{"says": "It is so.", **test}]).claims[0]


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ({"equivalent": ["a", "b"], "in": "accuracy", "within": 1.0}, "supported"),
        ({"equivalent": ["a", "b"], "in": "accuracy", "within": 0.1}, "undecided"),
        ({"equivalent": ["a", "c"], "in": "accuracy", "within": 1.0}, "contradicted"),
        ({"higher": ["a", "c"], "in": "accuracy"}, "supported"),
        ({"lower": ["a", "c"], "in": "accuracy"}, "contradicted"),
        ({"differ": ["a", "c"], "in": "accuracy"}, "supported"),
        ({"order": ["c", "b", "a"], "in": "nfe_test"}, "supported"),
        ({"order": ["a", "b", "c"], "in": "nfe_test"}, "contradicted"),
        ({"rises": "all", "in": "nfe_test"}, "supported"),
        ({"falls": "all", "in": "nfe_test"}, "contradicted"),
        ({"falls": ["a", "b", "c"], "in": "accuracy"}, "supported"),
        ({"rises": "all", "in": "solver.nfe_backward", "over": "epochs"}, "supported"),
        ({"falls": "all", "in": "solver.nfe_backward", "over": "epochs"}, "contradicted"),
        ({"ratio": ["a", "b"], "in": "parameters", "between": [0.3, 0.4]}, "supported"),
        ({"ratio": ["a", "b"], "in": "parameters", "between": [0.9, 1.1]}, "contradicted"),
        ({"equivalent": ["b", "c"], "in": "parameters", "within": 1}, "supported"),
        ({"higher": ["b", "c"], "in": "parameters"}, "contradicted"),
        ({"rises": ["a", "b"], "in": "parameters"}, "supported"),
        ({"rises": ["b", "c"], "in": "parameters"}, "contradicted"),
        ({"falls": ["b", "c"], "in": "parameters"}, "contradicted"),
        ({"ends": ["a", "b"], "as": "completed"}, "supported"),
        ({"ends": ["a"], "as": "underflow"}, "contradicted"),
    ],
)
def test_a_claim_is_judged_by_its_test(test: dict[str, Any], verdict: str) -> None:
    assert claim(**test).verdict == verdict


@pytest.mark.parametrize("over", [{"over": "epochs"}, {}], ids=["over epochs", "over rows"])
def test_a_claim_of_rows_of_which_one_has_no_run_is_undecided_and_says_of_which(over: dict[str, str]) -> None:
    says = {"says": "x", "rises": ["a", "b", "c"], "in": "solver.nfe_backward" if over else "nfe_test", **over}
    (judged,) = result_of("full", [says], b="refused").claims
    assert judged.verdict == "undecided"
    assert re.search(r"^no (number|run with two epochs) of b$", judged.tested.words)


def test_claims_are_adjusted_for_how_many_they_are() -> None:
    one = {"says": "x", "higher": ["a", "c"], "in": "accuracy"}
    (alone,), several = result_of(claims=[one]).claims, result_of(claims=[one] * 5).claims
    assert alone.tested.p is not None
    assert alone.adjusted_p == alone.tested.p
    assert several[0].adjusted_p == pytest.approx(5 * alone.tested.p)


def test_of_what_is_contradicted_the_p_value_of_the_opposite_is_shown() -> None:
    judged = claim(lower=["a", "c"], **{"in": "accuracy"})
    assert judged.verdict == "contradicted"
    assert judged.tested.p is not None
    assert judged.tested.p > 0.99
    assert judged.deciding == (judged.tested.p_against, judged.adjusted_p_against)
    assert judged.deciding[0] is not None
    assert judged.deciding[0] < 0.01


def test_at_a_smaller_scale_a_claim_has_a_tendency() -> None:
    judged = claim("small", higher=["a", "c"], **{"in": "accuracy"})
    assert judged.text(is_full=True) == "supported"
    assert judged.text(is_full=False) == "points that way"


def test_runs_that_ended_otherwise_are_in_no_mean_and_their_outcome_is_shown() -> None:
    result = result_of(c="underflow", claims=[{"says": "x", "ends": ["c"], "as": "underflow"}])
    assert result.claims[0].verdict == "supported"
    row = result.rows[2]
    assert row.values(result.study.column("accuracy")) == {}
    assert row.ended_as_expected
    text = markdown(result)
    assert "3 underflow (as expected)" in text
    assert not any("ended by" in line for line in text.splitlines())
    unexpected = markdown(result_of(b="diverged"))
    assert "3 of 3 runs of b ended by the state or its derivative became non-finite" in unexpected


def test_of_a_row_that_was_done_in_part_or_ended_better_than_expected_the_share_is_told() -> None:
    text = markdown(result_of(b=("completed", "refused", "refused"), c=("completed", "underflow", "underflow")))
    assert "2 of 3 runs of b were not done: in its words." in text
    assert "1 of 3 runs of c completed, where step size underflow of the solver was expected." in text
    assert "b was not done: in its words." in markdown(result_of(b="refused"))
    text = markdown(result_of(b=("completed", "completed", "diverged")))
    assert "1 of 3 runs of b ended by the state or its derivative became non-finite and is in no mean" in text


def test_every_number_stands_beside_the_papers_with_its_scale_and_its_runs() -> None:
    beside, *_, numbers = study_tables(result_of())
    assert beside.headings == ("row", "what", "ours, full", "95% interval", "paper", "verdict")
    by_row = {(row[0], row[1]): row for row in beside.rows}
    assert by_row[NASTY, "accuracy (%)"][2:] == ("90.23 ± 0.15 (n = 3)", "89.85 to 90.61", "90.2", "reproduced")
    assert by_row[NASTY, "parameters"][2:] == ("100", "–", "100", "reproduced")
    assert by_row["b", "accuracy (%)"][4:] == ("95 *", "lower")
    assert [row[-1] for row in numbers.rows] == ["1, 2, 3", "4, 5, 6", "7, 8, 9"]
    tendency = study_tables(result_of("small"))[0]
    assert tendency.headings[2] == "ours, small"
    assert tendency.headings[-1] == "tendency"
    assert "near it" in {row[-1] for row in tendency.rows}


def test_nothing_breaks_out_of_a_markdown_cell() -> None:
    lines = [line for line in markdown(result_of()).splitlines() if "input" in line and line.startswith("|")]
    assert lines
    for line in lines:
        assert line.count("|") - line.count("\\|") == len(re.findall(r"(?<!\\)\|", line))
        assert "<b>" not in line.replace("\\<b>", "")
    assert markdown_escaped("a|b\nc") == "a\\|b c"


def test_what_is_doubtful_is_named_as_in_the_table_and_commands_are_code() -> None:
    lines = markdown(result_of()).splitlines()
    assert "- Doubtful in the paper, with a \\*: accuracy (%) of b: it is a guess." in lines
    assert any("seeds. `odenet show RUN` tells more" in line for line in lines)


def test_the_conditions_say_how_much_data_there_is_of_what_is_endless_the_test_alone() -> None:
    endless = RunInfo(data_sha256="0" * 64, data={"test_points": 200})
    split = RunInfo(data_sha256="1" * 64, data={"training_images": 1500, "validation_images": 99, "test_images": 7})
    runs = [replace(made_up(number, 0, {}, []), info=info) for number, info in enumerate((endless, split), start=1)]
    told = conditions(Comparison((Group("A", "all", tuple(runs)),), {}, None, (), ()))
    assert told[0].startswith("Data: digits with 200 test points, sha256 0000000000…")
    assert told[1].startswith("Data: digits with 1,500 training, 99 validation and 7 test images, sha256 1111111111…")


@pytest.mark.parametrize(("words", "case"), [("simple, CIFAR", "Simple, CIFAR"), ("g(x) = -x", "g(x) = -x"), ("", "")])
def test_a_title_has_a_capital_unless_it_begins_with_a_formula(words: str, case: str) -> None:
    assert sentence_case(words) == case


def test_nothing_breaks_out_of_a_latex_cell() -> None:
    assert escaped("50% of $x_1 & {a}~^\\") == (
        r"50\% of \$x\_1 \& \{a\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    text = latex(result_of())
    assert "\\input" not in text.split("\n", 1)[1], "what a person typed is no command"
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "&" in line]
    columns = {len(re.findall(r"(?<!\\)&", line)) for line in body if "multicolumn" not in line}
    assert len(columns) == 1, "every line has as many cells"
    assert not any(line.startswith(("[", "*")) for line in text.splitlines())
    starred = result_of()
    rows = tuple(replace(row, row=replace(row.row, label="[1] first")) for row in starred.rows)
    assert "\n[" not in latex(replace(starred, rows=rows))
    assert "90.23 $\\pm$ 0.15 & 90.2 &" in text
    assert "95*" in text


def test_signs_that_pdflatex_lacks_are_named_in_a_comment() -> None:
    result = result_of()
    assert "LuaLaTeX" not in latex(result)
    named = replace(result, study=replace(result.study, title="Łódź: α ≥ 😀, ±"))
    (comment,) = (line for line in latex(named).splitlines() if "LuaLaTeX" in line)
    assert "(α ≥ 😀)" in comment
    assert comment.startswith("% ")


def test_the_first_comment_of_a_latex_table_stays_in_its_line() -> None:
    result = result_of()
    broken = replace(result, study=replace(result.study, title="a\n\\input{b}"))
    first, *rest = latex(broken).splitlines()
    assert first.startswith("%")
    assert not any(line.startswith("\\input") for line in rest)


def test_the_page_has_the_tables_the_figures_and_the_study_itself_escaped() -> None:
    html = page(result_of(claims=[{"says": "x", "higher": ["a", "c"], "in": "accuracy"}]))
    assert html.count("<img") >= 4
    assert "<b>*" not in html
    assert "50% of $x_1 &amp; \\input{a} | &lt;b&gt;*" in html
    assert "Evaluations over epochs" in html
    assert "it is a guess" in html
    assert html.rindex("odenet show RUN</code> tells more of a run.</p>") < html.index("<img"), "numbers come first"


def test_lines_over_levels_go_from_the_lowest_to_the_highest() -> None:
    result = result_of()
    figure = plot_over_levels(result, result.rows[::-1], result.columns[:1])
    assert figure is not None
    for line in figure.axes[0].lines:
        assert list(line.get_xdata()) == sorted(line.get_xdata())


def test_json_is_plain_and_has_every_number() -> None:
    document = json.loads(json.dumps(result_of().to_dict(), allow_nan=False))
    first = document["rows"][0]
    assert first["cells"]["accuracy"]["mean"] == pytest.approx(90.233, abs=1e-3)
    assert first["cells"]["accuracy"]["verdict"] == "reproduced"
    assert [run["run_id"] for run in first["runs"]] == [1, 2, 3]


def test_multiply_adds_epochs_and_tuning_that_differ_are_said() -> None:
    result = result_of()
    groups = {row.letter: row.group for row in result.rows}
    comparison = result.comparison("")
    assert comparison is not None
    for letter, millions, epochs in (("A", 1e6, 3), ("B", 3e6, 5), ("C", 1e6, 3)):
        for run in groups[letter].runs:
            run.values["multiply_adds_test"] = millions  # type: ignore[index]
            run.config["training.max_epochs"] = epochs  # type: ignore[index]
    found = find_unfairness(comparison, {"A": 1, "B": 12, "C": 1})
    assert any("up to 3.0 times apart: A 1.0 M, B 3.0 M, C 1.0 M" in sentence for sentence in found)
    assert any("training.max_epochs is 3 (runs 1, 2, 3, 7, 8, 9), 5 (runs 4, 5, 6)" in sentence for sentence in found)
    assert any("of A 1, of B 12, of C 1" in sentence for sentence in found)
    assert not any("tuned" in sentence for sentence in find_unfairness(comparison, {"A": 3, "B": 3, "C": 3}))


def test_the_time_left_is_of_what_earlier_epochs_took() -> None:
    jobs = [
        JobProgress(1, "a", "a", 10, 100.0, "completed", done=10, seconds=50.0),
        JobProgress(2, "a", "a", 10, 100.0, "running", done=4, seconds=24.0),
        JobProgress(3, "a", "a", 10, 100.0),
        JobProgress(4, "b", "b", 10, 70.0),
    ]
    # 6 epochs of 6 s, 10 of 5.5 s as of its row, and what was estimated of the other row.
    assert seconds_left(jobs, parallel=1) == pytest.approx(36 + 55 + 70)
    assert seconds_left(jobs, parallel=2) == pytest.approx((36 + 55 + 70) / 2)
    assert seconds_left(jobs[:1], parallel=2) is None


def test_values_that_are_the_same_by_chance_support_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VALUES["a"], "accuracy", (0.91, 0.91, 0.91))
    monkeypatch.setitem(VALUES["b"], "accuracy", (0.90, 0.90, 0.90))
    for test in ({"higher": ["a", "b"]}, {"order": ["a", "b"]}, {"equivalent": ["a", "b"], "within": 5}):
        judged = claim(**test, **{"in": "accuracy"})
        assert judged.verdict == "undecided"
        assert "the seeds have the same by chance" in judged.tested.words
    assert claim(higher=["b", "a"], **{"in": "nfe_test"}).verdict == "supported"


def test_slopes_that_are_the_same_by_chance_support_no_claim() -> None:
    result = result_of()
    (error,) = result.study.columns[:1]
    falls = Claim("It falls.", "falls", ("a",), "accuracy", over="epochs")
    study = replace(result.study, claims=(falls,), columns=(replace(error, at="last"),))
    for run in result.rows[0].runs:
        run.history["accuracy"] = [0.5, 0.4, 0.3]
    (judged,) = judge_claims(study, {"a": result.rows[0]})
    assert (judged.verdict, judged.tested.p) == ("undecided", None)


@pytest.mark.parametrize("test", [{"equivalent": ["a", "b"], "within": 5}, {"rises": ["a", "b", "c"]}], ids=str)
def test_rows_that_are_the_same_runs_are_not_tested_against_each_other(test: dict[str, Any]) -> None:
    result = result_of(claims=[{"says": "It is so.", "in": "accuracy", **test}])
    a, b, c = result.rows
    (judged,) = judge_claims(result.study, {"a": a, "b": replace(b, answers=a.answers), "c": c})
    assert judged.verdict == "undecided"
    assert judged.tested.words.endswith("and b are the same runs, of one configuration")


def test_a_score_that_is_no_number_is_in_no_mean_and_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VALUES["a"], "accuracy", (0.901, float("nan"), 0.902))
    result = result_of(claims=[{"says": "It is so.", "higher": ["a", "c"], "in": "accuracy"}])
    cell = result.cell(result.rows[0], result.study.column("accuracy"))
    assert cell.values == pytest.approx([90.1, 90.2])
    assert result.claims[0].verdict == "supported"


def test_a_series_that_became_infinite_has_the_slope_of_its_numbers() -> None:
    result = result_of()
    result.rows[0].runs[0].history.loc[2, "solver.nfe_backward"] = float("inf")
    assert result.rows[0].series("solver.nfe_backward")[0] == [20.0, 26.0]


def test_latex_says_of_how_many_seeds_a_mean_is_where_some_are_missing() -> None:
    text = latex(result_of(b=("completed", "missing", "completed")))
    assert "over 3 seeds. 1 of the runs are missing." in text
    assert "(n = 2)" in text
    assert "(n = " not in latex(result_of())
