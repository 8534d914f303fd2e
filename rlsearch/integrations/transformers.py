"""Formulas as activations of Hugging Face's transformers: ``hidden_act="atanline"`` in a config.

The library looks a name up in one table, ``transformers.activations.ACT2FN``, when it builds a model. A saved model
holds the name alone, so a name is registered before the model is built, and again before it is loaded elsewhere.
"""

from rlsearch.errors import InputError, nearest
from rlsearch.formula import Formula
from rlsearch.formula.module import Activation
from rlsearch.formula.named import NAMED
from rlsearch.integrations.modules import module_class

try:
    from transformers.activations import ACT2FN
except ImportError as error:
    raise InputError("this needs the package transformers: pip install 'rlsearch[transformers]'") from error


def register(name: str, formula: Formula | str | None = None) -> None:
    """Makes a formula an activation of transformers.

    Args:
        name: For configs. One that was registered before is replaced; one of the library's own is refused.
        formula: A formula of ``x``, or its text; by default the named function ``name``.

    Raises:
        FormulaError: If the text is no formula.
        InputError: If there is no named function of that name, the name is one of the library's own, or the formula has
            another input than ``x``.

    Example:
        >>> register("atanline")
        >>> register("mine", "x * sigmoid(x) + 0.1 * sin(x)")
        >>> config = LlamaConfig(hidden_act="mine")
    """
    if formula is None:
        if name not in NAMED:
            raise InputError(f"there is no named function {name!r}; expected one, or a formula{nearest(name, NAMED)}")
        formula = Formula.parse(f"{name}({', '.join(NAMED[name].parameters)})")
    if _is_librarys(name):
        raise InputError(f"{name!r} is an activation of transformers itself; expected a name that is free")
    ACT2FN[name] = module_class(formula)


def register_all() -> list[str]:
    """Registers every named function of ``x`` whose name is free; returns the names."""
    names = [name for name, named in NAMED.items() if named.parameters == ("x",) and not _is_librarys(name)]
    for name in names:
        register(name)
    return names


def _is_librarys(name: str) -> bool:
    # By get, since [] makes a module.
    there = ACT2FN.get(name)
    return there is not None and not (isinstance(there, type) and issubclass(there, Activation))
