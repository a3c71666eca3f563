"""Where things lie on disk."""

import os
from pathlib import Path


def home() -> Path:
    """The folder of the embedded store, checkpoints and waiting records: `ODENET_HOME`, or `.odenet`."""
    return Path(os.environ.get("ODENET_HOME") or ".odenet").expanduser().absolute()


def data_folder() -> Path:
    """The folder of the data sets, in torchvision's layout: `ODENET_DATA`, or `data` in `home()`."""
    named = os.environ.get("ODENET_DATA")
    return Path(named).expanduser().absolute() if named else home() / "data"
