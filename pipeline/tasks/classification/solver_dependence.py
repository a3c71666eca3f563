"""Whether an accuracy depends on the solver of the training."""

from collections.abc import Sequence
from math import sqrt

from pipeline.methods import ORDERS
from pipeline.tasks.solver_grid import Row


def solver_dependence(rows: Sequence[Row], images: int) -> str | None:
    """A warning where the accuracy depends on the solver of the training, or may do so unseen; None otherwise.

    It depends on it where a setting that is at least as fine moves the accuracy by more than twice its standard error.
    At least as fine: the same final time, an order of at least the training's, and at least as many steps (both fixed),
    at most its tolerances (both adaptive), or at least as many evaluations (one of each).
    Unseen: the training took Euler's method or a single step, and no setting here is at least as fine and came to an
    end.

    Args:
        rows: that of the training first.
        images: how many the accuracies are over.

    Source: the phenomenon is that of Ott et al. 2021, ResNet After All: Neural ODEs and Their Numerical Solution; the
    threshold is ours.
    """
    trained, others = rows[0], rows[1:]
    baseline = trained.scores["accuracy"]
    if trained.method is None or baseline is None:
        return None
    finer = {
        row.label: accuracy
        for row in others
        if (accuracy := row.scores["accuracy"]) is not None and _at_least_as_fine(row, trained)
    }
    coarse = trained.method == "euler" or trained.steps == 1
    if not finer and coarse:
        failed = [row.label for row in others if row.scores["accuracy"] is None and _seems_finer(row, trained)]
        lack = f"what is finer here failed ({failed[0]})" if failed else "no setting here is as fine"
        return (
            f"the network was trained with {trained.label}, hardly finer than a residual block, and {lack}: its "
            "accuracy may depend on that solver (Ott et al. 2021), so evaluate a finer one, too"
        )
    if not finer:
        return None
    standard_error = error_of(baseline, images)
    label, accuracy = max(finer.items(), key=lambda item: abs(item[1] - baseline))
    if abs(accuracy - baseline) <= 2 * standard_error:
        return None
    return (
        f"the accuracy depends on the solver of the training: {baseline:.2%} with {trained.label}, but {accuracy:.2%} "
        f"with {label}, further apart than twice the standard error of {standard_error:.2%}; the network has learnt "
        "its solver's steps rather than an ODE (Ott et al. 2021): keep that solver, or train with a finer one"
    )


def error_of(accuracy: float, images: int) -> float:
    """Half of the half width of Wilson's interval of two standard errors; above 0 where all images are right, too."""
    return sqrt(accuracy * (1 - accuracy) / images + 1 / images**2) / (1 + 4 / images)


def _seems_finer(failed: Row, trained: Row) -> bool:
    """By its setting, as a solve that failed has no evaluations."""
    if failed.method is None or trained.method is None or failed.final_time != trained.final_time:
        return False
    takes_more = failed.steps is None or trained.steps is None or failed.steps >= trained.steps
    return takes_more and ORDERS[failed.method] >= ORDERS[trained.method]


def _at_least_as_fine(row: Row, trained: Row) -> bool:
    if row.method is None or trained.method is None or row.final_time != trained.final_time:
        return False
    if ORDERS[row.method] < ORDERS[trained.method]:
        return False
    if row.steps is not None and trained.steps is not None:
        return row.steps >= trained.steps
    if row.rtol is not None and row.atol is not None and trained.rtol is not None and trained.atol is not None:
        return row.rtol <= trained.rtol and row.atol <= trained.atol
    return (row.nfe_forward or 0) >= (trained.nfe_forward or 0)
