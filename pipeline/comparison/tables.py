"""A comparison as tables of words, for a terminal, for Markdown and for the page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.comparison.compare import ComparedRun, Comparison, Group, PairTest, Spread
from pipeline.comparison.fairness import by_value, find_unfairness, listed
from pipeline.reporting.text_table import NOTHING, TextTable, shown, terminal_table


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _millions(value: float) -> str:
    return f"{value / 1e6:,.2f}"


def _one_decimal(value: float) -> str:
    return f"{value:,.1f}"


def _seconds(value: float) -> str:
    return f"{value:,.2f}"


def _loss(value: float) -> str:
    return f"{value:.4f}"


RESULTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("accuracy (%)", _percent),
    "loss": ("loss (nats per image)", _loss),
    "epochs": ("epochs", _one_decimal),
}
COST: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("parameters", _count),
    "multiply_adds": ("multiply-adds, one evaluation (M)", _millions),
    "multiply_adds_test": ("multiply-adds, test, as solved (M)", _millions),
    "nfe_test": ("evaluations, test", _one_decimal),
    "nfe_forward": ("evaluations, training, forward", _one_decimal),
    "nfe_backward": ("evaluations, training, backward", _one_decimal),
    "epoch_seconds": ("seconds per epoch", _seconds),
    "training_seconds": ("seconds of all epochs", _seconds),
    "images_per_second": ("training images per second", _count),
    "peak_memory_mb": ("peak memory (MB)", _count),
}
"""Quantity -> its row's name and the form of its values."""


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """All of the comparison's tables, in the order in which one reads them."""
    return [
        results_table(comparison.groups),
        tests_table(comparison),
        cost_table(comparison.groups),
        config_table(comparison),
        runs_table(comparison),
    ]


def results_table(groups: Sequence[Group]) -> TextTable:
    """What the groups reached on the test split."""
    completed = ("runs completed", *(f"{len(group.completed)} of {len(group.runs)}" for group in groups))
    return TextTable(
        "Results on the test split",
        ("", *(group.label for group in groups)),
        (completed, *_spread_rows(groups, RESULTS)),
        alignment="l" + "r" * len(groups),
        note="Mean ± standard deviation (n − 1) over the completed runs of a group, which differ in their seed alone.",
    )


def tests_table(comparison: Comparison) -> TextTable:
    """The accuracies of pairs of runs on the same test images."""
    methods = (
        "Difference of accuracy, 1st run less 2nd, in points, with Newcombe's 95 % interval for paired "
        "proportions (1998, method 10). Alone: test images that this run alone gets right. p: McNemar's exact test; "
        "Holm: adjusted for all pairs here. The test is of two trained networks, not of two architectures: how those "
        "vary with the seed is in the results."
    )
    return TextTable(
        "Differences in accuracy",
        ("1st", "2nd", "difference", "95 % interval", "1st alone", "2nd alone", "p", "Holm"),
        tuple(_test_row(comparison, test) for test in comparison.tests),
        alignment="llrrrrrr",
        note=" ".join([*comparison.untested, methods]),
    )


def cost_table(groups: Sequence[Group]) -> TextTable:
    """What the groups cost."""
    return TextTable(
        "Cost",
        ("", *(group.label for group in groups)),
        _spread_rows(groups, COST),
        alignment="l" + "r" * len(groups),
        note="Multiply-adds are of one image, evaluations of the field for one batch, those in training in the last "
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
    return TextTable(
        "Runs",
        ("run", "group", "seed", "accuracy (%)", "epochs", "how it ended"),
        tuple(
            (
                str(run.run_id),
                group.letter,
                str(run.seed),
                shown(run.values["accuracy"], _percent),
                shown(run.values["epochs"], _count),
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
        return f"{run.status}: {run.failure}"
    best = f"; best epoch {run.best_epoch}"
    if run.stopped_early:
        return f"stopped early{best}"
    return f"reached training.max_epochs{best}"


def conditions(comparison: Comparison) -> list[str]:
    """On which data, where and with what the runs were made; a line each."""
    runs = comparison.runs
    facts = (
        ("Data", _data_facts),
        ("Machine", lambda run: run.machine),
        ("Software", lambda run: run.software),
    )
    return [f"{name}: {listed({value: ids})}" for name, fact in facts for value, ids in by_value(runs, fact).items()]


def _data_facts(run: ComparedRun) -> str | None:
    if run.data.sha256 is None:
        return None
    *others, last = [f"{number:,} {split}" for split, (number, _) in run.data.sizes.items()]
    things = next(things for _, things in run.data.sizes.values())
    return (
        f"{Path(run.config['data.name']).stem} with {', '.join(others)} and {last} {things}, "
        f"sha256 {run.data.sha256[:10]}…"
    )


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Everything on a terminal."""
    unfair = find_unfairness(comparison)
    if unfair:
        console.print("[bold yellow]Read with care[/]")
        for sentence in unfair:
            console.print(f"• {sentence}", highlight=False, markup=False)
        console.print()
    for table in comparison_tables(comparison):
        console.print(terminal_table(table))
        console.print()
    for line in conditions(comparison):
        console.print(line, highlight=False, markup=False)


def markdown(comparison: Comparison) -> str:
    """Everything as a Markdown document."""
    parts = [f"# Comparison of {len(comparison.runs)} runs"]
    unfair = find_unfairness(comparison)
    if unfair:
        parts += ["## Read with care", "\n".join(f"- {_escaped(sentence)}" for sentence in unfair)]
    for table in comparison_tables(comparison):
        parts.append(f"## {table.title}")
        if table.rows:
            parts.append(_markdown_table(table))
        if table.note:
            parts.append(_escaped(table.note))
    parts += ["## Conditions", "\n".join(f"- {_escaped(line)}" for line in conditions(comparison))]
    return "\n\n".join(parts) + "\n"


def _spread_rows(
    groups: Sequence[Group], quantities: dict[str, tuple[str, Callable[[float], str]]]
) -> tuple[tuple[str, ...], ...]:
    """A row for each quantity that any group has."""
    rows = []
    for quantity, (name, form) in quantities.items():
        spreads = [group.spread(quantity) for group in groups]
        if any(spreads):
            rows.append((name, *(_spread(spread, form) for spread in spreads)))
    return tuple(rows)


def _spread(spread: Spread | None, form: Callable[[float], str]) -> str:
    if spread is None:
        return NOTHING
    if not spread.standard_deviation:  # a single run, or a constant such as the number of parameters
        return form(spread.mean)
    return f"{form(spread.mean)} ± {form(spread.standard_deviation)}"


def _test_row(comparison: Comparison, pair: PairTest) -> tuple[str, ...]:
    test = pair.test
    return (
        f"{pair.first} ({comparison.group_of(pair.first).letter})",
        f"{pair.second} ({comparison.group_of(pair.second).letter})",
        _points(test.difference),
        f"{_points(test.lower)} to {_points(test.upper)}",
        f"{test.only_first:,}",
        f"{test.only_second:,}",
        _p_value(test.p_value),
        _p_value(pair.adjusted_p_value),
    )


def _points(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−") if share else "0.00"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _config_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _markdown_table(table: TextTable) -> str:
    rules = ["---" if letter == "l" else "---:" for letter in table.alignment]
    lines = [table.headings, tuple(rules), *table.rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Text that Markdown does not take for a table's edge or for markup."""
    for character in "\\|<*_`":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")
