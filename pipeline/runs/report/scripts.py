"""The scripts of the page: ours, and Plotly's from the package `plotly`, which the page unpacks."""

import base64
import gzip
import hashlib
from pathlib import Path

PARTS = ("unpack", "state", "look", "colours", "curves", "parallel", "scatter", "importance", "runs_table", "start")
"""Our files, in the order in which they stand in the page."""


def own_script() -> str:
    """Ours, as one script."""
    folder = Path(__file__).parent
    parts = [(folder / f"{part}.js").read_text(encoding="utf-8") for part in PARTS]
    return "\n".join(["'use strict';", "(function () {", *parts, "})();\n"])


def plotly_script() -> str:
    """Plotly's, whole: 5 MB."""
    from plotly.offline import get_plotlyjs  # which imports what nothing else of a command needs

    return str(get_plotlyjs())


def packed(text: str) -> str:
    """The text compressed, in letters that mean nothing to HTML."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode("ascii")


def content_policy(*scripts: str) -> str:
    """The page's Content-Security-Policy: these scripts and no others run, and nothing is loaded from anywhere.

    Plotly compiles what it draws with WebGL, as the parallel coordinates, into functions: hence `unsafe-eval`.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
