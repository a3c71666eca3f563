"""What the fault tests share: the seed, and a table of what was injected at the end of a session."""

import os
from collections import Counter

import pytest

SEED = int(os.environ.get("FAULTS_SEED", "19"))
"""Of everything that is drawn; another one: `FAULTS_SEED=7 make test-faults`."""
INJECTED: Counter[str] = Counter()
"""Kind -> how many were injected in this session."""
FOUND: Counter[str] = Counter()
"""Kind -> how many of them did harm."""


def pytest_report_header() -> str:
    return f"faults: seed {SEED} (FAULTS_SEED)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures for docs/reliability.md."""
    if not INJECTED:
        return
    terminalreporter.section("faults injected")
    for kind, number in INJECTED.items():
        terminalreporter.write_line(f"{kind:<40} {number:>6}   found {FOUND[kind]}")
    terminalreporter.write_line(f"{'in all':<40} {INJECTED.total():>6}   found {FOUND.total()}   (seed {SEED})")
