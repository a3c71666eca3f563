"""JSON that every program can read."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any) -> str:
    """`value` as JSON text: a number that is not finite becomes null, what JSON has no type for its `str`."""
    return json.dumps(_finite(value), indent=1, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _finite(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_finite(entry) for entry in value]
        case _:
            return value
