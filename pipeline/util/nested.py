"""Nested dictionaries: made flat, made nested, merged."""

from collections.abc import Mapping
from typing import Any


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys that begin with `prefix`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            flat |= flatten(value, path)
        else:
            flat[path] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested dictionaries: the inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, name = path.split(".")
        level = nested
        for section in sections:
            level = level.setdefault(section, {})
        level[name] = value
    return nested


def nest_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries whose keys may be dotted, at any depth, as nested dictionaries; later ones come on top."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        nested = merge(nested, nest({key: nest_keys(value) if isinstance(value, Mapping) else value}))
    return nested


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with `over` on top, deeply: where both have a section, what only one of them says stays."""
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
