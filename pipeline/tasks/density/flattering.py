"""Whether a density's likelihood depends on how it was solved in its test."""

from collections.abc import Sequence

from pipeline.tasks.solver_grid import Row

SHOWS = 1e-3
"""Nats from which on a difference of mean likelihoods is worth a word; tables print four decimals."""


def flattering_setting(rows: Sequence[Row]) -> str | None:
    """A warning where the finest of the settings gives another NLL than that of the test; None otherwise.

    Args:
        rows: that of the test first.
    """
    tested = rows[0].scores.get("nll")
    finer = [row for row in rows if row.rtol is not None and row.scores.get("nll") is not None]
    if tested is None or not finer or rows[0].method is None:
        return None
    finest = min(finer, key=lambda row: (row.rtol or 0, row.atol or 0))
    exact = finest.scores["nll"]
    assert exact is not None
    if abs(exact - tested) < SHOWS:
        return None
    return (
        f"the NLL depends on the solver of the test: {tested:.4f} with {rows[0].label}, but {exact:.4f} with "
        f"{finest.label}: take the latter, and a smaller flow.test_rtol and flow.test_atol next time"
    )
