"""Files in the documentation: code blocks with a title, as in ```python title="my_net.py"."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r'^```(?P<language>\w+) (?:recipe=(?P<recipe>\w+) )?title="(?P<title>[^"]+)"\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)


_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A file, or with the language `diff` a change of one."""

    language: str
    recipe: str | None
    title: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The titled blocks of a page, in their order."""
    return [Block(**found.groupdict()) for found in _BLOCK.finditer(page.read_text())]


def files_of(page: Path) -> dict[str, str]:
    """Title -> content of the files in a page."""
    return {block.title: block.text for block in blocks_of(page) if block.language != "diff"}


def run_example(page: Path, *instead: tuple[str, str]) -> dict[str, Any]:
    """Run the one Python block of a page that has no title, and what it has defined then.

    Args:
        instead: what the block shows in one place, as the numbers of runs, and what is to be there.
    """
    (text,) = _EXAMPLE.findall(page.read_text())
    for shown, other in instead:
        assert text.count(shown) == 1, f"{page.name} has {text.count(shown)} places with {shown}"
        text = text.replace(shown, other)
    defined: dict[str, Any] = {}
    exec(text, defined)  # noqa: S102 - of our own page
    return defined


def write_files(files: dict[str, str], folder: Path) -> None:
    """Lay the files out below `folder`."""
    for title, content in files.items():
        path = folder / title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def apply(block: Block, folder: Path) -> None:
    """Write the block's file below `folder`, or change the one that is there at the one place that it shows."""
    path = folder / block.title
    if block.language != "diff":
        assert not path.exists(), f"{block.title} is there already"
        write_files({block.title: block.text}, folder)
        return
    lines, text = block.text.splitlines(keepends=True), path.read_text()
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    assert text.count(before) == 1, f"{block.title} has {text.count(before)} places as the page shows it"
    path.write_text(text.replace(before, after))
