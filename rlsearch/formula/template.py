"""Forms: formulas with places that several operators or leaves may fill, such as ``binary unary x unary x``."""

from collections.abc import Sequence
from itertools import chain

from rlsearch.errors import ConfigError, nearest
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.vocabulary import Vocabulary

WILDCARDS = {"leaf": 0, "unary": 1, "binary": 2}
"""The arity of the places: any leaf of a formula, any operator of one operand or none at all, any operator of two."""


def form_arities(vocabulary: Vocabulary) -> dict[str, int]:
    """The arity of everything that a form over ``vocabulary`` may name."""
    operators = {name: OPERATORS[name].arity for name in vocabulary.operators}
    return WILDCARDS | dict.fromkeys(vocabulary.inputs, 0) | operators


def check_form(form: Sequence[str], vocabulary: Vocabulary) -> None:
    """Checks that ``form`` is a complete prefix sequence of places, operators and inputs.

    Raises:
        ConfigError: If not.
    """
    arities, open_slots = form_arities(vocabulary), 1
    for position, entry in enumerate(form, start=1):
        if entry not in arities:
            raise ConfigError(
                f"the template's entry {entry!r} is none of {', '.join(arities)}" + nearest(entry, arities)
            )
        if not open_slots:
            raise ConfigError(f"the template is complete before its entry {position}, {entry!r}")
        open_slots += arities[entry] - 1
    if open_slots:
        raise ConfigError(f"the template is incomplete: {open_slots} more operand(s) expected")


def parts_of(form: Sequence[str], vocabulary: Vocabulary) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """The sub-forms in post-order, mapped to their operands.

    Each stands once, since one that occurs in several places is filled in the same ways in each. The last is the form.
    """
    arities = form_arities(vocabulary)
    parts: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    stack: list[tuple[str, ...]] = []
    for entry in reversed(form):
        operands = [stack.pop() for _ in range(arities[entry])]
        stack.append((entry, *chain.from_iterable(operands)))
        parts[stack[-1]] = operands
    return parts
