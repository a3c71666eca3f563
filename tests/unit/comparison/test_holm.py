"""P-values of several tests at once."""

import pytest

from pipeline.comparison.holm import adjust_holm


def test_p_values_are_adjusted_for_their_number_and_stay_in_order() -> None:
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.6, 0.7]) == [1, 1]
    assert adjust_holm([]) == []
