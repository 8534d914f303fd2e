"""A formula as a line of LaTeX, for math mode."""

from rlsearch.exports.provenance import Exported


def write(exported: Exported, class_name: str) -> str:
    """Writes the file; there is no class in it."""
    return exported.as_comment("% ") + exported.formula.latex() + "\n"
