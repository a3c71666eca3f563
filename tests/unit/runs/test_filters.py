"""Filters as a store is asked for them."""

from pipeline.runs.filters import combined, conditions


def queries(*words: str) -> dict[str, object]:
    return combined(one.query() for one in conditions(words))


def test_conditions_of_several_fields_stand_side_by_side() -> None:
    assert queries("config.seed=3", "result>=0.9") == {"config.seed": {"$in": [3, "3"]}, "result": {"$gte": 0.9}}


def test_a_text_that_looks_like_a_number_is_found_as_it_was_written() -> None:
    assert queries("tag=1.10") == {"omniboard.tags": {"$in": [1.1, "1.1", "1.10"]}}
    assert queries("name!=1e-3") == {"omniboard.name": {"$nin": [0.001, "0.001", "1e-3"]}}


def test_two_ends_of_one_field_become_one_condition() -> None:
    assert queries("result>=0.5", "result<0.9") == {"result": {"$gte": 0.5, "$lt": 0.9}}


def test_two_conditions_with_one_operator_are_both_kept() -> None:
    found = queries("result>0.5", "result>0.9", "config.seed=3")
    assert found == {"result": {"$gt": 0.5}, "config.seed": {"$in": [3, "3"]}, "$and": [{"result": {"$gt": 0.9}}]}


def test_no_condition_asks_for_everything() -> None:
    assert queries() == {}
