"""What commands print and how they end."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, RenderableType

from pipeline.reporting.terminal import Terminal
from pipeline.util.early_signals import INTERRUPTED
from pipeline.util.errors import in_a_line
from pipeline.util.json_text import to_json

if TYPE_CHECKING:
    from experiments.tracked import Outcome
    from pipeline.runs.query import Runs

TOLD = 5
"""Sentences of one kind that are said before they are only counted."""
Printed = RenderableType | Callable[[Console], None]
"""What a person reads: text, a table, or what prints it."""


def answer(as_json: bool, document: Any, otherwise: Printed) -> None:
    """Print the one document on standard output, or else what a person reads."""
    if as_json:
        print_json(document)
    elif isinstance(otherwise, str):
        print(otherwise)
    elif callable(otherwise):
        otherwise(Terminal())
    else:
        Terminal().print(otherwise)


_documents: list[TextIO] = []
"""Standard output, where all else goes to standard error."""


@contextmanager
def document_alone() -> Iterator[None]:
    """Within it standard output gets the document alone, whatever a plug-in prints."""
    _documents.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _documents.pop()


def print_json(document: Any) -> None:
    """The one document, on standard output."""
    print(to_json(document), file=_documents[-1] if _documents else sys.stdout)


def tell_left_out(runs: "Runs") -> None:
    """Say on stderr what could not be read of the runs that were asked for."""
    sentences = list(runs.left_out)
    for sentence in sentences[:TOLD]:
        print(f"odenet: warning: {sentence}", file=sys.stderr)
    if len(sentences) > TOLD:
        print(f"odenet: warning: and {len(sentences) - TOLD} more runs are not or not wholly read", file=sys.stderr)


def tell_why_nothing(runs: "Runs", filters: Sequence[str]) -> None:
    """Say on stderr that no run matches the filters, and what somebody probably meant."""
    print(f"odenet: {in_a_line(runs.why_nothing(filters))}", file=sys.stderr)


def fail(message: str, status: int) -> int:
    """Say what went wrong, in one line on stderr; the exit status."""
    print(f"odenet: {in_a_line(message)}", file=sys.stderr)
    return status


def finish(outcome: "Outcome", what: str = "run") -> int:
    """Tell on stderr what broke a run off; the exit status, 0 only when it completed."""
    if outcome.error is None:
        return 0
    status = INTERRUPTED if outcome.status == "INTERRUPTED" else 1
    return fail(f"{what} {outcome.run_id} {outcome.status}: {outcome.error}", status)


def finish_run(outcome: "Outcome", as_json: bool) -> int:
    """Tell how a training ended; the exit status, 0 only when it completed."""
    from pipeline.runs.listing import runs_table
    from pipeline.runs.summary import last_values, mean_evaluations, summary

    if as_json:
        print_json(outcome.to_dict())
    elif outcome.status == "COMPLETED":
        console = Terminal()
        console.print(runs_table([summary(outcome.document, last_values(outcome.metrics))], console.width))
        if means := mean_evaluations(outcome.metrics):
            counted = " + ".join(f"{mean:.1f}" for mean in means.values())
            print(f"evaluations a batch, on average over the training: {counted}")
        print(f"odenet show {outcome.run_id} tells more; odenet board shows it in Omniboard")
    return finish(outcome)


def finish_runs(outcomes: "Sequence[Outcome]", as_json: bool) -> int:
    """Tell how runs that differ in their seeds ended, with their mean; the exit status, 0 only when all completed."""
    from pipeline.runs.listing import RunGroup, groups_table, runs_table
    from pipeline.runs.summary import last_values, summary

    rows = [summary(outcome.document, last_values(outcome.metrics)) for outcome in reversed(outcomes)]
    group = RunGroup(tuple(rows))
    if as_json:
        print_json({"runs": [outcome.to_dict() for outcome in outcomes], "group": group.to_dict()})
    else:
        console = Terminal()
        console.print(runs_table(rows, console.width))
        console.print(groups_table([group], console.width))
    return max(finish(outcome) for outcome in outcomes)
