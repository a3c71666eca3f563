"""Metrics of several tasks beside each other."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.comparison import compare
from pipeline.comparison.compare import Comparison
from pipeline.reporting.metric_spec import MetricSpec

LOSSES = {
    "images": MetricSpec("test.loss", "loss", "negative log likelihood", "nats per image"),
    "points": MetricSpec("test.loss", "loss", "smooth L1"),
}


def test_a_unit_is_said_where_all_tasks_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "metric_specs", lambda task: (LOSSES[task],))
    monkeypatch.setattr(compare, "logged_specs", lambda _task: ())

    def labels(*tasks: str) -> list[str]:
        group: Any = SimpleNamespace(runs=[SimpleNamespace(document=task) for task in tasks])
        return [spec.label for spec in cast(Any, Comparison)((group,), {}, None, (), ()).metrics]

    assert labels("images", "images") == ["loss (nats per image)"]
    assert labels("images", "points") == labels("points", "images") == ["loss"]
