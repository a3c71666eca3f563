"""HTML pages of one file that needs nothing beside itself: the frame, its style, tables and pictures."""

import base64
import io
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.reporting.figures import DPI
from pipeline.reporting.text_table import WordTable
from pipeline.util.whole_file import whole_file

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
.note, figcaption, .conditions li { color: var(--faint); font-size: .875rem; }
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
a { color: var(--accent); }
code { white-space: nowrap; }
pre { margin: .4rem 0; padding: .7rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
      background: #f4f6f8; font-size: .875rem; }
.wide img { min-width: 44rem; }
.matrices { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem; }
.matrices figure { max-width: 36rem; }
@media (max-width: 40rem) { body { padding: 1.2rem 1rem 3rem; } h1 { font-size: 1.35rem; }
                            code { white-space: normal; } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } h2 { break-after: avoid; }
               table, figure { break-inside: avoid; } }
"""


def document(title: str, subtitle: str, body: Sequence[str]) -> str:
    """The whole page: no scripts, nothing from elsewhere.

    Args:
        title: what it says, as text.
        subtitle: one line more, as text.
        body: the rest, as HTML.
    """
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
            f"<h1>{escape(title)}</h1>",
            f'<p class="subtitle">{escape(subtitle)}</p>',
            *body,
            "</body>",
            "</html>\n",
        ]
    )


def write_whole(content: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    with whole_file(path, "page") as part:
        part.write_text(content, encoding="utf-8")


def care(sentences: Sequence[str]) -> str:
    """What a reader is to bear in mind, in a box; nothing where there is nothing."""
    if not sentences:
        return ""
    return f'<div class="care"><h2>Read with care</h2>{items(sentences)}</div>'


def items(sentences: Sequence[str]) -> str:
    """A list."""
    return f"<ul>{''.join(f'<li>{prose(sentence)}</li>' for sentence in sentences)}</ul>"


def prose(text: str) -> str:
    """Text as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def section(table: WordTable, link: Callable[[str], str] | None = None) -> str:
    """A table under its title, with its note.

    Args:
        link: the number of a run -> the address that its cell in the column `run` leads to.
    """
    note = f'<p class="note">{prose(table.note)}</p>' if table.note else ""
    return f"<section><h2>{escape(table.title)}</h2>{_table(table, link) if table.rows else ''}{note}</section>"


def conditions(lines: Sequence[str]) -> str:
    """On which data, where and with what; a line each."""
    return f'<section class="conditions"><h2>Conditions</h2>{items(lines)}</section>'


def wide_figure(title: str, figure: Figure, text: str, caption: str) -> str:
    """A picture under a title, as wide as the page.

    Args:
        text: what it shows, for those who cannot see it.
    """
    return (
        f'<section><h2>{escape(title)}</h2><figure><div class="scroll wide">{image(figure, text)}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure></section>"
    )


def image(figure: Figure, text: str) -> str:
    """A picture in the page itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'


def _table(table: WordTable, link: Callable[[str], str] | None) -> str:
    head = "".join(
        f'<th scope="col" class="{side}">{escape(heading).replace(".", ".<wbr>")}</th>'
        for heading, side in zip(table.headings, table.alignment, strict=True)
    )
    rows = "".join(f"<tr>{_cells(table, row, link)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(table: WordTable, row: Sequence[str], link: Callable[[str], str] | None) -> str:
    cells = []
    for heading, cell, side in zip(table.headings, row, table.alignment, strict=True):
        text = escape(cell)
        if link and heading == "run" and cell.isdecimal():
            text = f'<a href="{escape(link(cell))}" rel="noreferrer">{text}</a>'
        cells.append(f'<td class="{side}">{text}</td>')
    return "".join(cells)
