"""Python's own numbers for those of NumPy, which data frames give and neither the store nor JSON takes."""

from collections.abc import Mapping
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
