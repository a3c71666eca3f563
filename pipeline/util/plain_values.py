"""Python's own numbers for those of NumPy, which data frames give and neither the store nor JSON takes."""

from collections.abc import Hashable, Mapping
from typing import Any


def plain(value: Any) -> Any:
    """The value with Python's numbers, truth values and text for NumPy's and torch's, in sections and lists too."""
    library = type(value).__module__.partition(".")[0]
    if library in ("numpy", "torch") and getattr(value, "shape", None) == ():  # not imported for this
        return value.item()
    match value:
        case Mapping():
            return {key: plain(below) for key, below in value.items()}
        case list():
            return [plain(below) for below in value]
        case _:
            return value


def by_value(value: Any) -> Hashable:
    """What is the same for equal values of a configuration: for 1 and 1.0, and for no number, but not for True."""
    match value:
        case Mapping():
            return frozenset((key, by_value(below)) for key, below in value.items())
        case list() | tuple():
            return tuple(map(by_value, value))
        case bool():
            return bool, value
        case float() if value != value:
            return "nan"
        case _:
            return value if isinstance(value, Hashable) else str(value)
