"""Strict JSON, which knows no NaN."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any) -> str:
    """The value as JSON, with null for numbers that are not finite, and `str(x)` for an x that JSON has no type for."""
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
