"""What a trial is given of this machine: as many run at once as the GPUs have room for, or the cores."""

import psutil
import pytest
import ray
import torch

from pipeline.sweeps.cluster import ClusterError, cluster, cluster_share
from pipeline.sweeps.share import Share, local_share, trials_on
from pipeline.util.errors import InvalidInput

Asked = tuple[int | None, float | None]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen of them."""
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _self: list(range(16)))


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("gpus", "asked", "share"),
    [
        (0, (None, None), Share(4, 4, 0)),
        (0, (8, None), Share(8, 2, 0)),
        (1, (None, None), Share(1, 16, 1)),
        (8, (None, None), Share(8, 2, 1)),
        (8, (2, None), Share(2, 8, 1)),
        (1, (2, None), Share(2, 8, 0.5)),
        (1, (3, None), Share(3, 5, 0.3)),
        (2, (5, None), Share(5, 3, 0.3)),
        (1, (None, 0.25), Share(4, 4, 0.25)),
        (2, (None, 0.4), Share(4, 4, 0.4)),
        (8, (None, 0.4), Share(16, 1, 0.4)),
        (1, (8, 0.5), Share(2, 8, 0.5)),
        (8, (None, 2), Share(4, 4, 2)),
        (1, (None, 0), Share(4, 4, 0)),
        (1, (6, 0), Share(6, 2, 0)),
    ],
)
def test_of_the_trials_that_run_at_once_each_has_an_even_share(
    monkeypatch: pytest.MonkeyPatch, gpus: int, asked: Asked, share: Share
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    parallel, gpus_per_trial = asked
    assert local_share(parallel, None, gpus_per_trial) == share
    if share.gpus_per_trial:
        assert share.parallel <= trials_on(gpus, share.gpus_per_trial)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("asked", "share"),
    [
        ((None, 2), Share(4, 2, 0)),
        ((None, 6), Share(2, 6, 0)),
        ((None, 16), Share(1, 16, 0)),
        ((16, 2), Share(8, 2, 0)),
        ((2, 2), Share(2, 2, 0)),
    ],
)
def test_no_more_trials_run_at_once_than_the_cores_that_are_asked_for_each_allow(asked: Asked, share: Share) -> None:
    assert local_share(asked[0], asked[1], 0) == share


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("cpus", "sentence"), [(0, "leaves a trial nothing"), (17, "asks for more than the 16 cores of this machine")]
)
def test_no_cores_and_more_than_there_are_are_refused(cpus: float, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        local_share(None, cpus, None)


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InvalidInput, match="--gpus-per-trial 2 asks for more than the 1 GPUs of this machine"):
        local_share(None, None, 2)


def test_a_part_of_several_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(InvalidInput, match=r"--gpus-per-trial 1\.5 is more than one GPU and no whole number"):
        local_share(None, None, 1.5)
    assert local_share(None, None, 2).gpus_per_trial == 2
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 4.0})
    with pytest.raises(InvalidInput, match=r"--gpus-per-trial 2\.5 is more than one GPU and no whole number"):
        cluster_share(None, None, 2.5)


def test_a_ray_that_does_not_start_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen because")

    monkeypatch.setattr(ray, "init", late)
    said = r"^Ray does not start on this machine \(The current node timed out during startup\.\): try again"
    with pytest.raises(ClusterError, match=said), cluster("local", Share(1, 1, 0)):
        pass
