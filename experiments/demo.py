"""`make demo`: the simple ODE-Net beside its ResNet twin on real images that need no download."""

from pipeline.util import early_signals

# isort: split

import sys
import time

from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import Outcome, run_tracked
from pipeline.reporting.terminal import Terminal
from pipeline.runs.listing import runs_table
from pipeline.runs.summary import last_values, summary
from pipeline.util.crash_report import describe_unforeseen
from pipeline.util.errors import OdenetError, in_a_line
from pipeline.util.streams import standard_streams

TWINS = ("odenet_simple", "resnet_small")
UPDATES = {"training": {"max_epochs": 15, "lr": 1e-3}}


def main() -> int:
    """Train both, tracked; print them side by side and what to do next."""
    started = time.monotonic()
    outcomes = []
    for name in TWINS:
        print(f"\n{name} on scikit-learn's digits", file=sys.stderr, flush=True)
        resolved = resolve([name, "digits"], UPDATES)
        outcome = run_tracked(prepare(resolved.task, resolved.config), [name, "digits"])
        if outcome.error is not None:
            print(f"run {outcome.run_id} {outcome.status}: {outcome.error}", file=sys.stderr)
            return 1
        outcomes.append(outcome)
    report(outcomes, time.monotonic() - started)
    return 0


def report(outcomes: list[Outcome], seconds: float) -> None:
    """The runs side by side, and where to look at them."""
    console = Terminal(highlight=False)
    console.print()
    rows = [summary(outcome.document, last_values(outcome.metrics)) for outcome in outcomes]
    console.print(runs_table(rows, console.width))
    ids = " and ".join(str(outcome.run_id) for outcome in outcomes)
    console.print(f"Runs {ids}, trained and evaluated in {seconds:.0f} s. Look at them in Omniboard:")
    console.print("\n    make board\n")


if __name__ == "__main__":
    with standard_streams():
        try:
            sys.exit(main())
        except OdenetError as error:
            sys.exit(f"odenet: {in_a_line(str(error))}")
        except KeyboardInterrupt:
            sys.exit(early_signals.INTERRUPTED)
        except Exception as error:
            sys.exit(f"odenet: {describe_unforeseen(error)}")
