"""A comparison of sweeps as an HTML page that is a single file."""

from pathlib import Path

from pipeline.reporting.figure_style import own_style
from pipeline.reporting.html import render
from pipeline.sweeps.comparison import SweepComparison
from pipeline.sweeps.comparison_cautions import find_cautions
from pipeline.sweeps.comparison_figures import plot_best_curves, plot_fronts
from pipeline.sweeps.comparison_tables import comparison_tables, conditions, title
from pipeline.util.files import write_result


@own_style()
def page(comparison: SweepComparison) -> str:
    """The page with all tables and the figure of the comparison."""
    first, *others = comparison_tables(comparison)
    return render(
        "sweep_comparison.html.j2",
        title=title(comparison),
        subtitle="; ".join(f"{one.label} of {one.sweep.name}" for one in comparison.sweeps),
        cautions=find_cautions(comparison),
        results=first,
        is_single=comparison.is_single,
        figure=plot_best_curves(comparison) if comparison.is_single else plot_fronts(comparison),
        tables=others,
        conditions=conditions(comparison),
    )


def write_page(comparison: SweepComparison, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        OdenetError: the file cannot be written.
    """
    write_result(path, page(comparison), "page")
