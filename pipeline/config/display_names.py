"""How people call the model and the data of a configuration; of a section with other keys what there is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.sections import SHARED_SETTINGS

UNKNOWN = "?"
_BODIES = {"odenet": "ODE-Net", "resnet": "ResNet"}


def model_name(model: Any) -> str:
    """The architecture, the family and the number of blocks of a section `model`: `simple ODE-Net × 3`."""
    if not isinstance(model, Mapping):
        return UNKNOWN
    architecture, body, blocks = model.get("architecture"), model.get("body"), model.get("blocks")
    if architecture not in SHARED_SETTINGS and body == "odenet":
        body = None  # the default, which a plug-in's model need not look at
    words = [architecture, _BODIES.get(body, body) if isinstance(body, str) else None]
    name = " ".join(word for word in words if isinstance(word, str)) or UNKNOWN
    return f"{name} × {blocks}" if isinstance(blocks, int) and blocks > 1 else name


def data_name(data: Any) -> str:
    """The name of a section `data`, of a file without its folder and ending."""
    name = data.get("name") if isinstance(data, Mapping) else None
    return Path(name).stem if isinstance(name, str) else UNKNOWN
