"""What mining's engine and its compiled loops share: the table of functions, and what they count.

A function is a row of a table: operator, operands and cost. Its values on two grids are stored beside it as long as it
is an operand of others, so that a formula costs one operator on numbers that are there already.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rlsearch.errors import ConfigError
from rlsearch.formula import OPERATORS, Grammar
from rlsearch.formula.template import check_form
from rlsearch.kernels.latency import LatencyCosts

# Of the fingerprint's 128 points; fewer, and in float32, since the archive's own fingerprint is asked last.
KEY_POINTS = 64

# The flags of a row: its inherited marks (see rlsearch.formula.rules), and whether it is fit and as long as is wanted.
FIT = 128
MAX_INHERITED = FIT - 1

# The counts. FETCHED is a sink: it stops the compiler from removing the loop that prefetches.
TESTED, UNIQUE, UNFIT, ROWS, STORED, FETCHED = range(6)
N_COUNTS = 6


class Table(NamedTuple):
    """The rows; all arrays have the same length."""

    operator: Any  # int16: number of the token; those of leaves come after the operators'
    left: Any  # int32
    right: Any  # int32; -1 for none
    cost: Any  # float32
    flags: Any  # uint8
    place: Any  # int32, in Store; -1 if its values are not stored
    next: Any  # int32: another row of the same function, which the grammar's rules tell apart; -1 for none


class Store(NamedTuple):
    """Values of the rows that are operands of others."""

    keyed: Any  # float32 [rows, points]
    screened: Any  # float32 [rows, inputs * 2 * points]: for each input the values, and then the slopes by it


class Language(NamedTuple):
    """The tokens by number, operators first, and the marks by which the grammar's rules judge."""

    opcode: Any  # int32 [operators, 3]: of two arrays (or one), an array and a constant, a constant and an array
    cost: Any  # float32 [operators]
    own: Any  # int64 [tokens]: marks, as rlsearch.formula.rules.MarkTable has them
    refused: Any  # int64 [tokens]
    needed: Any  # int64 [tokens]
    inherited: Any  # int64
    inputs: Any  # int64: how many

    @classmethod
    def of(cls, grammar: Grammar, costs: LatencyCosts) -> "Language":
        """Reads them from a grammar."""
        from rlsearch.kernels.numba_source import FORMS, OPCODES

        names, marks = grammar.vocabulary.operators, grammar.marks
        # An operator of one operand has one form, which stands for all three.
        opcodes = []
        for name in names:
            codes = [OPCODES[name, form] for form in FORMS[OPERATORS[name].arity]]
            opcodes.append(codes if len(codes) == 3 else codes * 3)
        return cls(
            opcode=np.array(opcodes, np.int32).reshape(-1, 3),
            cost=np.array([costs.costs[name] for name in names], np.float32),
            own=np.array(marks.own[1:], np.int64),  # without padding
            refused=np.array(marks.refused[1:], np.int64),
            needed=np.array(marks.needed[1:], np.int64),
            inherited=np.int64(marks.inherited),
            inputs=np.int64(len(grammar.vocabulary.inputs)),
        )


TABLE_TYPES = (np.int16, np.int32, np.int32, np.float32, np.uint8, np.int32, np.int32)
"""The types of the table's arrays, in order."""


class Limits(NamedTuple):
    """What is fit."""

    max_slope: Any
    min_spread: Any


def check_minable(grammar: Grammar, template: Sequence[str] | None) -> None:
    """Checks that the template is a form, and a row has room for the marks of the grammar's rules.

    Raises:
        ConfigError: If not.
    """
    if template is not None:
        check_form(template, grammar.vocabulary)
    if grammar.vocabulary.parameters:
        raise ConfigError(
            "mining screens formulas without trained parameters; the language has "
            f"{', '.join(grammar.vocabulary.parameters)}: write constants, which rlsearch refine tunes afterwards"
        )
    if grammar.marks.inherited > MAX_INHERITED:
        raise ConfigError(
            f"mining has room for {MAX_INHERITED.bit_length()} inherited marks; the grammar's rules look at "
            f"{grammar.marks.inherited.bit_length()}"
        )
