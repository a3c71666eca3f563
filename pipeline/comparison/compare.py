"""Runs set beside each other: what differs between them, what they reached, what it cost, whether it is fair.

from pipeline.comparison.compare import compare
from pipeline.runs.query import Runs
runs = Runs()
comparison = compare([runs.get(run_id) for run_id in (3, 4, 5, 6)])
comparison.groups[0].spread("accuracy")
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from math import isfinite
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.holm import adjust_holm
from pipeline.comparison.quantities import OF_MACHINE
from pipeline.config.display_names import UNKNOWN, model_name
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.runs.query import ArtifactError, StoredRun
from pipeline.tasks.classification.answers import Answers, count_confusion
from pipeline.tasks.pairing import PairedTest, paired_test_of
from pipeline.tracking.conditions import machine, software
from pipeline.tracking.run_document import (
    BETWEEN_EPOCHS,
    MACHINE,
    RunInfo,
    RunStatus,
    is_sweep,
    is_tracked,
    logged_specs,
    metric_specs,
    result_spec,
    task_of,
    test_specs,
)
from pipeline.util.array_types import IntArray
from pipeline.util.errors import InvalidInput

_ENDINGS = {
    RunStatus.INTERRUPTED: "interrupted",
    RunStatus.PRUNED: "its sweep ended it early",
    RunStatus.DIED: "its process ended without a word",
}


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run by what a comparison asks of it; what it has not come to is None."""

    run_id: Any
    seed: int | None
    status: RunStatus
    document: Mapping[str, Any]
    """The run's, as it is stored."""
    info: RunInfo
    config: Mapping[str, Any]
    """Flat: dotted key -> value."""
    values: Mapping[str, float | None]
    """Quantity -> its value: each metric of the test split by its own name, parameters, …"""
    history: pd.DataFrame
    """Metrics in columns, epochs as index."""
    answers: Any
    """To the test split, as its task's paired test takes them."""

    @property
    def completed(self) -> bool:
        return self.status is RunStatus.COMPLETED


@dataclass(frozen=True)
class Spread:
    """A quantity over the runs of a group that have it."""

    mean: float
    standard_deviation: float | None
    """Of the sample (n - 1); None for a single run."""
    n: int


@dataclass(frozen=True)
class Group:
    """The runs that differ in nothing but their seed."""

    letter: str
    name: str
    runs: tuple[ComparedRun, ...]

    @property
    def label(self) -> str:
        return f"{self.letter}: {self.name}"

    @property
    def completed(self) -> tuple[ComparedRun, ...]:
        return tuple(run for run in self.runs if run.completed)

    @property
    def config(self) -> dict[str, Any]:
        """The runs' configuration without the seed."""
        return without_seed(self.runs[0].config)

    def spread(self, quantity: str) -> Spread | None:
        """Mean and standard deviation over the completed runs; None where none of them has the quantity."""
        values = [value for run in self.completed if (value := run.values.get(quantity)) is not None]
        if not values:
            return None
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return Spread(float(np.mean(values)), deviation, len(values))

    def confusion(self) -> IntArray | None:
        """Counts of test images summed over the completed runs, shape (true class, predicted class).

        None where no run has predictions, or the task has no classes.
        """
        of_runs = [run.answers for run in self.completed if _classes(run) == self.classes]
        answers = [one for one in of_runs if isinstance(one, Answers)]
        if not self.classes or not answers:
            return None
        return count_confusion(answers, len(self.classes))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty where no run completed, or the task has none."""
        return _classes(self.completed[0]) if self.completed else ()


def _classes(run: ComparedRun) -> tuple[str, ...]:
    """Of what may be answered: series may be of classes, and what is answered of them is none."""
    is_classified = isinstance(run.answers, Answers | None)
    return tuple(run.info.data.get("classes", ())) if is_classified else ()


@dataclass(frozen=True)
class PairTest:
    """Two runs on the same test items."""

    first: int
    second: int
    test: Any
    """What the task's paired test gives."""
    adjusted_p_value: float
    """Holm's, for all pairs of the comparison."""


@dataclass(frozen=True)
class Comparison:
    """Groups of runs beside each other."""

    groups: tuple[Group, ...]
    config_differences: Mapping[str, tuple[Any, ...]]
    """Dotted key -> its value in each group, for the keys whose values differ; None where a group lacks the key."""
    paired_test: PairedTest | None
    """Of the runs' task; None where it has none, or the runs are of several."""
    tests: tuple[PairTest, ...]
    untested: tuple[str, ...]
    """Why runs that could have been expected among the tests are not."""

    @property
    def runs(self) -> tuple[ComparedRun, ...]:
        return tuple(run for group in self.groups for run in group.runs)

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Those of the runs' tasks, each once."""
        specs = [spec for run in self.runs for spec in (*metric_specs(run.document), *_logged(run.document))]
        return tuple({spec.name: spec for spec in specs}.values())

    def group_of(self, run_id: int) -> Group:
        """The group that has the run."""
        return next(group for group in self.groups if any(run.run_id == run_id for run in group.runs))

    def to_dict(self) -> dict[str, Any]:
        """Plain values with finite numbers, without the learning curves, which `odenet show` gives."""
        return {
            "groups": [_group_dict(group) for group in self.groups],
            "config_differences": {key: list(values) for key, values in self.config_differences.items()},
            "tests": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    **asdict(pair.test),
                    "adjusted_p_value": pair.adjusted_p_value,
                }
                for pair in self.tests
            ],
            "untested": list(self.untested),
        }


def compare(stored: Sequence[StoredRun]) -> Comparison:
    """The runs grouped by configuration, tested against each other where they saw the same test items.

    Groups and runs keep the order in which they are given; a difference is of the earlier less the later.

    Raises:
        InvalidInput: fewer than two runs, one of them named twice, or one that trained nothing.
        ArtifactError: predictions that were changed since they were stored.
    """
    ids = [run.run_id for run in stored]
    twice = sorted({run_id for run_id in ids if ids.count(run_id) > 1})
    if twice:
        raise InvalidInput(f"run {twice[0]} is named twice; name each run to compare once")
    if len(ids) < 2:
        raise InvalidInput(f"a comparison needs at least two runs, not {len(ids)}; `odenet runs` lists those there are")
    for run in stored:
        if is_sweep(run.document):
            raise InvalidInput(
                f"run {run.run_id} is a sweep: compare its trials, `odenet sweeps show {run.run_id}` lists them"
            )
        if run.facts.measurement is not None:
            raise InvalidInput(f"run {run.run_id} trained nothing, it measured single steps: leave it out")
        if (parent := run.facts.parent) is not None:
            raise InvalidInput(f"run {run.run_id} trained nothing, it evaluates run {parent}: compare run {parent}")
    groups = _group([read_run(run) for run in stored])
    tasks = {run.task for run in stored}
    paired_test = paired_test_of(stored[0].task) if len(tasks) == 1 else None
    tests, untested = _test(groups, paired_test) if paired_test is not None else ((), ())
    return Comparison(groups, config_differences(groups), paired_test, tests, untested)


def without_seed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A flat configuration but for the seed."""
    return {key: value for key, value in config.items() if key != "seed"}


# Reading


def read_run(run: StoredRun) -> ComparedRun:
    """The run by what a comparison asks of it."""
    info, metrics = run.facts, run.metrics()
    history = pd.DataFrame({name: one for name, one in metrics.items() if not name.startswith(BETWEEN_EPOCHS)})
    return ComparedRun(
        run_id=run.run_id,
        seed=run.config.get("seed"),
        status=run.status,
        document=run.document,
        info=info,
        config=run.whole_config,
        values={name: _finite(value) for name, value in _values(run, info, history, metrics).items()},
        history=history,
        answers=_answers(run),
    )


def _values(
    run: StoredRun, info: RunInfo, history: pd.DataFrame, metrics: Mapping[str, "pd.Series[float]"]
) -> dict[str, float | None]:
    def series(metric: str) -> "pd.Series[float]":
        return history.get(metric, pd.Series(dtype=float))

    result = result_spec(run.document).quantity
    tested = {spec.quantity: info.test.get(spec.quantity) for spec in test_specs(run.document)}
    tested |= {spec.quantity: series(spec.quantity).dropna().tail(1).mean() for spec in _logged(run.document)}
    if run.is_foreign:  # whose tests nobody knows: what its series came to
        tested = {name: series(name).iloc[-1] for name in tested if name in history and len(history)}
    if tested.get(result) is None and isinstance(run.result, int | float):
        tested[result] = run.result
    seconds = series("time.epoch_seconds")
    return {
        **tested,
        "epochs": None if is_tracked(run.document) else len(history) or None,
        "parameters": info.parameters,
        "multiply_adds": info.multiply_adds,
        "multiply_adds_per_evaluation": info.multiply_adds_per_evaluation,
        "multiply_adds_test": _multiply_adds_test(run, info),
        "nfe_test": info.nfe_test,
        "nfe_forward": series("solver.nfe_forward").tail(1).mean(),  # the last, as in `odenet runs`
        "nfe_backward": series("solver.nfe_backward").tail(1).mean(),
        "epoch_seconds": info.epoch_seconds or seconds.median(),
        "training_seconds": seconds.sum(min_count=1),
        "images_per_second": series("time.images_per_second").median(),
        "peak_memory_mb": series("memory.peak_mb").max(),
        **{name: one.mean() for name in OF_MACHINE if (one := metrics.get(f"{MACHINE}{name}")) is not None},
    }


def _logged(document: Mapping[str, Any]) -> tuple[MetricSpec, ...]:
    return logged_specs(document) if is_tracked(document) else ()


def _multiply_adds_test(run: StoredRun, info: RunInfo) -> float | None:
    """Multiply-adds of one test sample with the evaluations that the solver made; all fields of a network are alike."""
    total, per_evaluation = info.multiply_adds, info.multiply_adds_per_evaluation
    evaluations = info.nfe_per_sample or info.nfe_test
    if total is None or per_evaluation is None:
        return total
    if evaluations is None:
        return None
    model = run.config["model"]
    ode_blocks = 1 if model.get("architecture") == "complex" else model.get("blocks", 1)
    return total - per_evaluation + per_evaluation * evaluations / ode_blocks


def _finite(value: Any) -> float | None:
    """The number, if it is one: a stored document may have been changed."""
    return float(value) if isinstance(value, int | float | np.number) and isfinite(value) else None


def _answers(run: StoredRun) -> Any:
    test = paired_test_of(run.task)
    if test is None or test.artifact not in run.artifacts:
        return None
    try:
        return test.read(run.artifact(test.artifact))
    except ValueError as error:
        raise ArtifactError(
            f"the artifact {test.artifact} of run {run.run_id} holds no predictions; evaluate the run again"
        ) from error


def failure_of(run: ComparedRun) -> str | None:
    """What ended it, in a sentence, where it did not complete."""
    if run.completed:
        return None
    if run.status is not RunStatus.FAILED:
        return _ENDINGS.get(run.status, "it is not over")
    if (solve := run.info.solver_failure) is not None:
        reason = solve["status"].replace("_", " ")
        return f"solve ended by {reason} at t = {solve['t']:.4g}; odenet show {run.run_id} tells more"
    lines = [line.strip() for line in run.document.get("fail_trace") or [] if line.strip()]
    return re.sub(r"^pipeline[\w.]*: ", "", lines[-1]) if lines else "it left no trace"


# Grouping


def _group(runs: Sequence[ComparedRun]) -> tuple[Group, ...]:
    alike: list[list[ComparedRun]] = []
    for run in runs:
        for members in alike:
            if _kind(members[0]) == _kind(run):
                members.append(run)
                break
        else:
            alike.append([run])
    names = _names([members[0] for members in alike])
    return tuple(
        Group(letter(number), name, tuple(members))
        for number, (name, members) in enumerate(zip(names, alike, strict=True))
    )


def _kind(run: ComparedRun) -> tuple[str, Mapping[str, Any], list[str]]:
    return task_of(run.document), without_seed(run.config), _plugins(run)


def _plugins(run: ComparedRun) -> list[str]:
    """Its plug-ins' files, by content."""
    plugins = run.document.get("experiment", {}).get("plugins", [])
    return sorted(f"{plugin['name']} {str(plugin['file_id'])[:7]}" for plugin in plugins)


def letter(number: int) -> str:
    """A to Z, then A1 to Z1, …"""
    rounds, index = divmod(number, len(ascii_uppercase))
    return ascii_uppercase[index] + (str(rounds) if rounds else "")


def _names(runs: Sequence[ComparedRun]) -> list[str]:
    """The models' names, or the experiments'; those of one name are told apart by what differs between them.

    That is their configuration, and else the content of their plug-ins.
    """
    configs = [run.config for run in runs]
    models = [model_name({key.removeprefix("model."): value for key, value in c.items()}) for c in configs]
    models = [task_of(run.document) if model == UNKNOWN else model for run, model in zip(runs, models, strict=True)]
    names = []
    for config, model in zip(configs, models, strict=True):
        namesakes = [other for other, name in zip(configs, models, strict=True) if name == model]
        apart = [key for key in _differing_keys(namesakes) if key != "seed"]
        names.append(", ".join([model, *(f"{key}={config.get(key)}" for key in apart)]))
    return [
        name if names.count(name) == 1 else ", ".join([name, *_plugins(run)])
        for name, run in zip(names, runs, strict=True)
    ]


def config_differences(groups: Sequence[Group]) -> dict[str, tuple[Any, ...]]:
    configs = [group.config for group in groups]
    return {key: tuple(config.get(key) for config in configs) for key in _differing_keys(configs)}


def _differing_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = sorted({key for config in configs for key in config})
    return [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]


# Testing


def _test(groups: Sequence[Group], how: PairedTest) -> tuple[tuple[PairTest, ...], tuple[str, ...]]:
    without = [run for group in groups for run in group.runs if run.answers is None]
    untested = [f"Run {run.run_id} has no predictions ({run.status})." for run in without]
    pairs, tests = [], []
    for first, second in _pairs(groups):
        if first.answers is None or second.answers is None:
            continue
        if first.info.data_sha256 != second.info.data_sha256 or not how.have_same_items(first.answers, second.answers):
            untested.append(f"Runs {first.run_id} and {second.run_id} were not tested on the same {how.items}.")
            continue
        pairs.append((first.run_id, second.run_id))
        tests.append(how.compare(first.answers, second.answers))
    adjusted = adjust_holm([test.p_value for test in tests])
    found = zip(pairs, tests, adjusted, strict=True)
    return tuple(PairTest(first, second, test, p) for (first, second), test, p in found), tuple(untested)


def _pairs(groups: Sequence[Group]) -> list[tuple[ComparedRun, ComparedRun]]:
    """Runs of two groups with the same seed, which trained on the same samples; of groups without one, all.

    Of a single group, every two runs.
    """
    if len(groups) == 1:
        return list(combinations(groups[0].runs, 2))
    chosen = []
    for first, second in combinations(groups, 2):
        pairs = list(product(first.runs, second.runs))
        chosen += [pair for pair in pairs if pair[0].seed == pair[1].seed] or pairs
    return chosen


# Plain values


def _group_dict(group: Group) -> dict[str, Any]:
    spreads = {quantity: group.spread(quantity) for quantity in group.runs[0].values}
    confusion = group.confusion()
    return {
        "group": group.letter,
        "name": group.name,
        "config": group.config,
        "started": len(group.runs),
        "completed": len(group.completed),
        "values": {quantity: asdict(spread) if spread else None for quantity, spread in spreads.items()},
        "confusion": confusion.tolist() if confusion is not None else None,
        "classes": list(group.classes),
        "runs": [_run_dict(run) for run in group.runs],
    }


def _run_dict(run: ComparedRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "seed": run.seed,
        "status": run.status.value,
        "failure": failure_of(run),
        "stopped_early": run.info.stopped_early,
        "best_epoch": run.info.best_epoch,
        "machine": machine(run.document),
        "software": software(run.document),
        "values": dict(run.values),
    }
