"""The configuration of a tracked block."""

from typing import Any

import pytest

import odenet
from pipeline.util.errors import InvalidInput


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"a": 1, "a-b": 2, "a.b": 3}, "config says a twice, once as a.b: give one of them another name"),
        ({"a.b": 1, "a": {"b": 2}}, "config says a.b twice, once as a.b"),
        ({"a": {"b": {"c": 1}, "b.c.d": 2}}, "config says a.b.c twice, once as a.b.c.d"),
    ],
)
def test_no_setting_is_lost_beside_another_of_its_name(config: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{expected}"), odenet.track("mine", config):
        raise AssertionError("the block has begun")
