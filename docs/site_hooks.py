"""MkDocs' hooks: the pages at the top of the repository are pages of the site too.

README.md, CONTRIBUTING.md and CHANGELOG.md lie beside docs/, where GitHub looks for them. Links between them and the
pages in docs/ are written as GitHub resolves them, and rewritten here for the site.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOP = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "start.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File at the top of the repository -> page of the site."""

_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_RECIPE = re.compile(r"^(```\w+) recipe=\w+", re.MULTILINE)
"""What names a code block for a test. Its title, which may follow, is shown."""


def on_files(files: Files, config: Any, **_: Any) -> Files:
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(TOP / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    rewrite = _from_top if page.file.src_uri in PAGES.values() else _to_top
    text = _LINK.sub(lambda link: f"{link[1]}{rewrite(link[2], page)}{link[3] or ''}{link[4]}", markdown)
    return _RECIPE.sub(r"\1", text)


def _from_top(target: str, _page: Any) -> str:
    """Where a link of a page at the top leads to in the site."""
    return PAGES.get(target, target.removeprefix("docs/"))


def _to_top(target: str, page: Any) -> str:
    """Where a link of a page in docs/ leads to, of which those to the top are another page."""
    up = "../" * page.file.src_uri.count("/")
    name = target.removeprefix(f"{up}../")
    return up + PAGES[name] if target == f"{up}../{name}" and name in PAGES else target
