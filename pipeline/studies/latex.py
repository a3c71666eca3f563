"""A study's table as LaTeX, whose cells nothing can break out of."""

from collections.abc import Sequence

from pipeline.reporting.text_table import NOTHING
from pipeline.studies.columns import Column
from pipeline.studies.result import RowResult, StudyResult
from pipeline.studies.tables import run_ids, spread_text

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "–": "--", "→": r"$\to$",
    "τ": r"$\tau$", "θ": r"$\theta$", "…": r"\dots{}",
}  # fmt: skip

LAST_OF_T1 = 0x17F
"""The last sign of the block of Unicode whose Latin letters that encoding has."""


def latex(result: StudyResult) -> str:
    """A `table` for `booktabs`: ours and, where there are some, the paper's numbers beside them."""
    columns = [column for column in result.columns if any(row.values(column) for row in result.rows)]
    beside = [
        column for column in columns if any((row.row.name, column.name) in result.study.paper for row in result.rows)
    ]
    alignment = "l" + "".join("rr" if column in beside else "r" for column in columns)
    table = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escaped(_caption(result))}}}",
        f"\\label{{tab:{''.join(sign if sign.isalnum() else '-' for sign in result.study.name)}}}",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        _head(columns, beside),
        _second_head(columns, beside, result.scale.name),
        "\\midrule",
        *_body(result, columns, beside),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    needs = [
        f"% {_comment(result.study.title)}; runs {_comment('; '.join(map(run_ids, result.rows)))}",
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
    ]
    if lacking := sorted({sign for sign in "".join(table) if ord(sign) > LAST_OF_T1}):
        needs.append(f"% has signs that pdfLaTeX stops at ({' '.join(lacking)}): set it with LuaLaTeX or XeLaTeX")
    return "\n".join([*needs, *table]) + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX sets it, in one line."""
    return "".join(_ESCAPES.get(sign, sign) for sign in " ".join(text.split()))


def _comment(text: str) -> str:
    return " ".join(text.split())


def _caption(result: StudyResult) -> str:
    source = f" Paper: {result.study.source}." if result.study.paper and result.study.source else ""
    unfinished = f" {result.missing} of the runs are missing." if result.missing else ""
    return (
        f"{result.study.title} ({result.conditions}). Mean ± standard deviation over {len(result.seeds)} "
        f"seed{'s' if len(result.seeds) > 1 else ''}.{unfinished}{source}"
    )


def _head(columns: Sequence[Column], beside: Sequence[Column]) -> str:
    cells = [""]
    for column in columns:
        heading = escaped(column.heading)
        cells.append(f"\\multicolumn{{2}}{{c}}{{{heading}}}" if column in beside else heading)
    return " & ".join(cells) + r" \\"


def _second_head(columns: Sequence[Column], beside: Sequence[Column], scale: str) -> str:
    cells = [""]
    for column in columns:
        cells += [f"ours, {escaped(scale)}", "paper"] if column in beside else [f"ours, {escaped(scale)}"]
    return " & ".join(cells) + r" \\"


def _body(result: StudyResult, columns: Sequence[Column], beside: Sequence[Column]) -> list[str]:
    lines = []
    width = 1 + len(columns) + len(beside)
    for block, rows in result.blocks.items():
        if block:
            lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{escaped(block)}}}}} \\\\")
        lines += [_line(result, row, columns, beside) for row in rows]
    return lines


def _line(result: StudyResult, row: RowResult, columns: Sequence[Column], beside: Sequence[Column]) -> str:
    cells = [row.row.label]
    for column in columns:
        cell = result.cell(row, column)
        number, n = spread_text(cell), len(cell.values)
        cells.append(f"{number} (n = {n})" if 0 < n < len(result.seeds) and not column.is_exact else number)
        if column in beside:
            cells.append(NOTHING if cell.paper is None else f"{cell.paper.text}{'*' if cell.paper.doubtful else ''}")
    # A label that begins with [ or * would be an argument of the line before.
    return "{}" + " & ".join(map(escaped, cells)) + r" \\"
