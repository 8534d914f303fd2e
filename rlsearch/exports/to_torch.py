"""A formula as a torch module, in a file that imports nothing but torch."""

from rlsearch.exports.provenance import Exported


def write(exported: Exported, class_name: str) -> str:
    """Writes the file.

    Raises:
        FormulaError: If ``class_name`` is not a Python class name.
    """
    return exported.as_comment("# ") + exported.formula.source(class_name)
