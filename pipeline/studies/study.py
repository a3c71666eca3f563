"""A study as a person writes it: configurations, seeds, scales, what is read, a paper's numbers, claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.studies.columns import Column
from pipeline.studies.paper_numbers import PaperNumber
from pipeline.util.errors import InvalidInput

Kind = Literal["train", "measure", "evaluate"]
FULL = "full"
"""The scale at which a verdict is given; at the others it is a tendency."""
ORDER = (FULL, "small", "smoke")
"""The scales that come along, the largest first; a study may have others."""


class StudyError(InvalidInput):
    """A study that cannot be read."""


@dataclass(frozen=True)
class StudyRun:
    """One row of the study's table: a configuration, which is run on each seed."""

    name: str
    label: str
    block: str
    """Rows of one block are compared with each other; the empty text where there is one block."""
    kind: Kind
    """`train`; `measure`, which takes single training steps; `evaluate`, a trained row under another solver."""
    words: tuple[str, ...]
    """Named configurations and key=value, as they follow `with` on a command line."""
    evaluates: str | None = None
    """Of an evaluation, the row whose runs it asks again."""
    setting: Mapping[str, Any] = field(default_factory=dict)
    """Of an evaluation, what differs from how the row was trained: keys of `solver`, `final_time`."""
    level: float | None = None
    """The value that varies from row to row, where it is one number: the axis of a trend."""
    tuned: int | None = None
    """How many configurations were tried to find this one; None where that is not said."""
    ends: str | None = None
    """How its runs are expected to end, where not by completing: `underflow`, `step_limit`, …"""


@dataclass(frozen=True)
class Scale:
    """How much of a study is done."""

    name: str
    words: tuple[str, ...] = ()
    """Over those of the rows."""
    seeds: tuple[int, ...] | None = None
    """Instead of the study's."""
    without: tuple[str, ...] = ()
    """Rows that are left out."""
    note: str = ""
    """What is smaller, in a phrase for the head of the table."""


@dataclass(frozen=True)
class VerdictRule:
    """When a paper's number counts as reproduced."""

    level: float = 0.95
    seeds: int = 3
    """Fewer than so many decide nothing, but for numbers that are the same on every seed."""
    interval: Literal["confidence", "prediction"] = "confidence"
    """For the mean over seeds; or for one more run, as the paper's single one was."""
    alpha: float = 0.05
    """Of the claims' tests, after Holm's adjustment for all claims of the study."""


ClaimKind = Literal["equivalent", "differ", "higher", "lower", "order", "rises", "falls", "ratio", "ends"]


@dataclass(frozen=True)
class Claim:
    """A sentence, and what would bear it out."""

    says: str
    kind: ClaimKind
    rows: tuple[str, ...]
    column: str
    """The empty text for `ends`."""
    within: float | None = None
    """Of `equivalent`: the margin, in the unit in which the column is shown."""
    between: tuple[float, float] | None = None
    """Of `ratio`."""
    over: Literal["rows", "epochs"] = "rows"
    """What `rises` and `falls` follow: the levels of the rows, or the epochs of each run."""
    ends: str = ""
    """Of `ends`: the outcome."""


@dataclass(frozen=True)
class Study:
    """The whole of it."""

    name: str
    text: str
    """The YAML."""
    title: str
    source: str
    question: str
    doubts: tuple[str, ...]
    """What is doubtful in the paper's account, by sentences."""
    model: str | None
    """The named configuration that `--model` replaces; None where it is fixed."""
    rows: tuple[StudyRun, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    scales: Mapping[str, Scale]
    paper: Mapping[tuple[str, str], PaperNumber]
    """(row, column) -> what the paper has there."""
    rule: VerdictRule
    claims: tuple[Claim, ...]
    axis: str = "level"
    """What the rows' levels are, where they have some."""

    def row(self, name: str) -> StudyRun:
        return next(row for row in self.rows if row.name == name)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def at(self, scale: Scale) -> tuple[StudyRun, ...]:
        """The rows that are done at a scale; what evaluates a row that is left out is left out too."""
        left_out = set(scale.without)
        return tuple(row for row in self.rows if row.name not in left_out and row.evaluates not in left_out)
