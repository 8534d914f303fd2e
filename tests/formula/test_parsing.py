import math
import time

import pytest

from rlsearch import Formula
from rlsearch.errors import FormulaError
from rlsearch.formula.named import NAMED
from rlsearch.formula.operators import OPERATORS
from rlsearch.formula.parsing import MAX_EXPONENT, MAX_NESTING, MAX_TEXT, parse_tokens
from rlsearch.formula.tokens import is_parameter


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # precedence and associativity
        ("x + x * x", "add x mul x x"),
        ("x * x + x", "add mul x x x"),
        ("(x + x) * x", "mul add x x x"),
        ("x - g - h", "sub sub x g h"),
        ("x - (g - h)", "sub x sub g h"),
        ("x - g + h", "add sub x g h"),
        ("x / g / h", "div div x g h"),
        ("x / g * h", "mul div x g h"),
        ("x * g / h", "div mul x g h"),
        # unary minus: tighter than products, looser than powers
        ("-x", "neg x"),
        ("--x", "neg neg x"),
        ("-x * g", "mul neg x g"),
        ("x * -g", "mul x neg g"),
        ("x - -g", "sub x neg g"),
        ("-x**2", "neg square x"),
        ("(-x)**2", "square neg x"),
        ("-sin(x)", "neg sin x"),
        ("-(x + g)", "neg add x g"),
        # a minus before a number belongs to it, unless the number is raised or in parentheses
        ("x + -2", "add x -2.0"),
        ("-2 * x", "mul -2.0 x"),
        ("x - 2", "sub x 2.0"),
        ("x - -2", "sub x -2.0"),
        ("x + -2**2", "add x neg square 2.0"),
        ("x + -(2)", "add x neg 2.0"),
        ("x + --2", "add x neg -2.0"),
        # powers are chains of squares and cubes
        ("x**1", "x"),
        ("x**2", "square x"),
        ("x**3", "cube x"),
        ("x**4", "square square x"),
        ("x**5", "mul x square square x"),
        ("x**6", "square cube x"),
        ("x**7", "mul x square cube x"),
        ("x**16", "square square square square x"),
        ("(x**2)**3", "cube square x"),
        ("2**2 * x", "mul square 2.0 x"),
        ("sin(x)**2", "square sin x"),
        # numbers
        ("x + 1", "add x 1.0"),
        ("x + 1.", "add x 1.0"),
        ("x + .5", "add x 0.5"),
        ("x + 1e3", "add x 1000.0"),
        ("x + 2.5E-3", "add x 0.0025"),
        ("x + 1e+2", "add x 100.0"),
        ("pi * x", f"mul {math.pi!r} x"),
        ("-pi * x", f"mul neg {math.pi!r} x"),
        # white space
        ("  x+g ", "add x g"),
        ("x\n\t* g", "mul x g"),
        ("sin (x)", "sin x"),
        # calls
        ("max(x, min(g, 0))", "max x min g 0.0"),
        ("gate(x + 1, -g)", "gate add x 1.0 neg g"),
        ("min0(x)", "min0 x"),
        ("e + p", "add e p"),  # inputs, not constants
    ],
)
def test_tokens(text, tokens):
    expected = tuple(t if t in OPERATORS or (len(t) == 1 and t.isalpha()) else float(t) for t in tokens.split())
    assert Formula.parse(text).tokens == expected


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda o: o.name)
def test_every_operator_by_name(operator):
    operands = ("x", "g")[: operator.arity]
    assert Formula.parse(f"{operator.name}({', '.join(operands)})").tokens == (operator.name, *operands)


@pytest.mark.parametrize("exponent", range(1, MAX_EXPONENT + 1))
def test_powers(exponent):
    assert float(Formula.parse(f"x**{exponent}")(1.5)) == pytest.approx(1.5**exponent, rel=1e-14)


@pytest.mark.parametrize("name", NAMED)
def test_named_functions_expand_into_their_body(name):
    function = NAMED[name]
    formula = Formula.parse(f"{name}({', '.join(function.parameters)})")
    assert formula == Formula.parse(function.body)
    named = {t for t in formula.tokens if isinstance(t, str) and not is_parameter(t)}
    assert named <= {*OPERATORS, "x", "g"}


def test_arguments_are_put_in_for_all_parameters_at_once():
    assert Formula.parse("glu(g, x)") == Formula.parse("g * sigmoid(x)")
    assert Formula.parse("swiglu(x + 1, 2 * x)") == Formula.parse("(x + 1) * (2 * x * sigmoid(2 * x))")
    assert Formula.parse("silu(silu(x))") == Formula.parse("x * sigmoid(x) * sigmoid(x * sigmoid(x))")
    assert Formula.parse("silu(x + 1)") == Formula.parse("(x + 1) * sigmoid(x + 1)")


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 1, "expected a number, an input, a function or '(', got the end"),
        ("   ", 1, "got the end"),
        ("x +", 4, "got the end"),
        ("x + * g", 5, "invalid syntax, at '*'"),
        ("* x", 1, "invalid syntax, at '*'"),
        ("x g", 3, "invalid syntax, at 'g'"),
        ("2x", 1, "'2x' is not a number"),
        ("1.2.3 * x", 1, "'1.2.3' is not a number"),
        ("(x", 1, "'(' was never closed"),
        ("x)", 2, "unmatched ')'"),
        ("(x, g)", 1, "expected numbers, inputs, functions and + - * / ** alone, got '(x, g)'"),
        ("sin(x", 4, "'(' was never closed"),
        ("sin()", 1, "sin takes 1 argument(s), got 0"),
        ("()", 1, "expected numbers, inputs, functions and + - * / ** alone, got '()'"),
        ("sin", 4, "expected '(' after the function 'sin'"),
        ("sin x", 5, "invalid syntax, at 'x'"),
        ("gelu + x", 5, "expected '(' after the function 'gelu'"),
        ("max(x)", 1, "max takes 2 argument(s), got 1"),
        ("x + sin(x, x)", 5, "sin takes 1 argument(s), got 2"),
        ("glu(x)", 1, "glu takes 2 argument(s), got 1"),
        ("max(x,)", 1, "max takes 2 argument(s), got 1"),
        ("1 + geluu(x)", 5, "unknown function 'geluu' (inputs are single lower-case letters); did you mean 'gelu'?"),
        ("x(1)", 1, "unknown function 'x'"),
        ("xx + 1", 1, "unknown name 'xx'"),
        ("X", 1, "unknown name 'X'"),
        ("pi(x)", 1, "unknown function 'pi'"),
        ("x ** g", 6, "expected a whole exponent from 1 to 16, got 'g'"),
        ("x**", 4, "got the end"),
        ("x**0", 4, "from 1 to 16, got '0'"),
        ("x**17", 4, "from 1 to 16, got '17'"),
        ("x**-1", 4, "from 1 to 16, got '-1'"),
        ("x**0.5", 4, "from 1 to 16, got '0.5'"),
        ("x**2.0", 4, "from 1 to 16, got '2.0'"),
        ("x**2**3", 5, "a power of a power needs parentheses"),
        ("x + 1e999", 5, "the number 1e999 is too large"),
        ("x + -1e999", 6, "the number 1e999 is too large"),
        ("x $ g", 3, "unexpected character '$'"),
        ("x ^ 2", 3, "unexpected character '^'"),
        ("x\u00b2", 2, "unexpected character '\u00b2'"),
        ("x \u2212 1", 3, "unexpected character '\u2212'"),
        ("__import__('os')", 12, "unexpected character"),
        ("__import__(x)", 1, "unknown function '__import__'"),
        ("x.real", 2, "unexpected character '.'"),
        ("lambda: x", 7, "unexpected character ':'"),
        ("x if x else g", 1, "expected numbers, inputs, functions and + - * / ** alone, got 'x if x else g'"),
        ("x; g", 2, "unexpected character ';'"),
        ("[x]", 1, "unexpected character '['"),
        ("exec(x)", 1, "unknown function 'exec'"),
        # what Python would read, and a formula is not
        ("+x", 1, "alone, got '+x'"),
        ("x // g", 1, "alone, got 'x // g'"),
        ("x and g", 1, "alone, got 'x and g'"),
        ("not x", 1, "alone, got 'not x'"),
        ("x is g", 1, "alone, got 'x is g'"),
        ("x,", 1, "alone, got 'x,'"),
        ("sin(*x)", 5, "alone, got '*x'"),
        ("sin(**x)", 1, "alone, got 'sin(**x)'"),
        ("sin(x)(g)", 1, "alone, got 'sin(x)(g)'"),
        ("1 + sin(x for x in g)", 8, "alone, got '(x for x in g)'"),
        ("await x", 1, "alone, got 'await x'"),
        ("lambda", 7, "got the end"),
        ("None", 1, "unknown name 'None'"),
        ("-True + x", 2, "unknown name 'True'"),
        ("x**True", 4, "from 1 to 16, got 'True'"),
        ("x % g", 3, "unexpected character '%'"),
        ("x == g", 3, "unexpected character '='"),
        ("x # g", 3, "unexpected character '#'"),
        ("x \\ g", 3, "unexpected character '\\\\'"),
        ("x\0", 2, r"unexpected character '\x00'"),
        ("'x'", 1, "unexpected character"),
        ("\ufb01(x)", 1, "unexpected character"),  # Python reads the ligature as fi
        ("x.5", 2, "invalid syntax, at '.'"),
        ("0x10 * x", 1, "'0x10' is not a number"),
        ("1_0 * x", 1, "'1_0' is not a number"),
        ("x + 1j", 5, "'1j' is not a number"),
        ("x + 007", 5, "'007' is not a number"),
        ("  x + 007", 7, "'007' is not a number"),
        ("  x + geluu(x)", 7, "unknown function 'geluu'"),
    ],
)
def test_errors_say_where_and_what(text, position, message):
    with pytest.raises(FormulaError) as info:
        Formula.parse(text)
    first, shown, caret = str(info.value).split("\n")
    assert message in first
    assert f"at position {position}:" in first or f"at position {position}; write " in first
    assert shown == "  " + text
    assert caret == "  " + " " * (position - 1) + "^"


def test_no_input():
    with pytest.raises(FormulaError, match=r"'1 \+ 2' contains no input"):
        Formula.parse("1 + 2")


def test_code_is_never_run(tmp_path):
    target = tmp_path / "made"
    for text in (f"open('{target}', 'w')", f"__import__('os').mkdir('{target}')", "x + print(x)", "x.__class__"):
        with pytest.raises(FormulaError):
            Formula.parse(text)
    assert not target.exists()


@pytest.mark.parametrize("before", [0, 10, 79, 80, 100, 300])
@pytest.mark.parametrize("after", [0, 10, 39, 40, 100])
def test_the_caret_points_at_the_character_in_a_long_text(before, after):
    text = " " * before + "$" + "x" * after
    with pytest.raises(FormulaError) as info:
        Formula.parse(text)
    first, shown, caret = str(info.value).split("\n")
    assert f"position {before + 1}:" in first
    assert shown[len(caret) - 1] == "$"
    assert len(shown) <= 122


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "(" * 5_000 + "x" + ")" * 4_999,
        "-" * 10_000,
        "-" * 9_999 + "x",
        "sin(" * 2_500,
        "max(x, " * 1_400,
        "x * (" * 2_000,
        "x + " * 2_499 + "x",
        "x**" + "9" * 9_000,
        "x + 1e" + "9" * 9_000,
        "x + " + "9" * 9_000,
        "mish(" * 12 + "x" + ")" * 12,
        "gelu(" * 60 + "x" + ")" * 60,
        "gelusine(gelu_sinc(gmtu(gelu_tanh(gelusine(gelu_sinc(gmtu(x)))))))",
        "(" * 60 + "x" + ")**15" * 60,
        "a" * 10_000,
        "x" * 1_000_000,
    ],
)
def test_size_and_nesting_are_bounded(text):
    start = time.perf_counter()
    with pytest.raises(FormulaError) as info:
        Formula.parse(text)
    assert time.perf_counter() - start < 2  # measured: a few milliseconds
    assert len(str(info.value).split("\n")[0]) < 12_000


def test_the_bounds_themselves():
    depth = MAX_NESTING
    assert Formula.parse("(" * depth + "x" + ")" * depth).tokens == ("x",)
    assert Formula.parse("-" * depth + "x").tokens == ("neg",) * depth + ("x",)
    assert Formula.parse("sin(" * depth + "x" + ")" * depth).size == depth + 1
    with pytest.raises(FormulaError, match=f"more than {depth} levels of nesting at position {depth + 1}"):
        Formula.parse("(" * (depth + 1) + "x" + ")" * (depth + 1))
    assert Formula.parse(" " * (MAX_TEXT - 1) + "x").tokens == ("x",)
    with pytest.raises(FormulaError, match="at most 10000"):
        Formula.parse(" " * MAX_TEXT + "x")
    assert Formula.parse("x" + " + x" * 255).size == 511
    with pytest.raises(FormulaError, match="beyond 512 tokens"):
        Formula.parse("x" + " + x" * 256)


def test_nesting_is_depth_not_count():
    assert Formula.parse(" + ".join(["(-x)"] * 100)).size == 299
    assert Formula.parse(" + ".join(["sin(x)"] * 100)).size == 299


def test_parse_tokens_alone_knows_formulas_without_input():
    assert parse_tokens("1 + 2") == ("add", 1.0, 2.0)


@pytest.mark.parametrize("text", ["x" + "-x" * 4999, "x" + "+x" * 4999, "-" * 9999 + "x", "x" + "**1" * 3000])
def test_a_chain_is_refused_before_it_is_parsed(text):
    """Python's own parser nests it, which may be more than a thread's stack holds."""
    with pytest.raises(FormulaError, match="grown beyond 512 tokens"):
        Formula.parse(text)


def test_a_number_with_too_many_digits_is_told_as_such():
    for text in ("9" * 5000 + "+x", "x+" + "9" * 5000):
        with pytest.raises(FormulaError, match="a number has too many digits"):
            Formula.parse(text)
