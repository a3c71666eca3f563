"""The studies that come along: what is done, what is missing, what it will cost here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Column

from experiments.study_cost import Estimate, estimate_with
from experiments.study_plan import find_study, make_plan, study_files
from experiments.study_standing import Standing, find_device
from pipeline.reporting.text_table import list_table, right
from pipeline.reporting.words import duration
from pipeline.runs.query import Runs
from pipeline.studies.costs import KnownCosts
from pipeline.studies.same_runs import SameRuns
from pipeline.sweeps.share import local_share


@dataclass(frozen=True)
class ListedStudy:
    """A line of the list."""

    name: str
    scale: str
    title: str
    source: str
    done: int
    total: int
    cost: Estimate

    def to_dict(self) -> dict[str, Any]:
        """What `odenet paper --json` prints."""
        return {
            "name": self.name,
            "scale": self.scale,
            "title": self.title,
            "source": self.source,
            "done": self.done,
            "runs": self.total,
            "seconds": self.cost.total,
            "unknown": self.cost.unknown,
        }

    @property
    def takes(self) -> str:
        """What is missing takes, in words."""
        if self.done == self.total:
            return "done"
        if self.cost.total is None:
            return "not measured yet"
        more = f", {self.cost.unknown} runs not measured" if self.cost.unknown else ""
        bases = " and ".join(sorted({basis for basis in self.cost.bases.values() if basis}))
        return f"about {duration(self.cost.total)} ({bases}){more}"


def list_studies(scale: str) -> list[ListedStudy]:
    """Every study that comes along at a scale that it has."""
    runs = Runs()
    same, known = SameRuns.of(runs, find_device()), KnownCosts.of(runs.find({"status": "COMPLETED"}))
    at_once, rows = local_share(None, None, None).parallel, []
    for name in study_files():
        study = find_study(name)
        if scale not in study.scales:
            continue
        standing = Standing(make_plan(study, scale), same)
        cost = estimate_with(known, standing, at_once)
        rows.append(
            ListedStudy(name, scale, study.title, study.source, len(standing.found), len(standing.plan.jobs), cost)
        )
    return rows


def print_list(rows: Sequence[ListedStudy], console: Console) -> None:
    """One line a study."""
    longest = max((len(row.name) for row in rows), default=0)
    takes = Column("what is missing takes", overflow="fold", min_width=18)
    title = Column("title", overflow="fold", min_width=18)
    table = list_table([Column("study", no_wrap=True, min_width=longest + 1), *right("done "), takes, title])
    for row in rows:
        table.add_row(row.name, f"{row.done}/{row.total} ", row.takes, row.title)
    console.print(table)
    scale = rows[0].scale if rows else ""
    console.print(
        f"At the scale {scale}. odenet paper NAME --scale small begins one; --dry-run says what it does and measures "
        "what it will cost.",
        highlight=False,
    )
