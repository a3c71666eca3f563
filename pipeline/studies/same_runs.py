"""Which runs of the store are those that a study asks for, so that nothing is done twice.

A stored run is the same as an asked one where

- the task and the whole configuration are equal, defaults and seed included (keys that the stored run is too old to
  have count as their defaults);
- the plug-ins whose sources it stored are those that are loaded now, by content;
- it ran on the same kind of device, a processor or a GPU;
- it came to an end that doing it again would come to as well: completed, or ended by the solver or by a loss that
  became no number;
- with `same_sources`, the sources that decide numbers are those of this checkout, by content.

A re-evaluation is one of such a run, on the items that it was tested on, and likewise but for the configuration.
"""

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.runs.alike import has_same_plugins
from pipeline.runs.query import Runs, StoredRun
from pipeline.sweeps.state import REPEATABLE
from pipeline.tasks.solver_grid import Row, Setting
from pipeline.tracking.gridfs import content_id
from pipeline.tracking.provenance import ROOT, source_files
from pipeline.tracking.run_document import MEASUREMENT, REEVALUATION, RunStatus, is_of_task, is_sweep, task_of
from pipeline.util.nested import flatten
from pipeline.util.plain_values import by_value

NUMBERS = ("config", "data", "device", "flows", "methods", "models", "ode", "series", "tasks", "training")
"""Packages of `pipeline` whose code decides the numbers of a run."""
Key = tuple[str, str, Hashable]
"""Experiment, task, configuration."""


@dataclass
class SameRuns:
    """The runs of a store by their configurations."""

    device: str
    """`cpu` or `cuda`: where runs would go now that do not choose."""
    same_sources: bool = False
    _by_key: dict[Key, list[StoredRun]] = field(default_factory=dict)
    _evaluations: dict[Any, list[StoredRun]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Runs, device: str, same_sources: bool = False) -> "SameRuns":
        """All runs of the store, read once."""
        found = cls(device, same_sources)
        for run in runs.find():
            document = run.document
            if run.is_foreign or is_sweep(document) or not is_of_task(document):
                continue
            experiment = document["experiment"]["name"]
            if experiment == REEVALUATION:
                found._evaluations.setdefault(document.get("info", {}).get("parent"), []).append(run)
                continue
            kind = MEASUREMENT if experiment == MEASUREMENT else "training"
            found._by_key.setdefault(_key(kind, task_of(document), run.whole_config), []).append(run)
        return found

    def trained(self, task: str, config: Mapping[str, Any], asked: Sequence[Setting] = ()) -> StoredRun | None:
        """The training with this configuration, come to an end of its own, of which most that is asked is known.

        Of several the newest.

        Args:
            asked: settings under which it is to be evaluated again.
        """
        ended = [run for run in self._alike("training", task, config) if has_ended(run)]
        known = {run.run_id: sum(self.evaluated(run, [setting]) is not None for setting in asked) for run in ended}
        return max(ended, key=lambda run: known[run.run_id], default=None)

    def measured(self, task: str, config: Mapping[str, Any]) -> StoredRun | None:
        """The newest measurement of its steps."""
        return next((run for run in self._alike(MEASUREMENT, task, config) if has_ended(run)), None)

    def evaluated(self, parent: StoredRun, settings: Sequence[Setting]) -> StoredRun | None:
        """The newest re-evaluation of a run that has all of these settings, on the items that the run was tested on."""
        wanted = [setting.to_dict() for setting in settings]
        for run in self._evaluations.get(parent.run_id, []):
            if run.status is not RunStatus.COMPLETED or not self.has_same_code(run) or not _has_same_test(run, parent):
                continue
            if all(row_of(run, setting) is not None for setting in wanted):
                return run
        return None

    def _alike(self, kind: str, task: str, config: Mapping[str, Any]) -> Iterable[StoredRun]:
        for run in self._by_key.get(_key(kind, task, flatten(config)), []):
            if self.has_same_code(run):
                yield run

    def has_same_code(self, run: StoredRun) -> bool:
        """Whether it ran where it would run now, with the plug-ins that are loaded and, where asked, these sources."""
        asked = str(run.whole_config.get("training.device", "auto")).partition(":")[0]
        expected = self.device if asked == "auto" else asked
        device = str(run.info.get("device", expected))
        if device.partition(":")[0] != expected or not has_same_plugins(run):
            return False
        return not self.same_sources or sources_of(run) == current_sources()


def _has_same_test(evaluation: StoredRun, parent: StoredRun) -> bool:
    """By the data's content and how many items of it; what the parent is too old to have recorded is the same."""
    told = parent.facts.data
    return all(told.get(key, value) == value for key, value in evaluation.facts.data.items())


def has_ended(run: StoredRun) -> bool:
    """Whether doing the run again would come to what it came to."""
    if run.status is RunStatus.COMPLETED:
        return True
    failure = run.facts.failure
    return run.status is RunStatus.FAILED and failure is not None and failure["reason"] in REPEATABLE


def row_of(run: StoredRun, setting: Mapping[str, Any]) -> Row | None:
    """What a re-evaluation has under a setting, as `Setting.to_dict` gives it."""
    rows = [Row.from_dict(values) for values in run.info.get(REEVALUATION, {}).get("rows", [])]
    return next((row for row in rows if all(getattr(row, key) == value for key, value in setting.items())), None)


def sources_of(run: StoredRun) -> str:
    """A fingerprint of the run's sources that decide numbers."""
    sources = Runs(run.database).get(run.run_id).document["experiment"].get("sources", [])
    return _fingerprint({name: str(file_id) for name, file_id in sources})


def current_sources() -> str:
    """The same of this checkout."""
    names = {path.relative_to(ROOT).as_posix(): path for path in source_files()}
    return _fingerprint({name: str(content_id(name, path.read_bytes())) for name, path in names.items()})


def _fingerprint(sources: Mapping[str, str]) -> str:
    deciding = sorted((name, file_id) for name, file_id in sources.items() if _decides_numbers(name))
    return hashlib.sha256(repr(deciding).encode()).hexdigest()


def _decides_numbers(name: str) -> bool:
    parts = name.split("/")
    return len(parts) > 2 and parts[0] == "pipeline" and parts[1] in NUMBERS


def _key(kind: str, task: str, flat: Mapping[str, Any]) -> Key:
    """Numbers are compared by value: final times 1 and 1.0 are the same."""
    return kind, task, by_value(flat)
