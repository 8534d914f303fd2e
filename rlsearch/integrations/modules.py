"""Classes of modules, for libraries that make a module of their own for every layer."""

from rlsearch.errors import InputError
from rlsearch.formula import Formula
from rlsearch.formula.module import Activation


def module_class(formula: Formula | str) -> type[Activation]:
    """The class of :meth:`Formula.to_module`'s modules, which can be made as ``nn.ReLU`` can.

    Args:
        formula: A formula of ``x``, or its text.

    Raises:
        FormulaError: If the text is no formula.
        InputError: If the formula has another input than ``x``.
    """
    formula = formula if isinstance(formula, Formula) else Formula.parse(formula)
    if formula.inputs != ("x",):
        raise InputError(f"'{formula}' has the inputs {', '.join(formula.inputs)}; expected a function of x alone")
    made = type(formula.to_module())

    def init(self: Activation, inplace: bool = False) -> None:
        """Makes a module.

        Args:
            self: The module.
            inplace: Is accepted and has no effect: the result never overwrites the input.
        """
        # Of the class itself, which makes the formula's parameters.
        made.__init__(self)

    return type(made.__name__, (made,), {"__module__": made.__module__, "__init__": init})
