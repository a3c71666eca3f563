"""Ray's settings for this process and those that it starts; to be made before Ray is imported."""

import os
import secrets
from pathlib import Path

from pipeline.util.files import create_private, private_folder
from pipeline.util.paths import data_folder, home

LOCAL = "local"


def prepare(address: str) -> None:
    """Settle what Ray reads from the environment.

    Args:
        address: of the cluster, or `LOCAL` for one on this machine that lives as long as this process: it listens on
            the loopback interface alone and wants a token, which a file of the home folder holds.
    """
    # Its reports and its loggers: the state and the tracked runs have all that they would write.
    os.environ.update(
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
        TUNE_DISABLE_SIGINT_HANDLER="1",
        RAY_CHDIR_TO_TRIAL_DIR="0",
        RAY_AIR_NEW_OUTPUT="0",
        RAY_USAGE_STATS_ENABLED="0",
        RAY_TRAIN_V2_ENABLED="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="1",  # a trial that gets no GPU sees none
    )
    if address == LOCAL:
        os.environ.update(
            # So named, it makes every part of Ray use 127.0.0.1, on Linux as well.
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
            # A worker that its monitor of the memory ends in the middle of an epoch ends all of Ray Tune (2.60). The
            # system takes workers first, which Ray marks for it, and of these the largest.
            RAY_memory_monitor_refresh_ms="0",
            # A store that a worker has started again is everybody's, and outlives the worker.
            RAY_kill_child_processes_on_worker_exit="0",
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(token_file()),
            # Workers stand in folders of their own.
            ODENET_HOME=str(home()),
            ODENET_DATA=str(data_folder()),
        )


def token_file() -> Path:
    """The file with the token of this machine's clusters, made on first use."""
    path = home() / "ray_token"
    if not path.exists():
        private_folder(path.parent)
        create_private(path, secrets.token_hex(32))
    return path
