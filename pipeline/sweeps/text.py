"""What there is to say of a sweep, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from pipeline.reporting.metric_spec import MetricSpec
from pipeline.reporting.seeds import mean_and_deviation
from pipeline.reporting.text_table import NOTHING, shown
from pipeline.reporting.words import counted, duration, listed, sentence_case
from pipeline.sweeps.axes import build_axes, tidy
from pipeline.sweeps.space import Space
from pipeline.sweeps.state import (
    COMPLETED,
    FAILURES,
    INTERRUPTED,
    PRUNED,
    REPEATABLE,
    RUNNING,
    Check,
    SweepState,
    Trial,
)
from pipeline.sweeps.stored import Sweep
from pipeline.tracking.run_document import RunStatus

FREE_SHARE = 0.1
"""Of a GPU's memory, that no trial is to count on."""
CONTEXT_MB = 600
"""Of a GPU's memory, about what CUDA takes for each process beside what torch allocates; an estimate."""
SPLITS = ("training", "validation", "test")
AIMS = {"min": "lowest", "max": "highest"}
EVALUATIONS = "solver.nfe_forward"
AUGMENTATIONS = ("data.flip", "data.crop_padding", "data.cutout")
"""Keys of the data that change nothing about the validation split."""
MANY_FAILURES = 0.2
"""Share of the trials."""


def headline(sweep: Sweep) -> str:
    """What was found."""
    over = len(sweep.state.over())
    if sweep.nearest is not None:
        return never_met(sweep, sweep.nearest)
    if not sweep.front:
        return f"No trial has completed: {', '.join(outcome_counts(sweep))}" if over else "No trial is over yet"
    if sweep.best is None:
        are = f"{len(sweep.front)} of {over:,} trials {'is' if len(sweep.front) == 1 else 'are'}"
        return f"{are} on the Pareto front of {goal_words(sweep.space)}"
    winner = f"the best of {over:,} trials" if over > 1 else "the only trial"
    if sweep.checked:
        name = "" if sweep.space.task.result.is_share else f"{sentence_case(sweep.space.task.result.heading)} "
        return f"{name}{test_result(sweep)} on test with {winner}"
    return f"{sentence_case(metric_words(sweep.space))} {value_text(sweep.space, sweep.best.value)} in {winner}"


def subtitle(sweep: Sweep) -> str:
    """What was searched, and what became of it."""
    aims = [f"the {AIMS[o.mode]} {spec_words(sweep.space.spec_of(o.metric))}" for o in sweep.space.goal.objectives]
    bounds = f", with {constraints_text(sweep.space)}" if sweep.space.goal.constraints else ""
    counts = ", ".join(outcome_counts(sweep)) or "no trials yet"
    return f"Sweep {sweep.sweep_id} of {sweep.name}, for {' and '.join(aims)}{bounds}: {counts}."


def never_met(sweep: Sweep, nearest: Trial) -> str:
    """That no trial meets the constraints, and how near one came."""
    over, missed = len(sweep.state.over()), sweep.space.goal.violated(nearest.measured)
    subject = f"None of {over:,} trials meets" if over > 1 else "The only trial does not meet"
    came = " and ".join(measured_text(sweep.space, constraint.metric, nearest) for constraint in missed)
    which = f"the nearest, trial {nearest.number} (run {nearest.run_id}),"
    return f"{subject} {constraints_text(sweep.space)}: {which} has {came}"


def outcome_counts(sweep: Sweep) -> list[str]:
    """`41 completed`, `3 failed`, …"""
    counts = Counter(trial.outcome for trial in sweep.state.trials.values() if not trial.has_failed)
    counts["failed"] = sum(sweep.state.failures().values())
    violating = count_violating(sweep.state)
    if sweep.status is not RunStatus.RUNNING:  # then its trials are not, either, though nobody was there to say so
        counts[INTERRUPTED] += counts.pop(RUNNING, 0)
    more = {COMPLETED: f" ({violating} violating a constraint)"} if violating else {}
    names = (COMPLETED, PRUNED, "failed", INTERRUPTED, RUNNING)
    return [f"{counts[name]} {name}{more.get(name, '')}" for name in names if counts[name]]


def count_violating(state: SweepState) -> int:
    """How many completed trials violate a constraint."""
    return sum(trial.outcome == COMPLETED and bool(trial.violates) for trial in state.trials.values())


def cautions(sweep: Sweep) -> list[str]:
    """What a reader is to bear in mind."""
    return [
        *_unfinished(sweep),
        *_failed(sweep),
        *_judged_on_other_data(sweep),
        *_at_edge(sweep),
        *_unchecked(sweep),
        *_flattering_front(sweep),
        *_costs_of_machine(sweep),
    ]


def conditions(sweep: Sweep) -> list[str]:
    """With what it was done, a line each."""
    config = sweep.config
    asked, kind = (config["gpus_per_trial"], "GPU") if config["gpus_per_trial"] else (config["cpus_per_trial"], "CPU")
    pruning = "trials that fall behind are pruned (ASHA)" if config["prunes"] else "nothing is pruned"
    reused = sum(trial.is_reused for trial in sweep.state.trials.values())
    return [
        f"Search: Hyperopt's TPE, {counted(config['trials'], 'trial')}, the first "
        f"{min(config['initial_points'], config['trials'])} drawn at random; {pruning}; seed {config['seed']}",
        *_how_goals_steer(sweep.space),
        f"Workers: {config['parallel']} at a time, {asked:g} {kind}{'s' if asked > 1 else ''} each",
        *([f"Reused: {counted(reused, 'completed run')} with the same configuration and seed"] if reused else []),
        _times(sweep),
        f"Machine: {sweep.machine}",
        f"Software: {sweep.software}",
        f"Started: {sweep.started:%d %B %Y, %H:%M} UTC",
    ]


def memory(sweep: Sweep) -> list[str]:
    """What the trials needed at most, and the fraction of a GPU that would do."""
    peaks = {t.number: t.peak_memory_mb for t in sweep.state.trials.values() if t.peak_memory_mb is not None}
    if not peaks:
        return []
    highest = max(peaks, key=lambda number: peaks[number])
    middle = median(peaks.values())
    asked = sweep.config["gpus_per_trial"]
    of_what = "torch's allocator on the GPU" if asked else "the process, which a worker keeps from trial to trial"
    most = f"{peaks[highest]:,.0f} MB at most (trial {highest}), {middle:,.0f} MB in the middle"
    sentences = [f"Peak memory of {of_what}: {most}"]
    if asked and sweep.gpu_memory_mb is not None:
        fits = suggest_trials_per_gpu(peaks[highest], sweep.gpu_memory_mb)
        allowance = f"{CONTEXT_MB} MB more for each process and a tenth of its {sweep.gpu_memory_mb:,.0f} MB left free"
        sentences.append(
            f"The GPU's memory, with about {allowance}, is enough for {counted(fits, 'trial')} beside each other: "
            f"`--gpus-per-trial {fraction(fits)}` (this time {asked:g}), if they also go faster so."
            if fits
            else f"The GPU's memory, with about {allowance}, is not enough for such a trial: take a larger one, "
            "or a smaller training.batch_size."
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


def metric_words(space: Space) -> str:
    """`validation loss`, or `evaluations`."""
    return spec_words(space.spec)


def spec_words(spec: MetricSpec) -> str:
    """A metric with its split, if it has one."""
    return f"{spec.split} {spec.heading}" if spec.split in SPLITS else spec.heading


def goal_words(space: Space) -> str:
    """`validation accuracy and evaluations`."""
    return " and ".join(spec_words(space.spec_of(objective.metric)) for objective in space.goal.objectives)


def constraints_text(space: Space) -> str:
    """`solver.nfe_forward <= 30 and validation.accuracy >= 0.9`."""
    return " and ".join(map(str, space.goal.constraints))


def measured_text(space: Space, metric: str, trial: Trial) -> str:
    """`evaluations 26.0`: a metric of the goal with the trial's value."""
    return f"{spec_words(space.spec_of(metric))} {measured_value(space, metric, trial)}"


def measured_value(space: Space, metric: str, trial: Trial) -> str:
    """The trial's value of a metric of the goal."""
    value = trial.measured.get(metric, trial.value if metric == space.metric else None)
    return metric_text(space.spec_of(metric), value)


def value_text(space: Space, value: float | None) -> str:
    """The metric with as many digits as one reads."""
    return metric_text(space.spec, value)


def metric_text(spec: MetricSpec, value: float | None) -> str:
    """The value of a metric; a share in per cent."""
    if not spec.is_share:
        return shown(value, spec.format)
    return shown(value, lambda share: f"{100 * share:{spec.format[:-1]}f} %")


def outcome_text(trial: Trial) -> str:
    """`completed`, `loss diverged`, `completed, violates solver.nfe_forward <= 30`, …"""
    reused = ", reused" if trial.is_reused else ""
    return f"{trial.outcome.replace('_', ' ')}{reused}{_violation(trial.violates)}"


def check_text(check: Check) -> str:
    """How a run on a fresh seed ended."""
    return f"{check.outcome}{_violation(check.violates)}"


def _violation(violates: Sequence[str]) -> str:
    return f", violates {' and '.join(violates)}" if violates else ""


def suggestion_text(suggestion: Mapping[str, Any]) -> str:
    """`training.lr=0.003 model.augment=4`."""
    return " ".join(f"{key}={tidy(value)}" for key, value in suggestion.items())


def last_names(suggestion: Mapping[str, Any]) -> dict[str, Any]:
    """The keys without their sections, where there is little room."""
    return {key.rpartition(".")[2]: value for key, value in suggestion.items()}


def test_result(sweep: Sweep) -> str:
    """Mean and standard deviation over the fresh seeds."""
    results, spec = [check.result for check in sweep.checked if check.result is not None], sweep.space.task.result
    if not results:
        return NOTHING
    mean, deviation = mean_and_deviation(results)
    if deviation is None:
        return metric_text(spec, mean)
    return f"{metric_text(spec, mean).removesuffix(' %')} ± {metric_text(spec, deviation)}"


def reached(space: Space, trial: Trial) -> list[str]:
    """What a trial came to."""
    metrics, beside = space.goal.metrics, space.task.validation_result
    facts = [measured_text(space, metric, trial) for metric in metrics]
    if beside is not None and beside.name not in metrics and trial.validation_result is not None:
        facts.append(f"{beside.split} {beside.heading} {metric_text(beside, trial.validation_result)}")
    if trial.nfe_forward is not None and EVALUATIONS not in metrics:
        facts.append(f"{trial.nfe_forward:.1f} evaluations per batch")
    return [*facts, counted(trial.epochs, "epoch"), duration(trial.seconds)]


def _unfinished(sweep: Sweep) -> list[str]:
    if sweep.is_whole:
        return []
    over = f"{len(sweep.state.over())} of {counted(sweep.trials, 'trial')} are over"
    if len(sweep.state.over()) >= sweep.trials:
        over = f"the search is over, but not the {counted(sweep.config['fresh_seeds'], 'run')} on fresh seeds"
    if sweep.status is RunStatus.RUNNING:
        return [f"The sweep is still running: {over}. This is how it stood when the page was written."]
    endings = {
        RunStatus.INTERRUPTED: "was interrupted",
        RunStatus.DIED: "died",
        RunStatus.COMPLETED: "ended",
    }
    if len(sweep.state.over()) < sweep.trials:
        endings[RunStatus.COMPLETED] += f" after the {sweep.config.get('minutes') or 0:g} minutes that it was given"
    ended = endings.get(sweep.status, "failed")
    return [f"The sweep {ended}: {over}. `odenet sweep --resume {sweep.sweep_id}` goes on with it."]


def _failed(sweep: Sweep) -> list[str]:
    failed, over = sum(sweep.state.failures().values()), len(sweep.state.over())
    if not failed or failed <= MANY_FAILURES * over:
        return []
    reason, _ = Counter(sweep.state.failures()).most_common(1)[0]
    told = f"{failed} of {counted(over, 'trial')} failed, most often by {FAILURES[reason]}"
    if reason in REPEATABLE:
        return [f"{told}: the space may be too wide."]
    error = sweep.state.commonest_error(reason)
    return [f"{told}: {error}." if error else f"{told}."]


def _judged_on_other_data(sweep: Sweep) -> list[str]:
    keys = [key for key in sweep.space.parameters() if key.startswith("data.") and key not in AUGMENTATIONS]
    judged = [metric for metric in sweep.space.goal.metrics if metric.startswith("validation.")]
    if not keys or not judged:
        return []
    return [
        f"To search {listed(keys)} changes what trials are validated on: their {listed(judged)} is not of the same "
        "data, and the best may be of the easiest."
    ]


def _at_edge(sweep: Sweep) -> list[str]:
    if sweep.best is None:
        return []
    axes = build_axes(sweep.space, sweep.state.over())
    given = sweep.best.suggestion
    keys = [axis.key for axis in axes if axis.key in given and axis.is_at_edge(given[axis.key])]
    return [
        f"The best {key}, {tidy(given[key])}, lies at the edge of its range: better ones may lie beyond."
        for key in keys
    ]


def _unchecked(sweep: Sweep) -> list[str]:
    checks = sweep.checks
    lost = len(checks) - len(sweep.checked)
    sentences = [f"{lost} of {counted(len(checks), 'run')} on fresh seeds did not complete."] if lost else []
    if violating := sum(bool(check.violates) for check in checks):
        sentences.append(
            f"{violating} of {counted(len(checks), 'run')} of the best on fresh seeds violate a constraint that it met "
            "in the search."
        )
    if len(sweep.checked) == 1:
        heading = sweep.space.task.result.heading
        sentences.append(f"A single run on a fresh seed says nothing of how much the {heading} varies with the seed.")
    return sentences


def _flattering_front(sweep: Sweep) -> list[str]:
    if sweep.space.goal.is_single or not sweep.front:
        return []
    return [
        "The values on the front are those of one seed, chosen among many on the validation split, and flatter their "
        "configurations: train those that you would take anew, on several seeds."
    ]


def _costs_of_machine(sweep: Sweep) -> list[str]:
    metrics, sentences = sweep.space.goal.metrics, []
    timed = [metric for metric in metrics if metric.startswith("time.")]
    if timed and sweep.config["parallel"] > 1:
        sentences.append(
            f"{' and '.join(timed)} was taken with {sweep.config['parallel']} trials beside each other, which slow "
            "each other down: `--parallel 1` takes it alone."
        )
    if "memory.peak_mb" in metrics and not sweep.config["gpus_per_trial"]:
        sentences.append(
            "memory.peak_mb is the highest that the process has had so far, which a worker keeps from trial to trial: "
            "on a CPU it says little of a single one."
        )
    return sentences


def _how_goals_steer(space: Space) -> list[str]:
    lines = []
    if not space.goal.is_single:
        lines.append(
            "Several objectives: trials rank by levels of non-domination, within a level by their crowding distance "
            "(as in NSGA-II)"
        )
    if space.goal.constraints:
        lines.append(
            f"Constraints: {constraints_text(space)}; trials that violate them rank behind all others, by how much "
            "they miss them"
        )
    if space.goal.is_of_kept_weights:
        lines.append("Values: of the epoch with the lowest validation loss, whose weights a run keeps")
    return lines


def _times(sweep: Sweep) -> str:
    total = sum(trial.seconds for trial in sweep.state.trials.values() if not trial.is_reused)
    if sweep.seconds is None:
        return f"Time: the trials' epochs took {duration(total)} in sum; wall time unknown, as the sweep was resumed"
    return (
        f"Time: {duration(sweep.seconds)} on the clock, with everything; the trials' epochs took {duration(total)} in "
        f"sum, {duration(total / sweep.config['parallel'])} a worker"
    )
