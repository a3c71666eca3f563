"""Runs as tables."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from pipeline.runs.tables import runs_table, summary
from pipeline.tasks.classification.config import ClassificationConfig


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
    console = Console(width=80, file=io.StringIO(), record=True)
    config = ClassificationConfig()
    rows = [summary(document(config.to_dict()), {"solver.nfe_forward": 20.0, "time.epoch_seconds": 1.5})]

    console.print(runs_table(rows))

    text = console.export_text()
    for word in ("COMPLETED", "simple", "ODE-Net", "digits", "20.0", "s/epoch", "params"):
        assert word in text
    assert "…" not in text
