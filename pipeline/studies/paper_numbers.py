"""A number as a paper prints it, with how finely it was rounded."""

import re
from dataclasses import dataclass
from math import inf, isinf
from typing import Any

from pipeline.util.errors import InvalidInput, brief

WRITTEN = re.compile(r"[-+]?\d+(?:\.(\d+))?(?:[eE]([-+]?\d+))?")
MOST_DECIMALS = 300
"""Before the point or behind it, of a number in double precision."""


class PaperNumberError(InvalidInput):
    """What stands in a study in the place of a paper's number and is none."""


@dataclass(frozen=True)
class PaperNumber:
    """In the unit in which its column is shown."""

    low: float
    high: float
    """The same as `low`, unless the paper gives a range; infinite for `above`."""
    text: str
    """As it is shown."""
    rounding: float
    """Half a unit of the last digit: what rounds to the paper's number is as near as this."""
    doubtful: str | None = None
    """Why it is, in a phrase."""

    @property
    def is_range(self) -> bool:
        return self.low != self.high


def parse_number(given: Any) -> PaperNumber:
    """`86.06`; `"69.80"`, whose last digit counts; `[75, 80]`; or a section with `value` or `above` and more.

    A section may have `within`, half of what the number was rounded to, and `doubtful`, a sentence. A bound `above` is
    not rounded unless `within` says so: below 90 is not above 90.

    Raises:
        PaperNumberError: it is none of these.
    """
    if not isinstance(given, dict):
        return _plain(given, None, None)
    unknown = given.keys() - {"value", "above", "within", "doubtful"}
    if unknown or len(given.keys() & {"value", "above"}) != 1:
        raise PaperNumberError(
            f"a paper's number has value or above, and perhaps within and doubtful, not {brief(given)}"
        )
    doubtful, within = given.get("doubtful"), given.get("within")
    fits = within is None or (_is_number(within) and 0 <= within < inf)
    if not isinstance(doubtful, str | None) or not fits:
        raise PaperNumberError(f"within is a number from 0 and doubtful a sentence, not {brief(given)}")
    if "above" in given:
        low = _plain(given["above"], within or 0.0, doubtful)
        return PaperNumber(low.low, inf, f"above {low.text}", low.rounding, doubtful)
    return _plain(given["value"], within, doubtful)


def _plain(given: Any, within: float | None, doubtful: str | None) -> PaperNumber:
    if isinstance(given, list):
        if len(given) != 2 or not all(map(_is_number, given)) or given[0] > given[1]:
            raise PaperNumberError(f"a range is two numbers, the lower one first, not {brief(given)}")
        low, high = (_plain(value, within, doubtful) for value in given)
        return PaperNumber(low.low, high.high, f"{low.text} to {high.text}", max(low.rounding, high.rounding), doubtful)
    text = str(given)
    written = WRITTEN.fullmatch(text) if isinstance(given, str) or _is_number(given) else None
    if written is None:
        raise PaperNumberError(f'{brief(given)} is no number as a paper has it: write 86.06, "69.80" or [75, 80]')
    decimals = len(written[1] or "") - int(written[2] or 0)
    if isinf(value := float(text)) or abs(decimals) > MOST_DECIMALS:
        raise PaperNumberError(f"{brief(given)} is larger or finer than any number that a computer measures")
    rounding = 0.5 * 10.0**-decimals if within is None else float(within)
    shown = f"{value:,.{len(written[1] or '')}f}" if written[2] is None else text
    return PaperNumber(value, value, shown, rounding, doubtful)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
