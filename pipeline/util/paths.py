"""The folders that the environment variables `ODENET_HOME` and `ODENET_DATA` choose."""

import os
from pathlib import Path


def home() -> Path:
    """The folder of the embedded store, the checkpoints and the runs not yet in the store.

    `ODENET_HOME`, or `.odenet` in the working directory.
    """
    return Path(os.environ.get("ODENET_HOME") or ".odenet").expanduser().absolute()


def data_folder() -> Path:
    """The folder of the data sets, in torchvision's layout: `ODENET_DATA`, or `data` in `home()`."""
    named = os.environ.get("ODENET_DATA")
    return Path(named).expanduser().absolute() if named else home() / "data"
