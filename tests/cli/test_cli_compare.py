import pytest

from rlsearch.cli.compare import median_text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([3, 1], "2 (2/2)"),
        ([5, 7, None], "7 (2/3)"),
        ([5, None, None], "never (1/3)"),
        ([5, None], "never (1/2)"),  # one of the two in the middle did not get there
        ([None], "never (0/1)"),
    ],
)
def test_the_median_counts_a_run_that_did_not_get_there_as_infinite(counts, text):
    assert median_text(counts) == text
