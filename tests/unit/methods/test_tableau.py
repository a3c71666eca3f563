"""Coefficients that no method has, as a mistake in copying them makes."""

from typing import Any

import pytest

from pipeline.methods import TABLEAUS
from pipeline.methods.tableau import Tableau
from pipeline.util.errors import InvalidInput

HEUN: dict[str, Any] = {
    "order": 2,
    "c": (0, 1),
    "a": ((1,),),
    "b": (0.5, 0.5),
    "error": (-0.5, 0.5),
    "error_order": 1,
}


def test_those_that_come_along_are_methods() -> None:
    assert Tableau(**HEUN) == TABLEAUS["heun"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"b": (0.25, 0.25)}, "the weights b add up to 0.5, not to 1"),
        ({"a": ((0.5,),)}, "the row a of stage 2 adds up to 0.5, and its time c is 1"),
        ({"c": (0.5, 1)}, "the row a of stage 1 adds up to 0, and its time c is 0.5"),
        ({"a": ((1, 0),)}, "as many times c and rows a of 1 to 1 numbers, not 2 and [2]"),
        ({"error": (0.5, 0.5)}, "these are 2, which add up to 1, with 1"),
        ({"error_order": 0}, "these are 2, which add up to 0, with 0"),
        ({"error": (-0.5, 0.5, 0)}, "these are 3"),
    ],
)
def test_what_contradicts_itself_is_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Tableau(**{**HEUN, **changed})
    assert sentence in str(refused.value)
