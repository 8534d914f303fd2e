"""Prefix tokens to infix text and LaTeX, with no more parentheses than the precedences ask for."""

from collections.abc import Callable, Sequence

from rlsearch.formula.operators import ATOM, OPERATORS, POWER, UNARY, Notation, Operator
from rlsearch.formula.tokens import letter_of, number_text


def to_infix(tokens: Sequence[str | float]) -> str:
    """Writes infix text; :func:`rlsearch.formula.parsing.parse_tokens` reads it back to the same tokens."""
    return _write(tokens, lambda operator: operator.infix)


def to_readable(tokens: Sequence[str | float]) -> str:
    """Writes infix text in which guarded and fused operators are spelled out, such as ``sqrt(abs(x))``.

    :func:`rlsearch.formula.parsing.parse_tokens` reads it back to the same function, though not always to the same
    tokens.
    """
    return _write(tokens, lambda operator: operator.readable)


def to_latex(tokens: Sequence[str | float]) -> str:
    """Writes LaTeX for math mode."""
    return _write(tokens, lambda operator: operator.latex, latex=True)


def _write(tokens: Sequence[str | float], notation_of: Callable[[Operator], Notation], latex: bool = False) -> str:
    left, right = (r"\left(", r"\right)") if latex else ("(", ")")
    stack: list[tuple[str, int, bool]] = []  # text, precedence, whether it is a number
    for token in reversed(tokens):
        if not isinstance(token, str):
            text = _latex_number(token) if latex else number_text(token)
            precedence = ATOM
            if token < 0:
                precedence = UNARY
            elif "^" in text:
                precedence = POWER
            stack.append((text, precedence, True))
        elif token in OPERATORS:
            operator = OPERATORS[token]
            notation = notation_of(operator)
            text = notation.template
            for slot, minimum in zip(("<a>", "<b>")[: operator.arity], notation.operands, strict=False):
                operand, precedence, is_number = stack.pop()
                # "-1" reads as a number, so the negation of a number needs parentheses to stay one.
                if precedence < minimum or (is_number and _is_negation(operator, notation)):
                    operand = left + operand + right
                text = text.replace(slot, operand)
            stack.append((text, notation.precedence, False))
        else:
            # Mathematics is written with a parameter's letter alone.
            stack.append((letter_of(token) if latex else token, ATOM, False))
    return stack[0][0]


def _is_negation(operator: Operator, notation: Notation) -> bool:
    return operator.arity == 1 and notation.template == "-<a>"


def _latex_number(value: float) -> str:
    mantissa, _, exponent = number_text(value).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa
