"""Tests of two trained models on the same test items, for comparisons of runs; a task may have one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.plugins import registry
from pipeline.tasks.lookup import light_module


@dataclass(frozen=True)
class PairedTest:
    """How a task tests one model against another.

    Attributes:
        artifact: the file of a run with its answers to the test split.
        read: its content -> the answers; a ValueError where it has none.
        have_same_items: whether two answers are to the same items.
        compare: the answers of two models -> a dataclass with a `p_value`, and `cells()` for the headings.
        items: what is answered, as `images`.
        title, headings: of the table.
        methods: the sentences below it.
    """

    artifact: str
    read: Callable[[bytes], Any]
    have_same_items: Callable[[Any, Any], bool]
    compare: Callable[[Any, Any], Any]
    items: str
    title: str
    headings: tuple[str, ...]
    methods: str


def paired_test_of(task: str) -> PairedTest | None:
    """The test of a task; None where it has none, or is of a plug-in that is not loaded."""
    light = light_module(task, "paired")
    try:
        test: PairedTest | None = light.PAIRED_TEST if light else registry.find("task", task).build.paired_test
    except LookupError:
        return None
    return test
