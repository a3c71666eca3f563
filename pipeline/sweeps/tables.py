"""A sweep in words and in tables of words, for a terminal and for the page."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import OdenetError
from pipeline.runs import effective_status
from pipeline.sweeps.axes import build_axes, tidy
from pipeline.sweeps.identity import space_name
from pipeline.sweeps.ledger import FAILURES, INTERRUPTED, PRUNED, RUNNING, Trial, mean_and_deviation
from pipeline.sweeps.space import Space
from pipeline.sweeps.stored import Sweep
from pipeline.word_table import NOTHING, WordTable, terminal_table

OUTCOMES = (RUNNING, INTERRUPTED, PRUNED)
FREE_SHARE = 0.1
"""Of a GPU's memory, that no trial is to count on."""
CONTEXT_MB = 600
"""Of a GPU's memory, that CUDA takes for each process beside what torch allocates."""
MANY_FAILURES = 0.2
"""Share of the trials."""


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep's run in a few plain values; those of a sweep that cannot be read are None."""
    row: dict[str, Any] = {
        "sweep_id": document["_id"],
        "status": effective_status(document),
        "space": space_name(document["config"]),
        **dict.fromkeys(("over", "trials", "failed", "pruned", "metric", "best_value", "best_run_id")),
        "accuracy": document.get("result"),
        "started": document["start_time"].isoformat(timespec="seconds"),
    }
    with suppress(OdenetError):
        sweep = Sweep.from_document(document)
        best, ledger = sweep.best, sweep.ledger
        row |= {
            "over": len(ledger.over()),
            "trials": sweep.trials,
            "failed": sum(ledger.failures().values()),
            "pruned": ledger.counts().get(PRUNED, 0),
            "metric": sweep.space.metric,
            "best_value": best.value if best else None,
            "best_run_id": best.run_id if best else None,
        }
    return row


def sweeps_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a sweep, as `summary` gives them."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("sweep", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("space", overflow="fold")
    for heading in ("over", "failed", "pruned", "best", "run", "test"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("started (UTC)", no_wrap=True)
    for row in rows:
        is_accuracy = row["metric"] == "validation.accuracy"
        table.add_row(
            str(row["sweep_id"]),
            row["status"],
            escape(row["space"]),
            f"{shown(row['over'])}/{shown(row['trials'])}",
            shown(row["failed"]),
            shown(row["pruned"]),
            percent(row["best_value"]) if is_accuracy else number(row["best_value"], ".4f"),
            shown(row["best_run_id"]),
            percent(row["accuracy"]),
            row["started"][:16].replace("T", " "),
        )
    return table


def print_sweep(sweep: Sweep, console: Console) -> None:
    """Everything on a terminal."""
    console.print(f"[bold]{escape(headline(sweep))}[/]", highlight=False)
    console.print(subtitle(sweep), highlight=False, markup=False)
    for sentence in cautions(sweep):
        console.print(f"[yellow]•[/] {escape(sentence)}", highlight=False)
    for table in (trials_table(sweep), failures_table(sweep), checks_table(sweep), best_table(sweep)):
        console.print()
        console.print(terminal_table(table) if table.rows else f"[bold]{table.title}[/]: {table.note}")
    if sweep.best is not None:
        console.print(f"\n{shell_command(sweep.command())}", highlight=False, markup=False, soft_wrap=True)
    console.print()
    for line in [*conditions(sweep), *memory(sweep)]:
        console.print(line, highlight=False, markup=False)


def to_dict(sweep: Sweep) -> dict[str, Any]:
    """Everything as plain values."""
    accuracies = [check.accuracy for check in sweep.checked if check.accuracy is not None]
    mean, deviation = mean_and_deviation(accuracies) if accuracies else (None, None)
    best = sweep.best
    return {
        "sweep_id": sweep.sweep_id,
        "status": sweep.status,
        "space": sweep.space.text,
        "metric": sweep.space.metric,
        "mode": sweep.space.mode,
        "config": dict(sweep.config),
        "counts": sweep.ledger.counts(),
        "best": asdict(best) if best else None,
        "command": sweep.command() or None,
        "checks": [asdict(check) for check in sweep.ledger.checks],
        "accuracy": mean,
        "accuracy_deviation": deviation,
        "cautions": cautions(sweep),
        "trials": [asdict(trial) for trial in sweep.ledger.trials.values()],
        "started": sweep.started,
        "seconds": sweep.seconds,
        "machine": sweep.machine,
        "software": sweep.software,
    }


def headline(sweep: Sweep) -> str:
    """What was found."""
    over = len(sweep.ledger.over())
    if sweep.best is None:
        return f"No trial has completed: {', '.join(outcome_counts(sweep))}" if over else "No trial is over yet"
    winner = f"the best of {over:,} trials" if over > 1 else "the only trial"
    if sweep.checked:
        return f"{test_accuracy(sweep)} on test with {winner}"
    return f"{metric_words(sweep.space)} {value_text(sweep.space, sweep.best.value)} in {winner}"


def subtitle(sweep: Sweep) -> str:
    """What was searched, and what became of it."""
    aim = {"min": "lowest", "max": "highest"}[sweep.space.mode]
    counts = ", ".join(outcome_counts(sweep)) or "no trials yet"
    return f"Sweep {sweep.sweep_id} of {sweep.name}, for the {aim} {metric_words(sweep.space).lower()}: {counts}."


def outcome_counts(sweep: Sweep) -> list[str]:
    """`41 completed`, `3 failed`, …"""
    counts = sweep.ledger.counts()
    failed = sum(sweep.ledger.failures().values())
    parts = {outcome: number for outcome, number in counts.items() if outcome not in FAILURES} | {"failed": failed}
    order = ("completed", PRUNED, "failed", INTERRUPTED, RUNNING)
    return [f"{parts[name]} {name}" for name in order if parts.get(name)]


def cautions(sweep: Sweep) -> list[str]:
    """What a reader is to bear in mind."""
    return [*_unfinished(sweep), *_failed(sweep), *_at_edge(sweep), *_unchecked(sweep)]


def best_table(sweep: Sweep) -> WordTable:
    """The best configuration, and how it did."""
    best = sweep.best
    if best is None:
        return WordTable("Best configuration", (), (), "", note="No trial has completed.")
    facts = [(key, tidy(best.suggestion[key])) for key in sweep.space.parameters() if key in best.suggestion]
    return WordTable(
        "Best configuration",
        ("key", "value"),
        tuple(facts),
        "ll",
        note=f"Trial {best.number}, run {best.run_id}: {'; '.join(_reached(sweep.space, best))}. "
        f"All else is as in {' '.join([*sweep.space.words, *sweep.words]) or 'the defaults'}.",
    )


def checks_table(sweep: Sweep) -> WordTable:
    """The best configuration on seeds that the search did not use."""
    title = "On fresh seeds"
    if not sweep.ledger.checks:
        return WordTable(title, (), (), "", note=_no_checks(sweep))
    rows = [
        (str(check.run_id), str(check.seed), check.outcome, percent(check.accuracy)) for check in sweep.ledger.checks
    ]
    if sweep.checked:
        rows.append(("mean", "", f"{len(sweep.checked)} completed", test_accuracy(sweep)))
    return WordTable(
        title,
        ("run", "seed", "outcome", "test accuracy"),
        tuple(rows),
        "lrlr",
        note="The best configuration trained anew: weights, order and split of the images differ from the search's. "
        "Mean ± standard deviation (n − 1). The value that won the search is the best of many and flatters its "
        "configuration; these do not.",
    )


def failures_table(sweep: Sweep) -> WordTable:
    """What went wrong, by reason."""
    failed = [trial for trial in sweep.ledger.trials.values() if trial.has_failed]
    rows = []
    for reason, number in Counter(trial.outcome for trial in failed).most_common():
        of_reason = [trial for trial in failed if trial.outcome == reason]
        example = next((trial for trial in of_reason if trial.error), of_reason[0])
        rows.append(
            (
                FAILURES[reason],
                str(number),
                listed([str(trial.number) for trial in of_reason]),
                f"Trial {example.number}: {example.error}" if example.error else NOTHING,
            )
        )
    note = None if rows else "None."
    return WordTable("Failures", ("reason", "n", "trials", "in its words"), tuple(rows), "lrll", note)


def trials_table(sweep: Sweep) -> WordTable:
    """Every trial, in the order in which they were suggested."""
    trials = list(sweep.ledger.trials.values())
    keys = sweep.space.parameters()
    has_evaluations = any(trial.nfe_forward is not None for trial in trials)
    rows = []
    for trial in trials:
        evaluations = [number(trial.nfe_forward, ".1f")] if has_evaluations else []
        rows.append(
            (
                f"{trial.number} (best)" if trial == sweep.best else str(trial.number),
                str(trial.run_id or NOTHING),
                *(tidy(trial.suggestion[key]) if key in trial.suggestion else NOTHING for key in keys),
                f"{trial.outcome.replace('_', ' ')}{', reused' if trial.is_reused else ''}",
                value_text(sweep.space, trial.value),
                *evaluations,
                str(trial.epochs),
                number(trial.seconds, ",.1f"),
                number(trial.peak_memory_mb, ",.0f"),
            )
        )
    evaluations = ["evaluations"] if has_evaluations else []
    headings = ["trial", "run", *keys, "outcome", metric_words(sweep.space).lower(), *evaluations]
    return WordTable(
        "Trials",
        (*headings, "epochs", "seconds", "peak memory (MB)"),
        tuple(rows),
        "rr" + "r" * len(keys) + "l" + "r" * (len(evaluations) + 4),
        note=None if rows else "None yet.",
    )


def memory(sweep: Sweep) -> list[str]:
    """What the trials needed at most, and the fraction of a GPU that would do."""
    peaks = {t.number: t.peak_memory_mb for t in sweep.ledger.trials.values() if t.peak_memory_mb is not None}
    if not peaks:
        return []
    highest = max(peaks, key=lambda number: peaks[number])
    middle = median(peaks.values())
    asked = sweep.config["gpus_per_trial"]
    of_what = "torch's allocator on the GPU" if asked else "the whole process"
    said = f"Peak memory of {of_what}: {peaks[highest]:,.0f} MB at most (trial {highest}), {middle:,.0f} MB in the "
    sentences = [said + "middle."]
    if asked and sweep.gpu_memory_mb is not None:
        fits = suggest_trials_per_gpu(peaks[highest], sweep.gpu_memory_mb)
        allowance = f"{CONTEXT_MB} MB more for each process and a tenth of its {sweep.gpu_memory_mb:,.0f} MB left free"
        sentences.append(
            f"The GPU's memory, with {allowance}, is enough for {counted(fits, 'trial')} beside each other: "
            f"`--gpus-per-trial {fraction(fits)}` (this time {asked:g}), if they also go faster so."
            if fits
            else f"The GPU's memory, with {allowance}, is not enough for such a trial: give it a GPU of its own, or a "
            "smaller training.batch_size."
        )
    return sentences


def suggest_trials_per_gpu(peak_mb: float, gpu_mb: float) -> int:
    """How many trials with this peak fit into a GPU's memory; 0 if not even one does with room to spare."""
    return int(gpu_mb * (1 - FREE_SHARE) // (peak_mb + CONTEXT_MB))


def fraction(trials: int) -> float:
    """The shortest fraction of a GPU with which exactly so many trials run beside each other."""
    for decimals in range(1, 5):  # Ray counts in ten-thousandths
        rounded_down: float = 10**decimals // trials / 10**decimals
        if rounded_down > 1 / (trials + 1):
            return rounded_down
    return 1 / trials


def conditions(sweep: Sweep) -> list[str]:
    """With what it was done, a line each."""
    config = sweep.config
    share = f"{config['gpus_per_trial']:g} GPU" if config["gpus_per_trial"] else f"{config['cpus_per_trial']:g} CPU"
    pruning = "trials that fall behind are pruned (ASHA)" if config["prunes"] else "nothing is pruned"
    reused = sum(trial.is_reused for trial in sweep.ledger.trials.values())
    return [
        f"Search: Hyperopt's TPE, {counted(config['trials'], 'trial')}, the first "
        f"{min(config['initial_points'], config['trials'])} drawn at random; {pruning}; seed {config['seed']}",
        f"Workers: {config['parallel']} at a time, {share} each",
        *([f"Reused: {counted(reused, 'completed run')} with the same configuration and seed"] if reused else []),
        _times(sweep),
        f"Machine: {sweep.machine}",
        f"Software: {sweep.software}",
        f"Started: {sweep.started:%d %B %Y, %H:%M} UTC",
    ]


def metric_words(space: Space) -> str:
    """`Validation loss`."""
    return space.metric.replace(".", " ").capitalize()


def value_text(space: Space, value: float | None) -> str:
    """The metric with as many digits as one reads."""
    return percent(value) if space.metric == "validation.accuracy" else number(value, ".4f")


def suggestion_text(suggestion: Mapping[str, Any]) -> str:
    """`training.lr=0.003 model.augment=4`."""
    return " ".join(f"{key}={tidy(value)}" for key, value in suggestion.items())


def test_accuracy(sweep: Sweep) -> str:
    """Mean and standard deviation over the fresh seeds."""
    accuracies = [check.accuracy for check in sweep.checked if check.accuracy is not None]
    if not accuracies:
        return NOTHING
    mean, deviation = mean_and_deviation(accuracies)
    return percent(mean) if deviation is None else f"{100 * mean:.2f} ± {100 * deviation:.2f} %"


def percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f} %"


def number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def shown(value: Any) -> str:
    return NOTHING if value is None else str(value)


def counted(many: int, thing: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{many:,} {thing}{'' if many == 1 else 's'}"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names, the first of them where they are many."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def shell_command(words: Sequence[str]) -> str:
    """A command as one types it."""
    return shlex.join(words)


def _unfinished(sweep: Sweep) -> list[str]:
    if sweep.is_whole:
        return []
    over = f"{len(sweep.ledger.over())} of {counted(sweep.trials, 'trial')} are over"
    if len(sweep.ledger.over()) >= sweep.trials:
        over = f"The search is over, but not the {counted(sweep.config['fresh_seeds'], 'run')} on fresh seeds"
    if sweep.status == "RUNNING":
        return [f"The sweep is still running: {over}. This is how it stood when the page was written."]
    ended = {"INTERRUPTED": "was interrupted", "DIED": "died"}.get(sweep.status, "failed")
    return [f"The sweep {ended}: {over}. `odenet sweep --resume {sweep.sweep_id}` goes on with it."]


def _failed(sweep: Sweep) -> list[str]:
    failed, over = sum(sweep.ledger.failures().values()), len(sweep.ledger.over())
    if not failed or failed <= MANY_FAILURES * over:
        return []
    reason, _ = Counter(sweep.ledger.failures()).most_common(1)[0]
    return [
        f"{failed} of {counted(over, 'trial')} failed, most often by {FAILURES[reason]}: the space may be too wide."
    ]


def _at_edge(sweep: Sweep) -> list[str]:
    if sweep.best is None:
        return []
    axes = build_axes(sweep.space, sweep.ledger.over())
    given = sweep.best.suggestion
    keys = [axis.key for axis in axes if axis.key in given and axis.is_at_edge(given[axis.key])]
    return [
        f"The best {key}, {tidy(given[key])}, lies at the edge of its range: better ones may lie beyond."
        for key in keys
    ]


def _unchecked(sweep: Sweep) -> list[str]:
    checks = sweep.ledger.checks
    lost = len(checks) - len(sweep.checked)
    sentences = [f"{lost} of {counted(len(checks), 'run')} on fresh seeds did not complete."] if lost else []
    if len(sweep.checked) == 1:
        sentences.append("A single run on a fresh seed says nothing of how much the accuracy varies with the seed.")
    return sentences


def _no_checks(sweep: Sweep) -> str:
    wanted = sweep.config["fresh_seeds"]
    if not wanted:
        return "None was asked for."
    if sweep.is_whole:
        return "No trial completed, so there was nothing to try."
    return f"{counted(wanted, 'run')} on fresh seeds follow the search."


def _reached(space: Space, trial: Trial) -> list[str]:
    facts = [f"{metric_words(space).lower()} {value_text(space, trial.value)}"]
    if space.metric != "validation.accuracy" and trial.accuracy is not None:
        facts.append(f"validation accuracy {percent(trial.accuracy)}")
    if trial.nfe_forward is not None:
        facts.append(f"{trial.nfe_forward:.1f} evaluations per batch")
    return [*facts, counted(trial.epochs, "epoch"), duration(trial.seconds)]


def _times(sweep: Sweep) -> str:
    total = sum(trial.seconds for trial in sweep.ledger.trials.values() if not trial.is_reused)
    if sweep.seconds is None:
        return f"Time: the trials' epochs took {duration(total)} in sum; wall time unknown, as the sweep was resumed"
    return (
        f"Time: {duration(sweep.seconds)} on the clock, with everything; the trials' epochs took {duration(total)} in "
        f"sum, {duration(total / sweep.config['parallel'])} a worker"
    )
