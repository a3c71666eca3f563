"""Numbers in words, as sentences have them."""

from collections.abc import Sequence


def counted(many: int, thing: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{many:,} {thing}{'' if many == 1 else 's'}"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 20 min`, `5 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names, the first of them where they are many."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def sentence_case(words: str) -> str:
    """With a capital at its beginning, unless that is a function's name; its other letters are as they are."""
    return words if words[1:2] == "(" else words[:1].upper() + words[1:]
