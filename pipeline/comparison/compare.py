"""Runs set beside each other: what differs between them, what they reached, what it cost, whether it is fair.

from pipeline.comparison.compare import compare
from pipeline.runs.query import Runs
runs = Runs()
comparison = compare([runs.get(run_id) for run_id in (3, 4, 5, 6)])
comparison.groups[0].spread("accuracy")
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from typing import Any

from pipeline.comparison.compared_run import ComparedRun, failure_of, read_run
from pipeline.comparison.groups import Group, config_differences, group_runs
from pipeline.comparison.holm import adjust_holm
from pipeline.plugins import registry
from pipeline.plugins.loading import naming_plugin_failures
from pipeline.reporting.metric_spec import MetricSpec, specs_by_name
from pipeline.runs.query import StoredRun
from pipeline.runs.stored_parts import load_plugins_of
from pipeline.tasks.pairing import PairedTest, paired_test_of
from pipeline.tracking.conditions import machine, software
from pipeline.tracking.run_document import is_of_task, is_sweep, logged_specs, metric_specs, plugins_of
from pipeline.util.errors import InvalidInput, OdenetError


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
    """Why runs that could have been expected among the tests are not, by sentences."""

    @property
    def runs(self) -> tuple[ComparedRun, ...]:
        return tuple(run for group in self.groups for run in group.runs)

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Those of the runs' tasks, each once; without a unit where tasks have others."""
        found = (spec for run in self.runs for spec in (*metric_specs(run.document), *logged_specs(run.document)))
        specs, _ = specs_by_name(found)
        return tuple(specs.values())

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


@naming_plugin_failures()
def compare(stored: Sequence[StoredRun]) -> Comparison:
    """The runs grouped by configuration, tested against each other where they saw the same test items.

    Groups and runs keep the order in which they are given; a difference is of the earlier less the later. The plug-ins
    of runs of a plug-in's task are loaded from where they were, if they are what they were, as the task may have a
    test; without them there is none.

    Raises:
        InvalidInput: fewer than two runs, one of them named twice, or one that trained nothing.
        ArtifactError: predictions that were changed since they were stored.
        PluginError: the test of a plug-in's task fails.
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
    is_one_task = len({run.task for run in stored}) == 1
    missing = _load_task(stored) if is_one_task else ()
    groups = group_runs([read_run(run) for run in stored])
    paired_test = paired_test_of(stored[0].task) if is_one_task else None
    tests, untested = _test(groups, paired_test) if paired_test is not None else ((), missing)
    return Comparison(groups, config_differences(groups), paired_test, tests, untested)


def _load_task(stored: Sequence[StoredRun]) -> tuple[str, ...]:
    """Load the plug-ins of the first run whose task is then here; a sentence where that cannot be."""
    if stored[0].task in registry.names("task"):
        return ()
    reasons = []
    for run in stored:
        if not is_of_task(run.document) or not plugins_of(run.document):
            continue
        try:
            load_plugins_of(run)
        except OdenetError as error:
            reasons.append(f"Pairs of runs are not tested, as the task {run.task} may say how: {error}.")
        else:
            return ()
    return tuple(reasons[:1])


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


def _group_dict(group: Group) -> dict[str, Any]:
    quantities = dict.fromkeys(quantity for run in group.runs for quantity in run.values)
    spreads = {quantity: group.spread(quantity) for quantity in quantities}
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
