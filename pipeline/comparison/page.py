"""A comparison as one HTML file that needs nothing beside itself."""

import base64
import io
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.comparison.compare import ComparedRun, Comparison, Group
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.tables import (
    WordTable,
    conditions,
    config_table,
    cost_table,
    results_table,
    runs_table,
    tests_table,
)
from pipeline.errors import OdenetError
from pipeline.figures import DPI, RunCurve, plot_confusion_counts, plot_run_curves

STYLE = """
:root { --ink: #1c2430; --faint: #5b6675; --line: #d9dee5; --accent: #24548f; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.5rem 4rem; color: var(--ink); background: #fff;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, li { max-width: 52rem; }
.subtitle { color: var(--faint); margin: 0 0 1.4rem; }
.care { border-left: 4px solid #c27803; background: #fdf6e7; padding: .7rem 1rem .7rem 1.1rem; }
.care h2 { border: 0; margin: 0 0 .3rem; padding: 0; font-size: 1rem; }
.care ul { margin: 0; padding-left: 1.1rem; }
.note, figcaption, .conditions { color: var(--faint); font-size: .875rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums;
        border-top: 2px solid var(--ink); border-bottom: 2px solid var(--ink); }
th, td { padding: .32rem .9rem .32rem 0; text-align: left; vertical-align: top; }
th + th, td + td { padding-left: .9rem; }
thead th { border-bottom: 1px solid var(--ink); vertical-align: bottom; }
tbody tr + tr td { border-top: 1px solid var(--line); }
td.l { min-width: 6.5rem; }
td.l:last-child { min-width: 16rem; }
.r { text-align: right; }
td.r { white-space: nowrap; min-width: 0; }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; }
.wide img { min-width: 44rem; }
.matrices { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem; }
.matrices figure { max-width: 36rem; }
@media (max-width: 40rem) { body { padding: 1.2rem 1rem 3rem; } h1 { font-size: 1.35rem; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } h2 { break-after: avoid; }
               table, figure { break-inside: avoid; } }
"""


def page(comparison: Comparison) -> str:
    """The whole page: images inlined, no scripts, nothing from elsewhere."""
    groups, runs = comparison.groups, comparison.runs
    title = " against ".join(group.name for group in groups) if len(groups) < 4 else f"{len(groups)} configurations"
    data = sorted({Path(run.config["data.name"]).stem for run in runs})
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title[0].upper() + title[1:])}</h1>",
            f'<p class="subtitle">{len(runs)} runs on {escape(", ".join(data))}: {escape(_members(groups))}</p>',
            _care(find_unfairness(comparison)),
            _section(results_table(groups)),
            _curves(comparison),
            _section(tests_table(comparison)),
            _section(cost_table(groups)),
            _matrices(groups),
            _section(config_table(comparison)),
            _section(runs_table(comparison)),
            _conditions(comparison),
            "</body>",
            "</html>\n",
        ]
    )


def write_page(comparison: Comparison, path: Path) -> None:
    """Write `page`, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    content = page(comparison)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(content, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OdenetError(
            f"cannot write the page {path} ({error.strerror}): choose a folder that exists and has room"
        ) from error


def _members(groups: tuple[Group, ...]) -> str:
    return "; ".join(f"{group.label} (runs {', '.join(str(run.run_id) for run in group.runs)})" for group in groups)


def _care(sentences: list[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<div class="care"><h2>Read with care</h2><ul>{items}</ul></div>'


def _section(table: WordTable) -> str:
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f"<section><h2>{escape(table.title)}</h2>{_table(table) if table.rows else ''}{note}</section>"


def _table(table: WordTable) -> str:
    head = "".join(
        f'<th scope="col" class="{side}">{escape(heading)}</th>'
        for heading, side in zip(table.headings, table.alignment, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(f'<td class="{side}">{escape(cell)}</td>' for cell, side in zip(row, table.alignment, strict=True))
        + "</tr>"
        for row in table.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _curves(comparison: Comparison) -> str:
    curves = [_curve(run, group) for group in comparison.groups for run in group.runs if len(run.history)]
    if not curves:
        return "<section><h2>Learning curves</h2><p>No run came to the end of an epoch.</p></section>"
    missing = [str(run.run_id) for run in comparison.runs if not len(run.history)]
    gap = f" Without an epoch, and so without a curve: run {', '.join(missing)}." if missing else ""
    image = _image(plot_run_curves(curves, ""), "Loss, accuracy and evaluations by epoch")
    caption = f"One line a run, one colour a group.{gap}"
    return (
        f'<section><h2>Learning curves</h2><figure><div class="scroll wide">{image}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure></section>"
    )


def _curve(run: ComparedRun, group: Group) -> RunCurve:
    return RunCurve(group.label, run.history, run.best_epoch, run.completed)


def _matrices(groups: tuple[Group, ...]) -> str:
    figures = "".join(_matrix(group) for group in groups)
    return f'<section><h2>Confusion matrices</h2><div class="matrices">{figures}</div></section>'


def _matrix(group: Group) -> str:
    counts = group.confusion()
    if counts is None:
        return f"<p>{escape(group.label)}: no run with predictions.</p>"
    summed = [str(run.run_id) for run in group.completed if run.answers is not None]
    caption = f"{'Runs' if len(summed) > 1 else 'Run'} {', '.join(summed)}{' summed' if len(summed) > 1 else ''}."
    image = _image(plot_confusion_counts(counts, group.classes, group.label), f"Confusion matrix of {group.label}")
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _conditions(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in conditions(comparison))
    return f'<section><h2>Conditions</h2><ul class="conditions">{items}</ul></section>'


def _image(figure: Figure, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
