"""What a reader of a study is to bear in mind: what is unfair, unfinished, unexpected; with what it was done."""

from collections import Counter

from pipeline.comparison.compare import Comparison
from pipeline.comparison.fairness import find_unfairness
from pipeline.comparison.groups import Group
from pipeline.comparison.tables import conditions as conditions_of_runs
from pipeline.reporting.words import counted
from pipeline.studies.result import MISSING, REFUSED, RowResult, StudyResult
from pipeline.sweeps.state import COMPLETED, FAILURES


def cautions(result: StudyResult) -> list[str]:
    """Sentences, the weightiest first."""
    return [*_unfinished(result), *_unexpected(result), *unfairness(result)]


def unfairness(result: StudyResult) -> list[str]:
    """What speaks against comparing the rows of a block, block by block."""
    sentences = []
    for block in result.blocks:
        comparison = result.comparison(block)
        if comparison is None:
            continue
        names = {group.letter: group.name for group in comparison.groups}
        letters = ", ".join(f"{letter} is {name}" for letter, name in names.items())
        unfair = find_unfairness(comparison, result.tried)
        found = [sentence for sentence in unfair if "did not complete" not in sentence]
        of_block = f"{block}: " if block else ""
        sentences += [f"{of_block}{sentence}" for sentence in found]
        if any(f"{letter} " in sentence for sentence in found for letter in names):
            sentences.append(f"{of_block}{letters}.")
    return sentences


def conditions(result: StudyResult) -> list[str]:
    """On which data, where and with what the runs were made; a line each."""
    trained = {run.run_id: run for row in result.rows if row.row.kind != "evaluate" for run in row.runs}
    everything = Group("", "", tuple(trained.values()))
    lines = conditions_of_runs(Comparison((everything,), {}, None, (), ())) if trained else []
    seeds = ", ".join(map(str, result.seeds))
    return [f"Scale: {result.conditions.removeprefix('scale ')}; seeds {seeds}", *lines]


def _unfinished(result: StudyResult) -> list[str]:
    if not result.missing:
        return []
    total = sum(len(row.answers) for row in result.rows)
    return [f"It is not done: {result.missing} of {counted(total, 'run')} are missing; the same command goes on."]


def _unexpected(result: StudyResult) -> list[str]:
    sentences = []
    for row in result.rows:
        for outcome, number in row.outcomes().items():
            if outcome in (MISSING, row.row.ends or COMPLETED):
                continue
            if outcome == REFUSED:
                sentences += _not_done(row)
                continue
            of = _share(row, number)
            if outcome == COMPLETED:
                sentences.append(
                    f"{of} completed, where {FAILURES.get(row.row.ends or '', row.row.ends)} was expected."
                )
                continue
            example = next(answer for answer in row.answers if answer.outcome == outcome)
            meaning = FAILURES.get(outcome, outcome)
            why = f": {example.why}" if example.why else ""
            sentences.append(f"{of} ended by {meaning} and {'is' if number == 1 else 'are'} in no mean{why}.")
    return sentences


def _not_done(row: RowResult) -> list[str]:
    """A sentence for each reason."""
    reasons = Counter(answer.why for answer in row.answers if answer.outcome == REFUSED)
    sentences = []
    for why, number in reasons.items():
        what = f"{row.row.label} was" if number == len(row.answers) else f"{_share(row, number)} were"
        sentences.append(f"{what} not done: {why.removesuffix('.')}.")
    return sentences


def _share(row: RowResult, number: int) -> str:
    return f"{number} of {counted(len(row.answers), 'run')} of {row.row.label}"
