import math

import pytest

from rlsearch.common.numbers import number_text


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.5, "+.4f", "+0.5000"),
        (-123456.789, "+.4f", "-123456.7890"),
        (1e6, "+.4f", "+1e+06"),
        (-1.23456e39, "+.4f", "-1.235e+39"),
        (1e39, ".2f", "1e+39"),
        (math.inf, ".2f", "inf"),
        (math.nan, "+.4f", "+nan"),
    ],
)
def test_large_numbers_are_written_with_a_power_of_ten(value, form, text):
    assert number_text(value, form) == text
