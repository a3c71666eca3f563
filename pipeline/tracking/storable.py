"""Values as a store takes them, whatever is reported: a run is not to end over the name of a file."""

from collections.abc import Mapping
from typing import Any

_WHOLE = range(-(2**63), 2**63)


def storable(value: Any) -> Any:
    """The value with what BSON refuses in another form, at every depth.

    Whole numbers of more than 64 bits become text; a half of a sign in a text, as in a file's name of another encoding,
    and a zero byte in a key become question marks.
    """
    match value:
        case str():
            return storable_text(value)
        case bool():
            return value
        case int():
            return value if value in _WHOLE else str(value)
        case Mapping():
            return {storable_text(str(key)).replace("\0", "?"): storable(below) for key, below in value.items()}
        case list() | tuple():
            return [storable(below) for below in value]
        case _:
            return value


def storable_text(text: str) -> str:
    """The text, with a question mark for each lone surrogate."""
    return text.encode(errors="replace").decode()
