from rlsearch.common.markdown import table_lines


def test_a_table_has_a_heading_a_rule_and_rows():
    assert table_lines(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
    assert table_lines(("a",), []) == ["| a |", "| --- |"]
