"""The workers that do the trials of a sweep and the runs of a study: joined, shared out, kept at work.

To be imported after `pipeline.sweeps.ray_environment.prepare`, which settles what Ray reads when it is imported.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from experiments.ray_trial import TrackedTrial, TrialRun
from pipeline.sweeps.cluster import ClusterError, cluster, cluster_share
from pipeline.sweeps.interruption import Interruption
from pipeline.sweeps.ray_environment import LOCAL
from pipeline.sweeps.share import Share, local_share
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.sweeps.trial_spec import TrialSpec
from pipeline.sweeps.tune_callback import TrialsCallback

LOW_ON_MEMORY = "killed due to the node running low on memory"
"""Of Ray's monitor, which clusters of this machine's own go without."""
LOST_WORKERS = 3
"""So often a trial goes on with another worker."""


@dataclass(frozen=True)
class Pool:
    """Workers of a cluster.

    Attributes:
        folder: for Ray Tune's files, which nobody needs afterwards.
        is_of_this_machine: whether all of them are here.
    """

    share: Share
    folder: Path
    is_of_this_machine: bool

    def run(
        self,
        name: str,
        kind: type[TrialRun],
        shared: Any,
        interruption: Interruption,
        callback: TrialsCallback,
        stop_signals: StopSignals,
        specs: Sequence[TrialSpec] = (),
        **search: Any,
    ) -> tune.ResultGrid:
        """Do all trials: those of `specs`, or those that a `search_alg` proposes.

        Args:
            kind, shared: what a worker makes of a trial, and what all trials have in common.
            search: for Tune's own configuration.

        Raises:
            ClusterError: the cluster's monitor of the memory has ended a worker, after which Tune does not go on.
        """
        trainable = tune.with_resources(
            tune.with_parameters(TrackedTrial, kind=kind, shared=shared, stop_signals=stop_signals.told),
            {"cpu": self.share.cpus_per_trial, "gpu": self.share.gpus_per_trial},
        )
        tuner = tune.Tuner(
            trainable,
            param_space={"trial": tune.grid_search([spec.to_json() for spec in specs])} if specs else None,
            # A worker does one trial after the other: to import torch anew costs as much as a short trial.
            tune_config=tune.TuneConfig(max_concurrent_trials=self.share.parallel, reuse_actors=True, **search),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(self.folder),
                stop=interruption,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=LOST_WORKERS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # runs keep their own
                callbacks=[callback],
            ),
        )
        try:
            return tuner.fit()
        except RuntimeError as error:
            if LOW_ON_MEMORY not in str(error):
                raise
            raise ClusterError(
                "Ray has ended workers because a machine of the cluster ran out of memory: have fewer at once "
                "(--parallel) or less memory taken by others there, and go on where this has stopped"
            ) from error


@contextmanager
def joined(
    address: str,
    parallel: int | None,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
    of: str = "trial",
) -> Iterator[Pool]:
    """Within it Ray is connected to the cluster at `address`, or to one of this machine's that ends with it.

    Raises:
        OdenetError: the cluster does not answer, or has not what a trial needs.
    """
    asked = (parallel, cpus_per_trial, gpus_per_trial, of)
    local = local_share(*asked) if address == LOCAL else None
    with cluster(address, local) as folder:
        yield Pool(local or cluster_share(*asked), folder, is_of_this_machine=local is not None)
