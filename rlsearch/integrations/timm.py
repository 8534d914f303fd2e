"""Formulas as activations of timm: ``timm.create_model("resnet18", act_layer=act_layer("atanline(x)"))``.

The library takes a class wherever it takes a name, and makes a module of it for every layer, most often with
``inplace=True``. Nothing of timm is imported here.
"""

from rlsearch.formula import Formula
from rlsearch.formula.module import Activation
from rlsearch.integrations.modules import module_class


def act_layer(formula: Formula | str) -> type[Activation]:
    """A class for timm's ``act_layer``.

    Args:
        formula: A formula of ``x``, or its text.

    Raises:
        FormulaError: If the text is no formula.
        InputError: If the formula has another input than ``x``.
    """
    return module_class(formula)
