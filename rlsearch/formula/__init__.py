"""The formula language: operators, vocabulary, formula, grammar, parsing, printing. Needs numpy, not torch."""

from rlsearch.formula.formula import Formula as Formula
from rlsearch.formula.grammar import FormulaBuilder as FormulaBuilder
from rlsearch.formula.grammar import Grammar as Grammar
from rlsearch.formula.operators import OPERATORS as OPERATORS
from rlsearch.formula.vocabulary import PAD as PAD
from rlsearch.formula.vocabulary import Vocabulary as Vocabulary

RELU = Formula.parse("relu(x)")
"""What rewards and latencies are relative to."""
