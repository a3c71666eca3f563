"""What is stored is data: no text of a run steers the terminal, or the spreadsheet, of who looks at it."""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""Control characters but for the tabulator and the end of a line, and those that turn the direction of writing."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How one may begin, in signs of full width as well."""
_NEGATIVE = re.compile(r"-\d+(\.\d+)?(e[-+]?\d+)?")


def printable(text: str) -> str:
    """The text with every character that would steer a terminal written out, as `\\x1b`."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def inert(text: str) -> str:
    """The text as a cell of a CSV file that no spreadsheet takes for a formula; a number stays one."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NEGATIVE.fullmatch(text) else text
