"""A comparison as tables of words, for a terminal, for Markdown and for the page."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from pipeline.comparison.compare import Comparison, PairTest
from pipeline.comparison.compared_run import ComparedRun, failure_of
from pipeline.comparison.fairness import by_value, find_unfairness, listed
from pipeline.comparison.groups import Group, Spread
from pipeline.comparison.quantities import COST, EPOCHS, Quantity, quantity_of
from pipeline.config.display_names import data_name
from pipeline.reporting.markdown import escaped, markdown_table, note
from pipeline.reporting.text_table import NOTHING, TextTable, shown, terminal_table
from pipeline.tasks.pairing import PairedTest
from pipeline.tracking.conditions import machine, software
from pipeline.tracking.run_document import result_spec

MEANS = "Mean ± standard deviation (n − 1) over the completed runs of a group, which differ in their seed alone."
_LAST_DIGIT = re.compile(r"\d(?=\D*$)")


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """All of the comparison's tables, in the order in which one reads them."""
    test, cost = comparison.paired_test, cost_table(comparison.groups)
    return [
        results_table(comparison),
        *([] if test is None else [tests_table(comparison, test)]),
        *([cost] if cost.rows else []),
        config_table(comparison),
        runs_table(comparison),
    ]


def results_table(comparison: Comparison) -> TextTable:
    """What the groups reached on the test split."""
    groups = comparison.groups
    completed = ("runs completed", *(f"{len(group.completed)} of {len(group.runs)}" for group in groups))
    results = [quantity_of(spec) for spec in comparison.metrics if spec.split == "test"]
    return _group_table(
        "Results on the test split",
        groups,
        [completed, *_spread_rows(groups, [*results, EPOCHS])],
        " ".join([MEANS, *(comparison.untested if comparison.paired_test is None else ())]),
    )


def tests_table(comparison: Comparison, test: PairedTest) -> TextTable:
    """The results of pairs of runs on the same test items."""
    headings = ("1st", "2nd", *test.headings, "p", "Holm")
    return TextTable(
        test.title,
        headings,
        tuple(_test_row(comparison, pair) for pair in comparison.tests),
        alignment="ll" + "r" * (len(headings) - 2),
        note=" ".join([*comparison.untested, test.methods]),
    )


def cost_table(groups: Sequence[Group]) -> TextTable:
    """What the groups cost."""
    return _group_table(
        "Cost",
        groups,
        _spread_rows(groups, COST),
        "Multiply-adds are of one sample, evaluations of the field for one batch, those in training in the last "
        "epoch. Times and memory are those of the runs as they happened, beside whatever else the machine did. "
        "Memory is the process's on a CPU and the allocator's on a GPU.",
    )


def config_table(comparison: Comparison) -> TextTable:
    """Where the groups' configurations differ."""
    rows = [(key, *map(_config_value, values)) for key, values in comparison.config_differences.items()]
    return TextTable(
        "Configuration, where it differs",
        ("key", *(group.label for group in comparison.groups)),
        tuple(rows),
        alignment="l" * (1 + len(comparison.groups)),
        note=None if rows else "The runs differ in their seed alone.",
    )


def runs_table(comparison: Comparison) -> TextTable:
    """Every run, and how it ended."""
    results = {run.run_id: quantity_of(result_spec(run.document)) for run in comparison.runs}
    labels = {result.label for result in results.values()}
    return TextTable(
        "Runs",
        ("run", "group", "seed", labels.pop() if len(labels) == 1 else "result", "epochs", "how it ended"),
        tuple(
            (
                str(run.run_id),
                group.letter,
                str(run.seed),
                shown(run.values.get(results[run.run_id].name), results[run.run_id].form),
                shown(run.values["epochs"], ",.0f"),
                ending(run),
            )
            for group in comparison.groups
            for run in group.runs
        ),
        alignment="rlrrrl",
    )


def ending(run: ComparedRun) -> str:
    """How a run ended, in words."""
    if not run.completed:
        return f"{run.status}: {failure_of(run)}"
    if run.info.best_epoch is None:
        return "completed"
    best = f"; best epoch {run.info.best_epoch}"
    if run.info.stopped_early:
        return f"stopped early{best}"
    return f"reached training.max_epochs{best}"


def conditions(comparison: Comparison) -> list[str]:
    """On which data, where and with what the runs were made; a line each."""
    runs = comparison.runs
    facts = (
        ("Data", _data_facts),
        ("Machine", lambda run: machine(run.document)),
        ("Software", lambda run: software(run.document)),
    )
    return [f"{name}: {listed({value: ids})}" for name, fact in facts for value, ids in by_value(runs, fact).items()]


def _data_facts(run: ComparedRun) -> str | None:
    if run.info.data_sha256 is None:
        return None
    *others, last = [f"{number:,} {split}" for split, (number, _) in run.info.sizes.items()]
    sizes = f"{', '.join(others)} and {last}" if others else last
    things = next(things for _, things in run.info.sizes.values())
    name = data_name({"name": run.config.get("data.name")})
    return f"{name} with {sizes} {things}, sha256 {run.info.data_sha256[:10]}…"


def print_comparison(comparison: Comparison, console: Console, tried: Mapping[str, int] | None = None) -> None:
    """Everything on a terminal; `tried` as `find_unfairness` takes it."""
    unfair = find_unfairness(comparison, tried)
    if unfair:
        console.print("Read with care", style="bold yellow")
        for sentence in unfair:
            console.print(f"• {sentence}", highlight=False)
        console.print()
    for table in comparison_tables(comparison):
        console.print(terminal_table(table))
        console.print()
    for line in conditions(comparison):
        console.print(line, highlight=False)


def markdown(comparison: Comparison, tried: Mapping[str, int] | None = None) -> str:
    """Everything as a Markdown document; `tried` as `find_unfairness` takes it."""
    parts = [f"# Comparison of {len(comparison.runs)} runs"]
    unfair = find_unfairness(comparison, tried)
    if unfair:
        parts += ["## Read with care", "\n".join(f"- {escaped(sentence)}" for sentence in unfair)]
    for table in comparison_tables(comparison):
        parts.append(f"## {table.title}")
        if table.rows:
            parts.append(markdown_table(table))
        if table.note:
            parts.append(note(table.note))
    parts += ["## Conditions", "\n".join(f"- {escaped(line)}" for line in conditions(comparison))]
    return "\n\n".join(parts) + "\n"


def _group_table(title: str, groups: Sequence[Group], rows: Iterable[tuple[str, ...]], note: str) -> TextTable:
    """A column for each group."""
    headings = ("", *(group.label for group in groups))
    return TextTable(title, headings, tuple(rows), alignment="l" + "r" * len(groups), note=note)


def _spread_rows(groups: Sequence[Group], quantities: Iterable[Quantity]) -> Iterator[tuple[str, ...]]:
    """A row for each quantity that any group has."""
    for quantity in quantities:
        spreads = [group.spread(quantity.name) for group in groups]
        if any(spreads):
            cells = zip(spreads, groups, strict=True)
            yield quantity.label, *(_spread(spread, quantity.form, group.seeds) for spread, group in cells)


def _spread(spread: Spread | None, form: str | Callable[[float], str], seeds: int) -> str:
    if spread is None:
        return NOTHING
    left_out = f" ({spread.n} of {seeds})" if spread.n < seeds else ""
    if not spread.standard_deviation:  # a single run, or a constant such as the number of parameters
        return shown(spread.mean, form) + left_out
    deviation = shown(spread.standard_deviation, form)
    if deviation == shown(0.0, form):
        deviation = f"< {_LAST_DIGIT.sub('1', deviation)}"  # it is there, below the digits that are shown
    return f"{shown(spread.mean, form)} ± {deviation}{left_out}"


def _test_row(comparison: Comparison, pair: PairTest) -> tuple[str, ...]:
    runs = (f"{run} ({comparison.group_of(run).letter})" for run in (pair.first, pair.second))
    return *runs, *pair.test.cells(), p_text(pair.test.p_value), p_text(pair.adjusted_p_value)


def p_text(p: float) -> str:
    """A p-value as a table shows it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _config_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
