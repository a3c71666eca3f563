"""A table of what was injected, at the end of a session of fault tests."""

import pytest

from tests.faults.tally import FOUND, INJECTED, SEEDS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures for docs/reliability.md, with the seeds for `ODENET_FAULT_SEED`."""
    if not INJECTED:
        return
    terminalreporter.section("faults injected")
    for kind, number in INJECTED.items():
        terminalreporter.write_line(f"{kind:<50} {number:>6}   found {FOUND[kind]:>3}   seed {SEEDS[kind]}")
    terminalreporter.write_line(f"{'in all':<50} {INJECTED.total():>6}   found {FOUND.total():>3}")
