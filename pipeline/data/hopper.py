"""Trajectories of MuJoCo's hopper that falls to the ground, as Rubanova, Chen & Duvenaud 2019 (section 4.2) have them.

The model's file is read from the package dm-control, of which nothing is imported. What was simulated stays in the
data folder, with a checksum.
"""

import hashlib
import importlib.util
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from pipeline.data.errors import DataError
from pipeline.util.array_types import FloatArray
from pipeline.util.files import private_folder, whole_file
from pipeline.util.paths import data_folder, home
from pipeline.util.streams import with_controls

SEED = 20190708
"""Of the initial states; trajectory k has a generator of its own, so that fewer are the first of more."""
POINTS = 200
SECONDS = 0.005
"""Between two of them, a step of the simulation."""
COORDINATES = ("x", "z", "pitch", "waist", "hip", "knee", "ankle")
CHANNELS = (*COORDINATES, *(f"{name} speed" for name in COORDINATES))
EXTRA = "pip install 'odenet-pipeline[hopper]'"


def hopper_file(trajectories: int) -> Path:
    """Where so many trajectories lie once they are simulated."""
    return data_folder() / f"hopper-{trajectories}.npz"


def load_hopper(trajectories: int) -> FloatArray:
    """Positions and speeds, shape (trajectories, 200, 14), float32; simulated if they are not in the data folder.

    Raises:
        DataError: MuJoCo or dm-control is not installed, or the file in the data folder is damaged.
    """
    path = hopper_file(trajectories)
    if not path.is_file():
        _simulate_into(path, trajectories)
    return _read(path)


def hopper_model_file() -> Path:
    """The model's file in the package dm-control.

    Raises:
        DataError: the package is not installed, or has no such file.
    """
    package = importlib.util.find_spec("dm_control")
    folders = list(package.submodule_search_locations or ()) if package is not None else []
    path = Path(folders[0]) / "suite" / "hopper.xml" if folders else None
    if path is None or not path.is_file():
        raise DataError(f"hopper needs the hopper's model from the package dm-control: {EXTRA}")
    return path


def simulate(model: Any, trajectories: int, progress: Callable[[], object] = lambda: None) -> FloatArray:
    """Trajectories from random poses above the ground and random speeds, shape (trajectories, 200, 14), float32.

    Args:
        model: a `mujoco.MjModel`.
        progress: called after each.
    """
    import mujoco  # of an extra

    state = mujoco.MjData(model)
    found = np.empty((trajectories, POINTS, model.nq + model.nv), dtype=np.float32)
    for k in range(trajectories):
        generator = np.random.default_rng([SEED, k])
        mujoco.mj_resetData(model, state)
        state.qpos[:2] = generator.uniform(0, 0.5, 2)
        state.qpos[2:] = generator.uniform(-2, 2, model.nq - 2)
        state.qvel[:] = generator.uniform(-5, 5, model.nv)
        mujoco.mj_forward(model, state)
        for point in range(POINTS):
            found[k, point, : model.nq], found[k, point, model.nq :] = state.qpos, state.qvel
            mujoco.mj_step(model, state)
        progress()
    return found


def _simulate_into(path: Path, trajectories: int) -> None:
    model_file = hopper_model_file()
    try:
        import mujoco
    except ImportError as error:
        raise DataError(f"hopper is simulated by MuJoCo, which cannot be imported ({error}): {EXTRA}") from None
    from pipeline.data.download import only_one_process  # which imports torch

    private_folder(path.parent) if path.is_relative_to(home()) else path.parent.mkdir(parents=True, exist_ok=True)
    with only_one_process("hopper", path.with_name(f".lock-{path.stem}")):
        if path.is_file():
            return
        model = mujoco.MjModel.from_xml_path(str(model_file))
        with Progress(console=Console(file=with_controls(sys.stderr))) as progress:
            task = progress.add_task(f"simulating {trajectories:,} hoppers", total=trajectories)
            states = simulate(model, trajectories, lambda: progress.advance(task))
        with whole_file(path) as file:
            np.savez(file, states=states, sha256=np.array(_sha256(states)), mujoco=np.array(mujoco.__version__))


def _read(path: Path) -> FloatArray:
    try:
        with np.load(path, allow_pickle=False) as file:
            states, recorded = np.asarray(file["states"]), str(file["sha256"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}): remove it, and it is simulated again") from error
    if _sha256(states) != recorded:
        raise DataError(f"{path} is not what was simulated (its checksum is another): remove it")
    return states


def _sha256(states: FloatArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(states, "<f4").tobytes()).hexdigest()
