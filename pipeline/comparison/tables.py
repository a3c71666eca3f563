"""A comparison as tables of words, for a terminal, for Markdown and for the page."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console

from pipeline.comparison.compare import ComparedRun, Comparison, Group, PairTest, Spread
from pipeline.comparison.fairness import by_value, find_unfairness, listed
from pipeline.comparison.quantities import COST, EPOCHS, Quantity
from pipeline.config.display_names import data_name
from pipeline.reporting.text_table import NOTHING, TextTable, shown, terminal_table
from pipeline.tasks.pairing import PairedTest


def comparison_tables(comparison: Comparison) -> list[TextTable]:
    """All of the comparison's tables, in the order in which one reads them."""
    test = comparison.paired_test
    return [
        results_table(comparison),
        *([] if test is None else [tests_table(comparison, test)]),
        cost_table(comparison.groups),
        config_table(comparison),
        runs_table(comparison),
    ]


def results_table(comparison: Comparison) -> TextTable:
    """What the groups reached on the test split."""
    groups = comparison.groups
    results = [Quantity.of(spec) for spec in comparison.metrics if spec.split == "test"]
    completed = ("runs completed", *(f"{len(group.completed)} of {len(group.runs)}" for group in groups))
    return TextTable(
        "Results on the test split",
        ("", *(group.label for group in groups)),
        (completed, *_spread_rows(groups, [*results, EPOCHS])),
        alignment="l" + "r" * len(groups),
        note="Mean ± standard deviation (n − 1) over the completed runs of a group, which differ in their seed alone.",
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
    return TextTable(
        "Cost",
        ("", *(group.label for group in groups)),
        tuple(_spread_rows(groups, COST)),
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
    results = {Quantity.of(run.result) for run in comparison.runs}
    heading = next(iter(results)).label if len(results) == 1 else "result"
    return TextTable(
        "Runs",
        ("run", "group", "seed", heading, "epochs", "how it ended"),
        tuple(
            (
                str(run.run_id),
                group.letter,
                str(run.seed),
                shown(run.values.get(run.result.quantity), Quantity.of(run.result).text),
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
        f"{data_name({'name': run.config.get('data.name')})} with {', '.join(others)} and {last} {things}, "
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


def _spread_rows(groups: Sequence[Group], quantities: Iterable[Quantity]) -> Iterator[tuple[str, ...]]:
    """A row for each quantity that any group has."""
    for quantity in quantities:
        spreads = [group.spread(quantity.name) for group in groups]
        if any(spreads):
            yield quantity.label, *(_spread(spread, quantity) for spread in spreads)


def _spread(spread: Spread | None, quantity: Quantity) -> str:
    if spread is None:
        return NOTHING
    if not spread.standard_deviation:  # a single run, or a constant such as the number of parameters
        return quantity.text(spread.mean)
    return f"{quantity.text(spread.mean)} ± {quantity.text(spread.standard_deviation)}"


def _test_row(comparison: Comparison, pair: PairTest) -> tuple[str, ...]:
    runs = (f"{run} ({comparison.group_of(run).letter})" for run in (pair.first, pair.second))
    return *runs, *pair.test.cells(), _p_value(pair.test.p_value), _p_value(pair.adjusted_p_value)


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
