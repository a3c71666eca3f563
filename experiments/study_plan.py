"""What a study asks for: its runs as configurations, at one scale, and those of them that the store has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.presets import resolve
from pipeline.config import ConfigError, NetworkConfig, SolverConfig, nearest
from pipeline.config.overrides import parse_arguments
from pipeline.config.presets import Resolved
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.studies.parse import load_study
from pipeline.studies.study import FULL, Kind, Scale, Study, StudyError, StudyRun
from pipeline.tasks.lookup import metric_specs
from pipeline.util.errors import brief
from pipeline.util.nested import merge

STUDIES = Path(__file__).with_name("studies")
TOLD_APART = ("method", "steps", "rtol", "atol", "control")
"""Keys of `solver` by which the store tells evaluations apart, as `Setting.to_dict` has them."""


@dataclass(frozen=True)
class Job:
    """One run of a study: a row on one seed."""

    number: int
    row: StudyRun
    seed: int
    resolved: Resolved
    """Of an evaluation, those of the row that it evaluates."""

    @property
    def kind(self) -> Kind:
        return self.row.kind

    @property
    def label(self) -> str:
        return f"{self.row.label}, seed {self.seed}"


@dataclass(frozen=True)
class StudyPlan:
    """A study at one scale."""

    study: Study
    scale: Scale
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    """Of the command line, over all others."""
    model: str | None = None
    """Instead of the study's own."""

    def __post_init__(self) -> None:
        if self.model is not None and self.study.model is None:
            raise StudyError(
                f"the study {self.study.name} has models of its own: --model is for those that name one to replace, "
                "such as architecture"
            )

    @property
    def rows(self) -> tuple[StudyRun, ...]:
        return self.study.at(self.scale)

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Every row on every seed; those of measured rows once, as they do not depend on it.

        Raises:
            ConfigError: a row cannot be configured.
        """
        jobs: list[Job] = []
        for row in self.rows:
            for seed in self.seeds[:1] if row.kind == "measure" else self.seeds:
                jobs.append(Job(len(jobs) + 1, row, seed, self.resolved(row, seed)))
        return tuple(jobs)

    def resolved(self, row: StudyRun, seed: int) -> Resolved:
        """What a row trains: the study's words, the row's, the scale's, and the command line's, later over earlier.

        Raises:
            ConfigError: it cannot be.
        """
        trained = row if row.evaluates is None else self.study.row(row.evaluates)
        model = self.model or self.study.model
        words = [*([model] if model else []), *trained.words, *self.scale.words, *self.overrides]
        names, updates = parse_arguments(words)
        try:
            if "seed" in updates:
                raise ConfigError("a study trains every row on all of its seeds: give seeds or --seeds, and no seed=…")
            resolved = resolve(names, merge(updates, {"seed": seed}))
            if row.kind == "evaluate":
                setting_of(row, resolved)
        except ConfigError as error:
            raise ConfigError(f"{row.name} of the study {self.study.name}: {error}") from error
        return resolved

    @property
    def is_full(self) -> bool:
        """Whether it is done as the paper does: at its scale, and with nothing changed on the command line."""
        return self.scale.name == FULL and not self.overrides and self.model in (None, self.study.model)

    @property
    def conditions(self) -> str:
        """The scale in a phrase, which stands beside every number of it."""
        changes = [*filter(None, (self.scale.note, self.model)), *self.overrides]
        told = f": {', '.join(changes)}" if changes else ""
        return f"scale {self.scale.name}{told}"


def setting_of(row: StudyRun, resolved: Resolved) -> dict[str, Any]:
    """How an evaluation solves: the solver's whole section, and the final time where the model has one.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """
    changes = dict(row.setting)
    final_time = getattr(resolved.config.model, "final_time", None)
    if "final_time" in changes:
        if final_time is None:
            raise ConfigError("solver has final_time, which this model has not: leave it out")
        final_time = NetworkConfig(final_time=changes.pop("final_time")).final_time
    solver = resolved.config.to_dict()["solver"] | {"engine": "odenet", "gradient": "auto", "reuse_first_step": False}
    for key in changes:
        if key not in solver:
            raise ConfigError(f"solver has no key {key}{nearest(key, (*TOLD_APART, 'final_time'))}")
        if key not in TOLD_APART:
            raise ConfigError(
                f"solver has {key}, by which evaluations are not told apart: there are {', '.join(TOLD_APART)} and "
                "final_time"
            )
    return {"solver": vars(SolverConfig(**solver | changes)), "final_time": final_time}


def study_files() -> dict[str, Path]:
    """The studies that come along, by their names."""
    return {path.stem: path for path in sorted(STUDIES.glob("*.yaml"))}


def find_study(name: str) -> Study:
    """The study in a file, or one of those that come along by its name.

    Raises:
        StudyError: there is neither, or it is no study.
        ConfigError: a row has an unknown name, key or value.
    """
    shipped = study_files()
    if name not in shipped and not (name.endswith((".yaml", ".yml")) or Path(name).is_file()):
        raise StudyError(
            f"{name or brief(name)} is neither a file nor a study that comes along{nearest(name, shipped)}; there are "
            f"{', '.join(shipped)}"
        )
    return load_study(shipped.get(name, Path(name)), find_metrics)


def find_metrics(words: Sequence[str]) -> Sequence[MetricSpec]:
    """The metrics of the task that the words choose.

    Raises:
        ConfigError: one is unknown.
    """
    return metric_specs(resolve(*parse_arguments(words)).task)


def make_plan(
    study: Study,
    scale: str,
    seeds: Sequence[int] | None = None,
    overrides: Sequence[str] = (),
    model: str | None = None,
) -> StudyPlan:
    """The study at a scale.

    Args:
        seeds: instead of the scale's and the study's.

    Raises:
        StudyError: the study does not have the scale.
        ConfigError: a row cannot be configured so.
    """
    if scale not in study.scales:
        raise StudyError(
            f"the study {study.name} has no scale {scale}{nearest(scale, study.scales)}; it has "
            f"{', '.join(study.scales)}"
        )
    found = study.scales[scale]
    chosen = tuple(seeds) if seeds else found.seeds or study.seeds
    plan = StudyPlan(study, found, chosen, tuple(overrides), model)
    plan.jobs  # noqa: B018 - what cannot be configured is told at once
    return plan


def with_rows(plan: StudyPlan, kept: Mapping[str, str]) -> StudyPlan:
    """The plan without the rows that cannot be, row -> why."""
    return replace(plan, scale=replace(plan.scale, without=(*plan.scale.without, *kept)))
