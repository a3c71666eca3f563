"""How a study stands with the store: which of its runs are there. Without Ray, whose import takes a second."""

import warnings

import torch

from experiments.study_plan import Job, StudyPlan, setting_of
from pipeline.config import SolverConfig
from pipeline.runs.query import Runs, StoredRun
from pipeline.studies.same_runs import SameRuns
from pipeline.sweeps.ray_environment import LOCAL
from pipeline.tasks.lookup import get_task
from pipeline.tasks.solver_grid import Setting
from pipeline.util.user_warnings import noting_warnings


class Standing:
    """Which runs of a plan the store has."""

    def __init__(self, plan: StudyPlan, same: SameRuns) -> None:
        self.plan, self._same = plan, same
        self.found: dict[int, StoredRun] = {}
        """Number of a job -> its run."""
        by_place = {(job.row.name, job.seed): job for job in plan.jobs}
        self.parents = {
            job.number: by_place[job.row.evaluates, job.seed] for job in plan.jobs if job.row.evaluates is not None
        }
        """Number of an evaluation -> the job whose model it asks."""
        self.refused: dict[int, str] = {}
        """Number of a job -> why it is not done: its row changes nothing about the study's model."""
        for job in plan.jobs:
            if plan.study.model is not None and (why := _without_effect(plan, job)) is not None:
                self.refused[job.number] = why
            elif (run := self._find(job)) is not None:
                self.found[job.number] = run

    @property
    def missing(self) -> list[Job]:
        done = self.found.keys() | self.refused.keys()
        return [job for job in self.plan.jobs if job.number not in done]

    def settings_of(self, parent: Job) -> list[Setting]:
        """All settings under which the study asks a job's model again, or another of the same configuration."""
        asked = [job for job in self.plan.jobs if job.kind == "evaluate" and job.resolved == parent.resolved]
        return list(dict.fromkeys(map(setting, asked)))

    def _find(self, job: Job) -> StoredRun | None:
        if job.kind == "evaluate":
            parent = self.found.get(self.parents[job.number].number)
            return None if parent is None else self._same.evaluated(parent, [setting(job)])
        wanted = (job.resolved.task, job.resolved.config.to_dict())
        if job.kind == "measure":
            return self._same.measured(*wanted)
        return self._same.trained(*wanted, self.settings_of(job))


def _without_effect(plan: StudyPlan, job: Job) -> str | None:
    """What a row sets beyond the others and its model does not look at, in the sentence that a run would warn of."""
    shared = set.intersection(*(set(row.words) for row in plan.rows if row.evaluates is None))
    own = [word.partition("=")[0] for word in job.row.words if word not in shared]
    sentences: list[str] = []
    with warnings.catch_warnings(), noting_warnings(sentences.append, are_shown=False):
        warnings.simplefilter("always")  # of every seed, and not the first alone
        get_task(job.resolved.task).warn(job.resolved.config)
    return next((said for said in sentences for key in own if said.startswith(f"{key}=")), None)


def setting(job: Job) -> Setting:
    """How an evaluation solves."""
    values = setting_of(job.row, job.resolved)
    return Setting(SolverConfig(**values["solver"]), values["final_time"])


def find_device(address: str = LOCAL, gpus_per_run: float | None = None) -> str:
    """Where runs go that do not choose: `cuda` where they have a share of a GPU, else `cpu`.

    Raises:
        OdenetError: nobody answers at the address.
    """
    if gpus_per_run is None and address != LOCAL:
        from experiments.ray_pool import joined

        with joined(address, None, None, None) as pool:
            gpus_per_run = pool.share.gpus_per_trial
    if gpus_per_run is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if gpus_per_run > 0 else "cpu"


def look(plan: StudyPlan, runs: Runs, device: str, same_sources: bool = False) -> Standing:
    """How a plan stands with what the store has."""
    return Standing(plan, SameRuns.of(runs, device, same_sources))
