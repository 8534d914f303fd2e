"""Formulas to measure with: known ones, and random ones as a search proposes them."""

from collections.abc import Mapping

import numpy as np

from rlsearch.formula import Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.random import random_ids

WALKS_AT_A_TIME = 1024

KNOWN: Mapping[str, Formula] = {
    text: Formula.parse(text)
    for text in (
        "relu(x)", "gelu(x)", "silu(x)", "mish(x)", "tanh(x)", "elu(x)", "softplus(x)", "x + x*x", "x * erf(x)",
        "x * tanh(x)", "relu(x)**2", "gelusine(x)", "max(x, sigmoid(x))", "gauss(x) * x", "sin(x) + x", "x * atan(x)",
    )
}  # fmt: skip
"""Sixteen functions of one to ten operators, as people use them."""


def random_formulas(count: int, language: LanguageSettings, *, fit: bool) -> list[Formula]:
    """Draws different formulas by uniform walks over the grammar, the same ones each time.

    Args:
        count: How many.
        language: What can be written.
        fit: Whether to take only what a search would train, each function once, and of two operators at least.
    """
    grammar, rng = language.grammar(), np.random.default_rng(0)
    found: dict[object, Formula] = {}
    while len(found) < count:
        for row in random_ids(grammar, WALKS_AT_A_TIME, rng):
            formula = grammar.vocabulary.decode(row)
            if not fit:
                found.setdefault(formula, formula)
            elif len(formula.program.instructions) >= 2 and not why_unfit(formula, ScreeningSettings()):
                found.setdefault(formula.fingerprint, formula)
    return list(found.values())[:count]
