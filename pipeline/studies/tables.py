"""A study as tables of words, for a terminal, for Markdown and for the page."""

from collections.abc import Sequence

from rich.console import Console

from pipeline.comparison.tables import p_text
from pipeline.reporting.markdown import escaped, markdown_table, note
from pipeline.reporting.terminal import styled
from pipeline.reporting.text_table import NOTHING, TextTable, terminal_table
from pipeline.reporting.words import counted, sentence_case
from pipeline.studies.cautions import cautions, conditions
from pipeline.studies.result import Cell, RowResult, StudyResult
from pipeline.sweeps.state import COMPLETED


def headline(result: StudyResult) -> str:
    """What was looked at, and how much of it."""
    return f"{result.study.title} ({result.conditions})"


def subtitle(result: StudyResult) -> str:
    """The question, and where it comes from."""
    source = f" {result.study.source}." if result.study.source else ""
    return f"{result.study.question}{source}"


def study_tables(result: StudyResult) -> list[TextTable]:
    """All tables, in the order in which one reads them."""
    beside = beside_table(result)
    claims = claims_table(result)
    return [*([beside] if beside.rows else []), *([claims] if claims.rows else []), *numbers_tables(result)]


def beside_table(result: StudyResult) -> TextTable:
    """Ours beside the paper's, a line a number."""
    cells = [result.cell(row, column) for row in result.rows for column in result.columns]
    rows = [_beside(result, cell) for cell in cells if cell.paper is not None]
    kind = "prediction interval" if result.study.rule.interval == "prediction" else "interval"
    verdict = "verdict" if result.is_full else "tendency"
    note = (
        f"Ours: mean ± standard deviation (n − 1) over n seeds; the {kind} of {result.study.rule.level:.0%} is "
        "Student's. "
    )
    return TextTable(
        "Ours beside the paper's",
        ("row", "what", f"ours, {result.scale.name}", f"{result.study.rule.level:.0%} {kind}", "paper", verdict),
        tuple(rows),
        "llrrrl",
        note + (_VERDICT_NOTE if result.is_full else _TENDENCY_NOTE),
    )


_VERDICT_NOTE = (
    "Reproduced: the mean rounds to the paper's number, or that lies within the interval of enough seeds. * doubtful "
    "in the paper, see above."
)
_TENDENCY_NOTE = (
    "This is not the paper's scale, so that there is no verdict: near it, above it and below it say where our number "
    "lies by the same rule. * doubtful in the paper, see above."
)


def numbers_tables(result: StudyResult) -> list[TextTable]:
    """Every number of ours, a table for each block."""
    return [_numbers(result, block, rows) for block, rows in result.blocks.items()]


def claims_table(result: StudyResult) -> TextTable:
    """Every claim with its test."""
    rows = []
    for judged in result.claims:
        p, adjusted = (NOTHING if p is None else p_text(p) for p in judged.deciding)
        rows.append((judged.claim.says, judged.tested.words, p, adjusted, judged.text(result.is_full)))
    verdict = "verdict" if result.is_full else f"tendency, {result.scale.name}"
    note = (
        "p: of there being nothing to the claim, or to its opposite where the numbers speak against it. Holm: adjusted "
        "for all claims here, which decides. Not to differ is claimed by two one-sided tests with a margin (TOST), not "
        "by a missing significance."
    )
    return TextTable("Claims", ("claim", "test", "p", "Holm", verdict), tuple(rows), "llrrl", note)


def endings(row: RowResult) -> str:
    """How a row's runs ended: `3 completed`, `2 underflow, 1 missing`."""
    parts = [f"{number} {outcome.replace('_', ' ')}" for outcome, number in row.outcomes().items()]
    expected = row.row.ends
    if expected is None or not row.runs:
        return ", ".join(parts)
    return f"{', '.join(parts)} ({'as expected' if row.ended_as_expected else f'{expected} expected'})"


def run_ids(row: RowResult) -> str:
    """The numbers of a row's runs; those of one evaluation once."""
    ids = dict.fromkeys(str(run.run_id) for run in row.runs)
    return ", ".join(ids) or NOTHING


def spread_text(cell: Cell) -> str:
    """`86.51 ± 0.32`, or the number alone where it does not vary."""
    spread = cell.spread
    if spread is None:
        return NOTHING
    if not spread.standard_deviation:
        return cell.column.text(spread.mean)
    return f"{cell.column.text(spread.mean)} ± {cell.column.text(spread.standard_deviation)}"


def print_study(result: StudyResult, console: Console) -> None:
    """Everything on a terminal."""
    console.print(headline(result), style="bold", highlight=False)
    console.print(subtitle(result), highlight=False)
    for sentence in [*result.study.doubts, *doubtful_numbers(result), *cautions(result)]:
        console.print(styled(("•", "yellow"), f" {sentence}"))
    for table in study_tables(result):
        console.print()
        console.print(terminal_table(table))
    console.print()
    for line in [*conditions(result)]:
        console.print(line, highlight=False)


def markdown(result: StudyResult) -> str:
    """Everything as a Markdown document."""
    parts = [f"# {escaped(headline(result))}", escaped(subtitle(result))]
    warned = [*result.study.doubts, *doubtful_numbers(result), *cautions(result)]
    if warned:
        parts += ["## Read with care", "\n".join(f"- {escaped(sentence)}" for sentence in warned)]
    for table in study_tables(result):
        parts.append(f"## {escaped(table.title)}")
        parts.append(markdown_table(table))
        if table.note:
            parts.append(note(table.note))
    parts += ["## Conditions", "\n".join(f"- {escaped(line)}" for line in conditions(result))]
    return "\n\n".join(parts) + "\n"


def doubtful_numbers(result: StudyResult) -> list[str]:
    """Why numbers of the paper are doubtful, a sentence for those that share the reason."""
    headings = {column.name: column.heading for column in result.study.columns}
    reasons: dict[str, list[str]] = {}
    for (row, column), number in result.study.paper.items():
        if number.doubtful is not None and any(each.row.name == row for each in result.rows):
            reasons.setdefault(number.doubtful, []).append(f"{headings[column]} of {result.study.row(row).label}")
    return [f"Doubtful in the paper, with a *: {_few(numbers)}: {why}." for why, numbers in reasons.items()]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} numbers"


def _beside(result: StudyResult, cell: Cell) -> tuple[str, ...]:
    assert cell.paper is not None
    column, verdict = cell.column, cell.verdict
    interval = NOTHING
    if verdict is not None and verdict.interval is not None and not column.is_exact:
        interval = f"{column.text(verdict.interval.low)} to {column.text(verdict.interval.high)}"
    block = cell.row.row.block
    label = f"{block}: {cell.row.row.label}" if block else cell.row.row.label
    seeds = f" (n = {len(cell.values)})" if cell.values and not column.is_exact else ""
    doubt = " *" if cell.paper.doubtful else ""
    told = NOTHING if verdict is None else verdict.text(result.is_full)
    return label, column.heading, f"{spread_text(cell)}{seeds}", interval, f"{cell.paper.text}{doubt}", told


def _numbers(result: StudyResult, block: str, rows: Sequence[RowResult]) -> TextTable:
    columns = [column for column in result.columns if any(row.values(column) for row in rows)]
    ended = [endings(row) for row in rows]
    tells_ends = any(row.row.ends or set(row.outcomes()) != {COMPLETED} for row in rows)
    lines = [
        (
            row.row.label,
            *(spread_text(result.cell(row, column)) for column in columns),
            *([end] if tells_ends else []),
            run_ids(row),
        )
        for row, end in zip(rows, ended, strict=True)
    ]
    return TextTable(
        f"{sentence_case(block) if block else 'All numbers'} ({result.conditions})",
        ("row", *(column.heading for column in columns), *(["ended"] if tells_ends else []), "runs"),
        tuple(lines),
        "l" + "r" * len(columns) + "l" * (1 + tells_ends),
        f"Mean ± standard deviation (n − 1) over the completed runs, of {counted(len(result.seeds), 'seed')}. "
        "`odenet show RUN` tells more of a run.",
    )
