"""The seed at the beginning of a session of fault tests, and a table of what was injected at its end."""

import pytest

from tests.faults.tally import FOUND, INJECTED, SEED


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
