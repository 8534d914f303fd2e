"""Infix text to prefix tokens.

Python's own parser reads the text, and of its syntax tree only what is listed here is taken; nothing is evaluated. What
is more than Python's rules for ``+ - * / **``, calls and parentheses:

* a minus before a number is part of the number (``-2``), unless the number is raised or in parentheses (``-(2)``);
* a power is written with a whole number, and becomes squares and cubes;
* ``a@0.25`` is one name, that of a parameter with its start value;
* named functions are replaced by their bodies.
"""

import ast
import math
import re
from collections.abc import Sequence
from functools import cache
from typing import NoReturn

from rlsearch.errors import FormulaError, nearest
from rlsearch.formula import hints
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.tokens import MAX_SIZE, PARAMETER_LETTERS, Token, is_input, plain_token

MAX_TEXT = 10_000
MAX_NESTING = 64  # as many as a formula of 64 tokens, the most that a search may write, can need
MAX_EXPONENT = 16

# The longest beginning that consists of names, decimal numbers and signs. So Python's parser never sees a string, an
# attribute, a comment, or a number such as 0x10, 1_0, 1j, 007.
_NUMBER = r"(?:(?:0|[1-9]\d*+)(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?(?![\w.])"
# The start value of a parameter. To Python's parser it is the rest of a name.
_START = rf"@-?{_NUMBER}"
_PLAIN = re.compile(rf"(?:[\s+\-*/(),]|[A-Za-z_]\w*+(?:{_START})?|{_NUMBER})*+", re.ASCII)
_STARTS = re.compile(_START, re.ASCII)
_WORD = re.compile(r"[\w.]+", re.ASCII)
_SPACES = str.maketrans(dict.fromkeys("\t\n\r\f\v", " "))

_BINARY: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}

Tokens = tuple[Token, ...]
Part = ast.expr | Token


def parse_tokens(text: str) -> Tokens:
    """Reads infix ``text`` into prefix tokens.

    Raises:
        FormulaError: With the position and what was expected there.
    """
    return _Parser(text).parse()


@cache
def _named_body(name: str) -> Tokens:
    return parse_tokens(NAMED[name].body)


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise FormulaError(f"a formula of {len(text)} characters; at most {MAX_TEXT} are allowed")
        self.text = text
        self.indent = len(text) - len(text.lstrip())  # which Python's parser would take for a block's

    def parse(self) -> Tokens:
        self._check_characters()
        self._check_nesting()
        tokens: list[Token] = []
        # The next part on top. A part is replaced by what it consists of until only tokens come.
        stack: list[Part] = [self._tree()]
        while stack:
            part = stack.pop()
            if not isinstance(part, ast.expr):
                tokens.append(part)
            elif len(tokens) + len(stack) >= MAX_SIZE:  # each open part is one token at least
                self._fail(part, f"the formula has grown beyond {MAX_SIZE} tokens")
            else:
                stack.extend(reversed(self._parts(part)))
        return tuple(tokens)

    def _tree(self) -> ast.expr:
        text = self.text if self.text.isprintable() else self.text.translate(_SPACES)
        text = _STARTS.sub(lambda start: "_" * len(start.group()), text)
        try:
            return ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            at, end = self.indent + (error.offset or 0) - 1, len(self.text.rstrip())
            if "digits" in error.msg:
                raise self._error(min(max(at, 0), end), "a number has too many digits") from None
            if not error.offset or at >= end:
                raise self._error(end, "expected a number, an input, a function or ')', got the end") from None
            raise self._error(at, f"{error.msg}, at {self.text[at]!r}") from None
        except (RecursionError, MemoryError, ValueError):
            raise self._error(0, "the formula is nested too deeply") from None

    def _parts(self, node: ast.expr) -> Sequence[Part]:
        """What a node consists of, in prefix order."""
        if isinstance(node, ast.Name):
            return (self._leaf(node, self._written(node)),)
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Pow):
                return self._power(node.left, node.right)
            if type(node.op) in _BINARY:
                return _BINARY[type(node.op)], node.left, node.right
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node, self._written(node.func), node.args)
        elif isinstance(node, ast.Constant):
            return (self._number(node),)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            operand = node.operand
            between = self.text[self.indent + node.col_offset : self.indent + operand.col_offset]
            if isinstance(operand, ast.Constant) and "(" not in between:
                return (-self._number(operand),)
            return "neg", operand
        self._fail(node, f"expected numbers, inputs, functions and + - * / ** alone, got {self._written(node)!r}")

    def _power(self, base: ast.expr, exponent: ast.expr) -> Sequence[Part]:
        if isinstance(exponent, ast.BinOp) and isinstance(exponent.op, ast.Pow):
            position = self.indent + (exponent.left.end_col_offset or 0)
            raise self._error(position, "a power of a power needs parentheses, as in (x**2)**3")
        written = self._written(exponent)
        if not written.isdigit() or not 1 <= float(written) <= MAX_EXPONENT:
            expected = f"expected a whole exponent from 1 to {MAX_EXPONENT}, got {written!r}"
            self._fail(exponent, expected, hints.of_exponent(written))
        parts: list[Part] = []
        left = int(written)
        while left > 1:
            if left == 3:
                parts.append("cube")
                left = 1
            elif left % 2 == 0:
                parts.append("square")
                left //= 2
            else:
                parts += ["mul", base]
                left -= 1
        return [*parts, base]

    def _call(self, node: ast.expr, name: str, arguments: Sequence[ast.expr]) -> Sequence[Part]:
        if name not in OPERATORS and name not in NAMED:
            self._fail_unknown(node, "function", name)
        expected = OPERATORS[name].arity if name in OPERATORS else len(NAMED[name].parameters)
        if len(arguments) != expected:
            self._fail(node, f"{name} takes {expected} argument(s), got {len(arguments)}")
        if name in OPERATORS:
            return name, *arguments
        by_name: dict[Token, ast.expr] = dict(zip(NAMED[name].parameters, arguments, strict=True))
        return [by_name.get(token, token) for token in _named_body(name)]

    def _leaf(self, node: ast.expr, name: str) -> Token:
        if is_input(name):
            return name
        if name in PARAMETER_LETTERS or "@" in name:
            return self._parameter(node, name)
        if name == "pi":
            return math.pi
        if name in OPERATORS or name in NAMED:
            raise self._error(self.indent + (node.end_col_offset or 0), f"expected '(' after the function {name!r}")
        self._fail_unknown(node, "name", name)

    def _parameter(self, node: ast.expr, name: str) -> Token:
        letter, _, start = name.partition("@")
        if letter not in PARAMETER_LETTERS or len(letter) != 1:
            what = f"{letter!r} is an input" if is_input(letter) else f"{letter!r} is not a letter of a parameter"
            self._fail(node, f"{what} and has no start value; parameters are {', '.join(PARAMETER_LETTERS)}")
        try:
            return plain_token(name)
        except FormulaError:
            self._fail(node, f"the start value {start} is too large")

    def _number(self, node: ast.expr) -> float:
        written = self._written(node)
        try:
            value = float(written)
        except ValueError:
            self._fail_unknown(node, "name", written)
        if not math.isfinite(value):
            self._fail(node, f"the number {written} is too large")
        return value

    def _check_characters(self) -> None:
        match = _PLAIN.match(self.text)
        end = match.end() if match else 0
        if end < len(self.text):
            word = _WORD.match(self.text, end)
            if word and word.group()[0].isdigit():
                raise self._error(end, f"{word.group()!r} is not a number", hints.of_number(word.group()))
            raise self._error(end, f"unexpected character {self.text[end]!r}", hints.of_character(self.text, end))
        if not self.text.strip():
            raise self._error(0, "expected a number, an input, a function or '(', got the end")

    def _check_nesting(self) -> None:
        """Before Python's parser, whose own limit is not far away: a chain of operators nests in it, too."""
        # A token is worth four of these at most: -1e-5 has two, and ** is written with two.
        if sum(self.text.count(character) for character in "+-*/") > 4 * MAX_SIZE:
            raise self._error(0, f"the formula has grown beyond {MAX_SIZE} tokens")
        if self.text.count("(") <= MAX_NESTING:
            return
        depth = 0
        for position, character in enumerate(self.text):
            depth += (character == "(") - (character == ")")
            if depth > MAX_NESTING:
                raise self._error(position, f"more than {MAX_NESTING} levels of nesting")

    def _written(self, node: ast.expr) -> str:
        return self.text[self.indent + node.col_offset : self.indent + (node.end_col_offset or 0)]

    def _fail_unknown(self, node: ast.expr, kind: str, name: str) -> NoReturn:
        hint = hints.of_function(name)
        known = "" if hint else nearest(name, [*OPERATORS, *NAMED])
        self._fail(node, f"unknown {kind} {name!r} (inputs are single lower-case letters){known}", hint)

    def _fail(self, node: ast.expr, message: str, hint: str = "") -> NoReturn:
        raise self._error(self.indent + node.col_offset, message, hint)

    def _error(self, position: int, message: str, hint: str = "") -> FormulaError:
        text = self.text
        shown = text if len(text) <= 120 else text[: max(0, position) + 40][-120:]
        offset = position if len(text) <= 120 else min(position, len(shown) - min(40, len(text) - position))
        return FormulaError(f"{message} at position {position + 1}{hint}:\n  {shown}\n  {' ' * offset}^")
