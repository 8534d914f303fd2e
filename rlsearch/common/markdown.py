"""Pages of Markdown."""

from collections.abc import Iterable, Sequence


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, a line for its heading, for the rule below it and for each row.

    Args:
        columns: The titles of the columns.
        rows: Their cells, as Markdown; a ``|`` in them would end a cell.
    """
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]
