"""Trained parameters in the language: how they are written, read, evaluated, identified, exported and put in."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import FIXED, SMALL_CONSTANTS, formulas

from rlsearch import Formula, export, replace_activations
from rlsearch.errors import ConfigError, FormulaError
from rlsearch.formula.formula import fingerprint_grid
from rlsearch.formula.grammar import Grammar
from rlsearch.formula.mirrors import mirror_key
from rlsearch.formula.rules import ForbidConstantSubexpressions
from rlsearch.formula.settings import LanguageSettings
from rlsearch.formula.simplify import simplified
from rlsearch.formula.tokens import parameter_token
from rlsearch.formula.vocabulary import Vocabulary
from rlsearch.integrations.modules import module_class

torch.set_num_threads(1)

parse = Formula.parse
SWISH = parse("x * sigmoid(b@1.5 * x)")
PRELU = parse("prelu(x)")
PARAMETERS = ("a@0.25", "b@-1", "d@1e-05")
with_parameters = formulas(inputs=("x", "g"), parameters=PARAMETERS, constants=SMALL_CONSTANTS)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("a", "a@1"),
        ("a@1", "a@1"),
        ("a@1.0", "a@1"),
        ("a@.250", "a@0.25"),
        ("a@-0.5", "a@-0.5"),
        ("a@-0", "a@0"),
        ("d@1e-5", "d@1e-05"),
        ("c@2.5E+3", "c@2500"),
    ],
)
def test_a_token_is_the_string_of_its_spelling(text, token):
    formula = parse(f"x * {text}")
    assert formula.tokens == ("mul", "x", token)
    assert formula == Formula(("mul", "x", text))
    assert (formula.inputs, formula.arguments) == (("x",), ("x", text[0]))
    assert formula.parameters == {text[0]: float(token[2:])}
    assert parse(formula.spelling) == formula


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x@2", r"'x' is an input and has no start value; parameters are a, b, c, d at position 1:"),
        ("x * e@2", r"'e' is an input and has no start value"),
        ("aa@2 * x", r"'aa' is not a letter of a parameter"),
        ("a @ 2 * x", r"unexpected character '@' at position 3; write a@0.25:"),
        ("a@ * x", r"unexpected character '@' at position 2; write a@0.25:"),
        ("a@x", r"unexpected character '@' at position 2"),
        ("a@007 * x", r"unexpected character '@' at position 2"),
        ("x + a@1e999", r"the start value 1e999 is too large at position 5:"),
        ("relu@2(x)", r"unknown function 'relu@2'"),
        ("a@2 * b@3", r"contains no input"),
        ("a * sin(a@2 * x)", r"the parameter a has two start values, 1 and 2; a letter has one start value, 1 where"),
    ],
)
def test_errors_say_what_is_wrong(text, message):
    with pytest.raises(FormulaError, match=message):
        parse(text)


@pytest.mark.parametrize("token", ["a@nan", "a@inf", "a@one", "x@1", "e@1", "@1"])
def test_what_is_no_token(token):
    with pytest.raises(FormulaError, match=r"start value|unknown token"):
        Formula(("mul", "x", token))
    with pytest.raises(FormulaError, match=r"start value|letter of a parameter"):
        parameter_token(token.partition("@")[0], math.nan)


@settings(FIXED, max_examples=300)
@given(with_parameters)
def test_every_formula_is_read_back(formula):
    assert parse(formula.spelling) == formula
    assert parse(str(formula)).fingerprint == formula.fingerprint
    assert simplified(formula).fingerprint == formula.fingerprint
    assert simplified(formula).parameters == formula.parameters
    assert "@" not in formula.latex()


@settings(FIXED, max_examples=200)
@given(with_parameters)
def test_a_formula_has_its_start_values_unless_others_are_given(formula):
    grids = {name: fingerprint_grid(name) for name in formula.inputs}
    at_start = formula(**grids)
    np.testing.assert_array_equal(at_start, formula(**grids, **formula.parameters))
    np.testing.assert_array_equal(at_start, formula(*grids.values()))
    put_in = formula.with_values()
    assert put_in.parameters == {}
    # A constant expression is folded in float64, so nothing differs here.
    np.testing.assert_array_equal(at_start, put_in(**grids) if set(put_in.inputs) else at_start)


def test_values_by_hand():
    # 2 sigmoid(3) = 2 / (1 + exp(-3)); at b = 0 the sigmoid is a half.
    assert float(SWISH(2.0)) == pytest.approx(2 / (1 + math.exp(-3)), rel=1e-15)
    assert float(SWISH(2.0, b=0)) == 1.0
    np.testing.assert_array_equal(PRELU(np.array([-4.0, 4.0]), a=np.array([0.5, 0.0])), [-2.0, 4.0])
    with pytest.raises(FormulaError, match=r"'x \* sigmoid\(b@1.5 \* x\)' takes \(x, b=1.5\), got 2 value\(s\)"):
        SWISH(2.0, 3.0)
    with pytest.raises(FormulaError, match=r"takes \(x, b=1.5\), got 2 value\(s\)"):
        SWISH(2.0, a=3.0)


def test_numbers_put_in():
    assert SWISH.with_values(b=2).tokens == ("mul", "x", "sigmoid", "mul", 2.0, "x")
    assert SWISH.with_values() == parse("x * sigmoid(1.5 * x)")
    assert parse("silu(x)").with_values() == parse("silu(x)")
    with pytest.raises(FormulaError, match="has no parameter 'a'; its parameters: b"):
        SWISH.with_values(a=1)
    with pytest.raises(FormulaError, match="not finite"):
        SWISH.with_values(b=math.inf)


def test_what_a_fingerprint_tells_apart():
    assert parse("sigmoid(b@1.5 * x) * x").fingerprint == SWISH.fingerprint
    assert parse("x * sigmoid(x * b@1.5)").fingerprint == SWISH.fingerprint
    others = ["x * sigmoid(b@1 * x)", "x * sigmoid(1.5 * x)", "x * sigmoid(a@1.5 * x)", "x * sigmoid(g * x)"]
    assert SWISH.fingerprint not in {parse(text).fingerprint for text in others}
    # A parameter that makes no difference is still one.
    assert parse("x + a - a").fingerprint != parse("x").fingerprint


def test_mirror_images_keep_their_parameters():
    keys = {mirror_key(parse(text)) for text in ("prelu(x)", "-prelu(x)", "prelu(-x)", "-prelu(-x)")}
    assert len(keys) == 1
    assert mirror_key(parse("relu(x) - a@0.25 * min0(x)")) not in keys


def test_the_source_has_them_as_parameters():
    assert (
        PRELU.source()
        .partition('min(x, 0)."""\n')[2]
        .startswith(
            """
    def __init__(self, a: float = 0.25) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(a))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Whole numbers count as floats; float16 and bfloat16 are computed in float32 and rounded once.
        dtype = torch.sigmoid(x.new_empty((0,))).dtype
        x = x.to(torch.promote_types(dtype, torch.float32))
        a = self.a.to(torch.promote_types(dtype, torch.float32))
"""
        )
    )
    assert "Elementwise" in parse("silu(x)").source()
    assert "__init__" not in parse("silu(x)").source()


@settings(FIXED, max_examples=60)
@given(with_parameters)
def test_a_module_is_its_formula_and_has_its_gradients(formula):
    """Against autograd of the formula itself, to which the parameters are tensors."""
    module = formula.to_module().double()
    assert {name: parameter.item() for name, parameter in module.named_parameters()} == pytest.approx(
        formula.parameters, rel=1e-7
    )
    x = torch.tensor([-2.3, -0.7, 0.4, 1.9], dtype=torch.float64)
    inputs = [x, x.flip(0) * 0.7][: len(formula.inputs)]
    letters = {name: parameter.detach().clone().requires_grad_() for name, parameter in module.named_parameters()}
    results = []
    for y, leaves in (
        (module(*inputs), list(module.parameters())),
        (formula(*inputs, **letters), list(letters.values())),
    ):
        slopes = torch.autograd.grad(y.sum(), leaves, materialize_grads=True) if leaves and y.requires_grad else ()
        results.append((y, *slopes))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_a_module_equals_torchs_own_in_training():
    ours, theirs = PRELU.to_module(), torch.nn.PReLU()
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    for module in (ours, theirs):
        optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
        for _ in range(5):
            optimiser.zero_grad()
            (module(x) - 0.5 * x.abs()).square().mean().backward()
            optimiser.step()
    assert ours.a.item() == pytest.approx(theirs.weight.item(), rel=1e-5)
    assert abs(ours.a.item() - 0.25) > 0.1


def test_a_module_is_pickled_with_what_it_has_learned():
    module = SWISH.to_module()
    module.b.data.fill_(0.3)
    again = pickle.loads(pickle.dumps(module))
    assert again.b.item() == pytest.approx(0.3)
    assert SWISH.to_module().b.item() == 1.5


def test_exports_have_them_as_arguments_symbols_or_numbers():
    namespace = {}
    exec(export(PRELU, "numpy"), namespace)
    assert namespace["activation"](-2.0) == -0.5
    assert namespace["activation"](-2.0, a=1) == -2.0
    assert "# trained parameters: a = 0.25, which are the values that they start at" in export(PRELU, "numpy")
    assert "def activation(x, a=0.25):" in export(PRELU, "jax")
    assert 'a = sympy.Symbol("a", real=True)' in export(PRELU, "sympy")
    assert export(PRELU, "latex").splitlines()[-1].count("a \\cdot") == 1
    assert "0.25 * min(x, 0), in one pass" in export(PRELU, "triton")


def test_a_language_with_parameters():
    language = {"parameters": {"a": 0.25, "b": 1}, "constants": [], "operators": ["sin", "add"]}
    grammar = LanguageSettings.check(language).grammar()
    assert grammar.vocabulary.tokens == ("sin", "add", "x", "a@0.25", "b@1")
    assert Vocabulary(("add",), parameters=("a",)).parameters == ("a@1",)
    ids = [grammar.vocabulary.encode(parse(text)).tolist() for text in ("sin(a@0.25 + x)", "x + sin(b)", "a@0.25 + x")]
    # To the rule a parameter is a constant, of which an operator makes another.
    assert ForbidConstantSubexpressions() in grammar.rules
    assert grammar.allows(ids).tolist() == [True, False, True]
    assert Grammar(grammar.vocabulary).allows(ids).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"parameters": {"x": 1}}, "'x' is not the letter of a parameter; expected one of a, b, c, d"),
        ({"parameters": {"ab": 1}}, "'ab' is not the letter of a parameter"),
        (
            {"inputs": ["x", "a"]},
            "the input 'a' is not a single lower-case letter, such as x or g, other than",
        ),
    ],
)
def test_a_wrong_language_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        LanguageSettings.check(values)


def test_a_wrong_vocabulary_is_refused():
    with pytest.raises(ConfigError, match="the parameter a has two start values, 1 and 2"):
        Vocabulary(("add",), parameters=("a@1", "a@2"))
    with pytest.raises(ConfigError, match=r"'0\.5' is not a parameter; expected a letter and its start value"):
        Vocabulary(("add",), parameters=("0.5",))


def test_a_class_for_libraries_makes_parameters_of_its_own_for_every_layer():
    cls = module_class("prelu(x)")
    one, other = cls(), cls(inplace=True)
    one.a.data.fill_(0.5)
    assert (one(torch.tensor(-1.0)).item(), other(torch.tensor(-1.0)).item()) == (-0.5, -0.25)
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(1, 1), torch.nn.ReLU())
    replace_activations(model, "relu", PRELU.to_module())
    assert [name for name, _ in model.named_parameters()] == ["0.a", "1.weight", "1.bias", "2.a"]
