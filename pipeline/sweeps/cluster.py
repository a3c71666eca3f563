"""The Ray cluster that a sweep runs on: one of this process's own, or one that is there."""

import logging
import math
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from ray._private import ray_constants
from ray._private.authentication.authentication_utils import is_token_auth_enabled

from pipeline.sweeps.share import Share, refuse_no_share, refuse_part_of_several, trials_on
from pipeline.util.errors import OdenetError
from pipeline.util.files import private_folder


class ClusterError(OdenetError):
    """The cluster cannot be reached, or has not what a trial needs."""


@contextmanager
def cluster(address: str, share: Share | None) -> Iterator[Path]:
    """Within it Ray is connected to the cluster at `address`; given a `share`, to one of that size that ends with it.

    Yields:
        A folder for Ray Tune's files, which nobody needs afterwards.

    Raises:
        ClusterError: nobody answers there; Ray was imported before it could be told to keep strangers out.
    """
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what goes wrong is told as it concerns the sweep
    if ":" in address:
        _refuse_silence(address)
    if share is not None:
        _refuse_open_doors()
    # In /tmp, as Ray itself would: the names of sockets may not be longer than 107 characters. Ray opens its folder to
    # everybody, so it lies in one that only the owner enters.
    with tempfile.TemporaryDirectory(prefix="odenet-", dir="/tmp", ignore_cleanup_errors=True) as private:
        folder = str(private_folder(Path(private) / "ray"))
        try:
            if share is not None:
                with _deaf_to_signals():
                    ray.init(
                        address="local",
                        num_cpus=math.ceil(share.parallel * share.cpus_per_trial),
                        num_gpus=torch.cuda.device_count(),
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level=logging.CRITICAL,
                        _temp_dir=folder,
                    )
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # of many kinds, and of none where Ray does not start in time
            ray.shutdown()
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if share is not None:
                raise ClusterError(
                    f"Ray does not start on this machine ({reason}): try again when it is less busy, and see that it "
                    "has memory to spare and space in /tmp"
                ) from error
            raise ClusterError(
                f"the Ray cluster at {address} cannot be joined ({reason}): see that it runs, that this machine is one "
                "of its nodes, and that RAY_AUTH_TOKEN_PATH names its token"
            ) from error
        try:
            yield Path(folder) / "tune"
        finally:
            if share is None:
                ray.shutdown()
            else:
                _end_own_cluster()


@contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """Processes that are started within it do not hear what is sent to all of a group.

    A batch system does so, and a terminal that is closed. The driver tells the trials to end; were Ray gone by then,
    nothing would reach them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_own_cluster() -> None:
    """End what this process has started, at once.

    `ray.shutdown` would give each daemon a second to heed SIGTERM, to which they are deaf; and the agents of a raylet
    that is killed notice it after some seconds only.
    """
    node: Any = ray._private.worker._global_node  # there is no public way to them
    agents: list[psutil.Process] = []
    if node is not None:
        node.kill_all_processes = partial(_killed, node.kill_all_processes)
        raylets = [started.process for started in node.all_processes.get("raylet", ())]
        agents = [agent for raylet in raylets for agent in _agents_of(raylet.pid)]
    ray.shutdown()
    for agent in agents:
        with suppress(psutil.NoSuchProcess):
            agent.kill()


def _killed(kill_all_processes: Callable[..., None], **given: Any) -> None:
    kill_all_processes(**given | {"allow_graceful": False})


def _agents_of(raylet: int) -> list[psutil.Process]:
    """Without its workers, which end by themselves."""
    try:
        return [child for child in psutil.Process(raylet).children() if "Agent" in "".join(child.cmdline()[:1])]
    except psutil.NoSuchProcess:
        return []


def _refuse_open_doors() -> None:
    """A cluster of this process's own wants a token and listens on the loopback interface, as Ray was told in time."""
    if ray_constants.ENABLE_RAY_CLUSTER or not is_token_auth_enabled():
        raise ClusterError(
            "Ray was imported before odenet had told it to want a token and to listen on this machine alone: import it "
            "in the functions of a plug-in that use it, and not at its top"
        )


def _refuse_silence(address: str) -> None:
    """Ray itself asks for minutes, and then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(f"no Ray cluster answers at {address} ({error}): start it, or correct --address") from error


def cluster_share(
    parallel: int | None, cpus_per_trial: float | None, gpus_per_trial: float | None, of: str = "trial"
) -> Share:
    """Of the cluster that Ray is connected to, likewise.

    Raises:
        ClusterError: no trial fits into it.
    """
    refuse_no_share(cpus_per_trial, of)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    per_trial = min(1.0, gpus) if gpus_per_trial is None else gpus_per_trial
    refuse_part_of_several(per_trial, of)
    threads = cpus_per_trial or 1
    most = int(min(cpus / threads, trials_on(gpus, per_trial) if per_trial else cpus))
    if most < 1:
        raise ClusterError(
            f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs, and a {of} asks for {threads:g} and {per_trial:g}: "
            "start workers, or ask for less"
        )
    return Share(min(parallel or most, most), threads, per_trial)
