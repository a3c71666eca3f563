"""What the runs of a study came to, read from the store."""

from collections.abc import Mapping
from dataclasses import replace

from experiments.study_standing import Standing, setting
from pipeline.comparison.tuning import count_tried
from pipeline.runs.query import Runs
from pipeline.studies.result import Answer, StudyResult, answer_of, build_result


def result_of(standing: Standing, failures: Mapping[int, str]) -> StudyResult:
    """The result, as far as it is done.

    Args:
        failures: number of a job -> why it came to nothing, where no run tells.
    """
    plan = standing.plan
    answers: dict[str, list[Answer]] = {row.name: [] for row in plan.rows}
    for job in plan.jobs:
        run = standing.found.get(job.number)
        whole = None if run is None else Runs(run.database).get(run.run_id)  # lists leave out what is large
        why = standing.refused.get(job.number) or failures.get(job.number, "")
        if whole is None and job.kind == "evaluate" and not why:
            why = _parents_failure(standing, job.number)
        asked = setting(job) if job.kind == "evaluate" else None
        answers[job.row.name].append(answer_of(job.seed, whole, asked, why))
    result = build_result(plan.study, plan.scale, plan.conditions, plan.is_full, plan.seeds, answers)
    return replace(result, tried=_tried(result))


def _tried(result: StudyResult) -> dict[str, int]:
    """Letter of a row -> the configurations that were tried to find its training: those it says, else the store's."""
    counts: dict[str, int] = {}
    for block in result.blocks:
        if (comparison := result.comparison(block)) is not None:
            counts |= count_tried(Runs(), comparison)
    said = {row.letter: row.row.tuned for row in result.rows if row.row.tuned is not None}
    return counts | said


def _parents_failure(standing: Standing, number: int) -> str:
    """Why there is no model to ask, where its training came to an end without one."""
    run = standing.found.get(standing.parents[number].number)
    return "" if run is None or run.status == "COMPLETED" else f"run {run.run_id}, whose model it asks, failed"
