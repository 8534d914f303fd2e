"""Infix text to prefix tokens: a recursive-descent parser with bounded nesting and length.

Grammar, loosest first::

    sum     = product (("+" | "-") product)*
    product = unary (("*" | "/") unary)*
    unary   = "-" unary | power            a minus before a number that is not raised is part of the number
    power   = atom ["**" whole number]
    atom    = number | "pi" | input | name "(" sum ("," sum)* ")" | "(" sum ")"
"""

import math
import re
from dataclasses import dataclass
from functools import cache

from rlsearch.errors import FormulaError, nearest
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.tokens import MAX_SIZE, Token, is_input

MAX_TEXT = 10_000
MAX_NESTING = 64  # as many as a formula of 64 tokens, the most that a search may write, can need
MAX_EXPONENT = 16

_LEXEME = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>\*\*|[-+*/(),]))"
)

Tokens = tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class _Lexeme:
    kind: str  # number, name, sign or end
    text: str
    position: int


def parse_tokens(text: str) -> Tokens:
    """Returns the prefix tokens of infix ``text``.

    Raises:
        FormulaError: With the position and what was expected there.
    """
    return _Parser(text, ()).parse()


@cache
def _named_body(name: str) -> Tokens:
    function = NAMED[name]
    return _Parser(function.body, function.parameters).parse()


class _Parser:
    def __init__(self, text: str, parameters: tuple[str, ...]) -> None:
        if len(text) > MAX_TEXT:
            raise FormulaError(f"a formula of {len(text)} characters; at most {MAX_TEXT} are allowed")
        self.text = text
        self.parameters = parameters
        self.lexemes = self._scan()
        self.next = 0
        self.nesting = 0

    def _scan(self) -> list[_Lexeme]:
        lexemes, position, end = [], 0, len(self.text.rstrip())
        while position < end:
            match = _LEXEME.match(self.text, position)
            if match is None:
                position += len(self.text[position:]) - len(self.text[position:].lstrip())
                raise self._error(position, f"unexpected character {self.text[position]!r}")
            kind = str(match.lastgroup)
            lexemes.append(_Lexeme(kind, match.group(kind), match.start(kind)))
            position = match.end()
        return [*lexemes, _Lexeme("end", "", end)]

    def _error(self, position: int, message: str) -> FormulaError:
        shown = self.text if len(self.text) <= 120 else self.text[: max(0, position) + 40][-120:]
        offset = position if len(self.text) <= 120 else min(position, len(shown) - min(40, len(self.text) - position))
        return FormulaError(f"{message} at position {position + 1}:\n  {shown}\n  {' ' * offset}^")

    def _peek(self) -> _Lexeme:
        return self.lexemes[self.next]

    def _take(self) -> _Lexeme:
        lexeme = self.lexemes[self.next]
        self.next += 1
        return lexeme

    def _expect(self, sign: str) -> None:
        lexeme = self._peek()
        if lexeme.text != sign:
            raise self._error(lexeme.position, f"expected {sign!r}, got {self._describe(lexeme)}")
        self.next += 1

    @staticmethod
    def _describe(lexeme: _Lexeme) -> str:
        return "the end" if lexeme.kind == "end" else repr(lexeme.text)

    def _checked(self, tokens: Tokens) -> Tokens:
        if len(tokens) > MAX_SIZE:
            raise self._error(self._peek().position, f"the formula has grown beyond {MAX_SIZE} tokens")
        return tokens

    def parse(self) -> Tokens:
        tokens = self._sum()
        lexeme = self._peek()
        if lexeme.kind != "end":
            raise self._error(lexeme.position, f"expected an operator or the end, got {self._describe(lexeme)}")
        return tokens

    def _sum(self) -> Tokens:
        left = self._product()
        while self._peek().text in ("+", "-"):
            operator = "add" if self._take().text == "+" else "sub"
            left = self._checked((operator, *left, *self._product()))
        return left

    def _product(self) -> Tokens:
        left = self._unary()
        while self._peek().text in ("*", "/"):
            operator = "mul" if self._take().text == "*" else "div"
            left = self._checked((operator, *left, *self._unary()))
        return left

    def _unary(self) -> Tokens:
        lexeme = self._peek()
        if lexeme.text != "-":
            return self._power()
        self._nest(lexeme)
        self.next += 1
        number, after = self._peek(), self.lexemes[min(self.next + 1, len(self.lexemes) - 1)]
        tokens: Tokens
        if number.kind == "number" and after.text != "**":
            tokens = (-self._number(self._take()),)
        else:
            tokens = self._checked(("neg", *self._unary()))
        self.nesting -= 1
        return tokens

    def _power(self) -> Tokens:
        base = self._atom()
        if self._peek().text != "**":
            return base
        sign = self._take()
        exponent = self._take()
        if exponent.kind != "number" or not exponent.text.isdigit() or not 1 <= float(exponent.text) <= MAX_EXPONENT:
            raise self._error(
                exponent.position, f"expected a whole exponent from 1 to {MAX_EXPONENT}, got {self._describe(exponent)}"
            )
        if self._peek().text == "**":
            raise self._error(self._peek().position, "a power of a power needs parentheses, as in (x**2)**3")
        return self._raised(base, int(exponent.text), sign)

    def _raised(self, base: Tokens, exponent: int, sign: _Lexeme) -> Tokens:
        if exponent == 1:
            return base
        if exponent == 3:
            return self._checked(("cube", *base))
        if exponent % 2 == 0:
            return self._checked(("square", *self._raised(base, exponent // 2, sign)))
        return self._checked(("mul", *base, *self._raised(base, exponent - 1, sign)))

    def _nest(self, lexeme: _Lexeme) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self._error(lexeme.position, f"more than {MAX_NESTING} levels of nesting")

    def _number(self, lexeme: _Lexeme) -> float:
        value = float(lexeme.text)
        if not math.isfinite(value):
            raise self._error(lexeme.position, f"the number {lexeme.text} is too large")
        return value

    def _atom(self) -> Tokens:
        lexeme = self._take()
        if lexeme.kind == "number":
            return (self._number(lexeme),)
        if lexeme.text == "(":
            self._nest(lexeme)
            tokens = self._sum()
            self._expect(")")
            self.nesting -= 1
            return tokens
        if lexeme.kind == "name":
            return self._name(lexeme)
        self.next -= 1
        raise self._error(
            lexeme.position, f"expected a number, an input, a function or '(', got {self._describe(lexeme)}"
        )

    def _name(self, lexeme: _Lexeme) -> Tokens:
        name = lexeme.text
        if self._peek().text == "(" and (name in OPERATORS or name in NAMED):
            return self._call(name, lexeme)
        if name == "pi":
            return (math.pi,)
        if is_input(name) and self._peek().text != "(":
            return (name,)
        if name in OPERATORS or name in NAMED:
            raise self._error(self._peek().position, f"expected '(' after the function {name!r}")
        kind = "function" if self._peek().text == "(" else "name"
        raise self._error(
            lexeme.position,
            f"unknown {kind} {name!r} (inputs are single lower-case letters){nearest(name, [*OPERATORS, *NAMED])}",
        )

    def _call(self, name: str, lexeme: _Lexeme) -> Tokens:
        self._nest(lexeme)
        self._expect("(")
        arguments = [self._sum()]
        while self._peek().text == ",":
            self.next += 1
            arguments.append(self._sum())
        self._expect(")")
        self.nesting -= 1
        expected = OPERATORS[name].arity if name in OPERATORS else len(NAMED[name].parameters)
        if len(arguments) != expected:
            raise self._error(lexeme.position, f"{name} takes {expected} argument(s), got {len(arguments)}")
        if name in OPERATORS:
            return self._checked((name, *(t for argument in arguments for t in argument)))
        by_name = dict(zip(NAMED[name].parameters, arguments, strict=True))
        tokens: list[Token] = []
        for token in _named_body(name):
            tokens.extend(by_name[token] if isinstance(token, str) and token in by_name else (token,))
            self._checked(tuple(tokens) if len(tokens) > MAX_SIZE else ())
        return tuple(tokens)
