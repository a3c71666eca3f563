"""What the page of runs is given: variables with their better values, results that runs are judged by, safe text."""

import base64
import gzip
import hashlib
import json
import math
import re
from typing import Any

import pytest
from pymongo.database import Database

from pipeline.runs.listing import list_columns
from pipeline.runs.query import Runs, StoredRun
from pipeline.runs.report.curves import Curve, load_curves
from pipeline.runs.report.groups import find_importances, main_result
from pipeline.runs.report.page import page
from pipeline.runs.report.scripts import own_script, packed, plotly_script
from pipeline.runs.report.variables import LONGEST_TEXT, Variable, find_variables, text_of
from pipeline.runs.summary import RunSummary, summary
from tests.helpers.report_runs import run_of_settings, series

Store = Database[dict[str, Any]]


def found_in(store: Store) -> tuple[list[StoredRun], list[RunSummary], list[Curve]]:
    runs = Runs(store)
    found = runs.find()
    return found, [summary(run.document, {}) for run in found], load_curves(runs, found)


def variables_of(store: Store, *first: str) -> dict[str, Variable]:
    found, rows, curves = found_in(store)
    return {one.name: one for one in find_variables(found, rows, curves, first)}


@pytest.fixture
def two(database: Store) -> Store:
    """Run 2, then run 1, as lists have them."""
    database.runs.insert_many([run_of_settings(1, 1e-3, 8), run_of_settings(2, 1e-2, 8, "sgd")])
    database.metrics.insert_many(
        [
            series(1, "validation.loss", [3.0, 1.0, 2.0]),
            series(1, "validation.accuracy", [0.1, 0.9, 0.5]),
            series(1, "solver.nfe_forward", [10.0, 30.0, 20.0]),
            series(1, "mine", [1.0, 5.0, 4.0]),
            series(1, "step.loss", [1.0]),
        ]
    )
    return database


def test_settings_are_those_in_which_the_runs_differ(two: Store) -> None:
    settings = [one for one in variables_of(two).values() if one.kind == "setting"]
    assert {one.name: one.values for one in settings} == {
        "training.lr": (1e-2, 1e-3),
        "training.optimiser": ("sgd", "adam"),
    }
    assert next(iter(variables_of(two, "training.optimiser"))) == "training.optimiser", "what was searched stands first"


def test_settings_of_a_script_stand_beside_what_has_the_same_name(database: Store) -> None:
    for run_id, model in ((1, "mine"), (2, "yours")):
        document = run_of_settings(run_id, 1e-3, 8)
        database.runs.insert_one(
            document | {"experiment": {"name": "script"}, "config": {"model": model, "epochs": run_id}}
        )
    found = variables_of(database)
    assert found["config.model"].values == ("yours", "mine")
    assert found["config.epochs"].values == (2, 1)
    assert found["epochs"].values == (30, 30)
    names = [one.name for one in find_variables(*found_in(database))]
    assert len(names) == len(set(names))


def test_results_know_which_values_are_better_and_which_of_a_curve_counts(two: Store) -> None:
    found = variables_of(two)
    results = {name: (one.better, one.values) for name, one in found.items() if name in RESULTS}
    assert results == RESULTS
    assert found["test.accuracy"].is_share
    assert (found["test.accuracy"].better, found["test.loss"].better) == ("higher", "lower")
    assert found["best validation.loss"].label == "validation loss (nats per image), best"
    assert not any("step.loss" in name for name in found), "a loss of single steps is no result"


RESULTS = {
    "best validation.loss": ("lower", (None, 1.0)),
    "best validation.accuracy": ("higher", (None, 0.9)),
    "last solver.nfe_forward": ("lower", (None, 20.0)),
    "last mine": (None, (None, 4.0)),
    "parameters": ("lower", (800, 800)),
}


def test_a_result_that_is_no_finite_number_is_none(database: Store) -> None:
    document = run_of_settings(1, 1e-3, 8)
    document["info"]["test"] = {"accuracy": math.nan, "loss": math.inf}
    document["config"]["training"]["lr"] = math.inf
    database.runs.insert_many([document | {"result": math.nan}, run_of_settings(2, 1e-3, 8)])
    found = variables_of(database)
    assert found["test.accuracy"].values[1] is None
    assert found["test.loss"].values[1] is None
    assert found["training.lr"].values == (1e-3, None)


def test_runs_are_judged_by_their_test_or_where_many_have_none_by_their_validation(database: Store) -> None:
    for run_id in range(1, 11):
        database.runs.insert_one(run_of_settings(run_id, 10.0**-run_id, 8))
        database.metrics.insert_one(series(run_id, "validation.accuracy", [0.5, 0.1 * run_id]))
    found, rows, curves = found_in(database)
    variables = find_variables(found, rows, curves)
    assert _name(main_result(rows, variables, range(10))) == "test.accuracy"

    database.runs.update_many({"_id": {"$gt": 6}}, {"$set": {"info": {}, "result": None, "status": "PRUNED"}})
    found, rows, curves = found_in(database)
    variables = find_variables(found, rows, curves)
    assert _name(main_result(rows, variables, range(10))) == "best validation.accuracy"


def test_runs_are_judged_and_listed_by_their_result_whichever_metric_their_task_names_first(database: Store) -> None:
    for run_id in (1, 2):
        document = run_of_settings(run_id, 10.0**-run_id, 8)
        database.runs.insert_one(document | {"experiment": {**document["experiment"], "result": "test.loss"}})
    found, rows, curves = found_in(database)
    assert _name(main_result(rows, find_variables(found, rows, curves), range(2))) == "test.loss"
    assert next(column.heading for column in list_columns(rows) if column.worth is None and column.is_number) == "loss"


def _name(one: Variable | None) -> str | None:
    return None if one is None else one.name


def test_trials_of_a_sweep_are_asked_together_and_other_trainings_by_their_data(database: Store) -> None:
    for run_id in range(1, 31):
        document = run_of_settings(run_id, 10 ** (-1 - run_id / 10), 8)
        if run_id <= 24:
            document["info"]["sweep"] = {"id": 99, "trial": run_id, "phase": "search"}
            loss = document["info"]["test"]["loss"]
            database.metrics.insert_one(series(run_id, "validation.loss", [loss, loss + 1]))
        database.runs.insert_one(document)
    found, rows, curves = found_in(database)
    sweep, others = find_importances(rows, find_variables(found, rows, curves))
    assert (sweep.group, sweep.importance.runs) == ("trials of sweep 99", 24)
    assert sweep.result == "best validation.loss", "the test is not for choosing among trials"
    assert [one.name for one in sweep.importance.settings] == ["training.lr"]
    assert (others.group, others.result) == ("classification on digits", "test.accuracy")
    assert others.importance.settings == ()
    assert "too few" in others.importance.says


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("two\nlines\x1b[31m", "two lines\\x1b[31m"),
        ([1, 2, {"a": 3}], '[1, 2, {"a": 3}]'),
        (True, "True"),
        ("x" * 100, "x" * (LONGEST_TEXT - 1) + "…"),
        ("<b>&", "<b>&"),
    ],
)
def test_stored_text_is_a_short_line_without_control_characters(stored: Any, shown: str) -> None:
    assert text_of(stored) == shown


def test_nothing_that_is_stored_stands_in_the_page_unpacked(two: Store) -> None:
    hostile = "<script>alert(1)</script>"
    two.runs.update_one({"_id": 1}, {"$set": {"omniboard": {"name": hostile, "tags": [hostile]}}})
    two.runs.update_one({"_id": 2}, {"$set": {"config.data.name": hostile}})
    runs = Runs(two)
    html = page(runs, runs.find(), title=hostile, notes=[hostile])
    assert hostile not in html
    assert "alert(1)" in unpack(html, "packed-data")
    assert json.loads(unpack(html, "packed-data"))["runs"][1]["label"] == hostile


def unpack(html: str, element: str) -> str:
    found = re.search(rf'id="{element}">([A-Za-z0-9+/=]+)</script>', html)
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1])).decode()


def test_the_policy_names_both_scripts_as_they_stand_in_the_page(two: Store) -> None:
    runs = Runs(two)
    html = page(runs, runs.find())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    ours = html.rpartition("<script>")[2].partition("</script>")[0]
    assert ours == own_script()
    plotly = unpack(html, "packed-plotly")
    assert plotly == plotly_script()
    for script in (ours, plotly):
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    assert "http" not in policy[1]


def test_packing_the_same_gives_the_same() -> None:
    assert packed("a" * 1000) == packed("a" * 1000)
    assert len(packed("a" * 1000)) < 100
