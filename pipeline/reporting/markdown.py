"""Tables as Markdown, whose cells nothing can break out of."""

import re

from pipeline.reporting.text_table import TextTable


def markdown_table(table: TextTable) -> str:
    """The table, without its title and its note."""
    rules = ["---" if letter == "l" else "---:" for letter in table.alignment]
    lines = [table.headings, tuple(rules), *table.rows]
    return "\n".join("| " + " | ".join(escaped(cell) for cell in line) + " |" for line in lines)


def escaped(text: str) -> str:
    """Text that Markdown does not take for a table's edge or for markup."""
    for character in "\\|<*_`":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def note(text: str) -> str:
    """A sentence of ours, in which what is between backticks is code."""
    parts = re.split(r"(`[^`]+`)", text)  # every second part is code, in which a backslash would be shown
    return "".join(part if number % 2 else escaped(part) for number, part in enumerate(parts))
