"""Runs as tables."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.terminal import Terminal, styled
from pipeline.reporting.text_table import TextTable, left, list_table, terminal_table
from pipeline.runs.listing import runs_table
from pipeline.runs.query import StoredRun
from pipeline.runs.summary import summary
from pipeline.runs.tables import print_run
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tracking.run_document import FORMAT, metric_entry


def document(config: Any) -> dict[str, Any]:
    """As little of a run's document as a table needs."""
    now = datetime.now(UTC)
    return {"_id": 7, "status": "COMPLETED", "config": config, "info": {}, "start_time": now, "heartbeat": now}


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({}, ("?", "?", None)),
        ({"model": {"py/object": "os.system"}, "data": {"name": "digits"}, "seed": 0}, ("?", "digits", 0)),
        (ClassificationConfig().to_dict() | {"data": "digits"}, ("simple ODE-Net", "?", 0)),
        (
            ClassificationConfig().to_dict() | {"model": {"architecture": "simple", "body": [], "blocks": 1}},
            ("simple", "digits", 0),
        ),
    ],
)
def test_a_run_whose_configuration_was_tampered_with_does_not_hide_the_others(config: Any, shown: Any) -> None:
    row = summary(document(config), {})

    assert row.run_id == 7
    assert (row.model, row.data, row.seed) == shown


def test_a_table_fits_eighty_columns_without_cutting_a_word() -> None:
    console = Terminal(width=80, file=io.StringIO(), record=True)
    config = ClassificationConfig()
    rows = [summary(document(config.to_dict()), {"solver.nfe_forward": 20.0, "time.epoch_seconds": 1.5})]

    console.print(runs_table(rows, console.width))

    text = console.export_text()
    for word in ("COMPLETED", "simple", "ODE-Net", "digits", "20.0", "s/epoch", "params"):
        assert word in text
    assert "…" not in text


def test_metrics_that_a_terminal_has_no_room_for_are_named_below_and_the_rest_is_whole() -> None:
    console = Terminal(width=80, file=io.StringIO(), record=True)
    names = ("accuracy", "brier", "calibration", "top_3", "loss")
    metrics = [metric_entry(MetricSpec(f"test.{name}", name, name)) for name in names]
    run = document(ClassificationConfig().to_dict()) | {
        "experiment": {"name": "classification", "metrics": metrics},
        "format": FORMAT,
    }
    rows = [summary(run | {"info": {"test": dict.fromkeys(names, 0.5)}}, {"solver.nfe_forward": 20.0})]

    console.print(runs_table(rows, console.width))

    text = console.export_text()
    for word in ("COMPLETED", "simple", "ODE-Net", "digits", "accuracy", "0.5000", "params"):
        assert word in text
    assert "…" not in text
    assert "loss: in a wider terminal, or with --json" in text


def test_a_narrow_terminal_costs_a_number_none_of_its_digits() -> None:
    console = Terminal(width=24, file=io.StringIO(), record=True)
    numbers = ("0.123456", "-1.14 to +1.14", "12,345,678", "1.000")
    console.print(terminal_table(TextTable("", ("difference", "interval", "n", "p"), (numbers,), "rrrr")))
    text = console.export_text()
    assert "…" not in text
    assert all(text.count(digit) == "".join(numbers).count(digit) for digit in "0123456789")


ODD = "[small] :rose: [/bold] \x1b[31mred\a"
SHOWN = "[small] :rose: [/bold] \\x1b[31mred\\x07"


def printed(what: Any) -> str:
    file = io.StringIO()
    Terminal(file=file, width=200, force_terminal=True, color_system=None).print(what)
    return file.getvalue()


def test_names_are_shown_as_they_stand_in_every_table() -> None:
    config = {"model": {"architecture": ODD}, "data": {"name": ODD}}
    assert printed(runs_table([summary(document(config), {})])).count(SHOWN) == 1  # of the data's name the stem alone
    table = TextTable(ODD, (ODD,), ((ODD,),), "l", ODD)
    assert printed(terminal_table(table)).count(SHOWN) == 4
    assert printed(list_table(left(ODD))).count(SHOWN) == 1
    assert printed(styled((ODD, "bold"))).count(SHOWN) == 1


def test_a_run_is_shown_with_its_names_as_they_stand() -> None:
    metrics: dict[str, Any] = {}
    shown = {
        **document({"data": {"name": ODD}, ODD: ODD}),
        "info": {ODD: ODD},
        "artifacts": [{"name": ODD, "file_id": 1}],
        "experiment": {"plugins": [{"name": ODD, "spec": ODD}]},
        "fail_trace": [ODD],
    }
    file = io.StringIO()
    console = Terminal(file=file, width=400, force_terminal=True, color_system=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredRun, "points", lambda _: metrics)
        patch.setattr("pipeline.runs.tables.last_values", lambda _: {ODD: 1.0})
        print_run(StoredRun(shown, None), console)  # type: ignore[arg-type]
    assert file.getvalue().count(SHOWN) == 10
    assert "\x1b" not in file.getvalue()
