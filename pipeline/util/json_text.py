"""Strict JSON, which knows no NaN."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def to_json(value: Any) -> str:
    """The value as JSON.

    Numbers that are not finite are null, times are in ISO 8601, and an x that JSON has no type for is `str(x)`.
    """
    return json.dumps(_finite(value), indent=1, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    match value:
        case datetime():  # as the store gives it, which is UTC and does not say so
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: _finite(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_finite(entry) for entry in value]
        case _:
            return value
