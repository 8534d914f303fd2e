import pytest
from hypothesis import given, settings
from strategies import FIXED, formulas

from rlsearch import Formula
from rlsearch.formula.mirrors import MOST_IMAGES, exchange_key, mirror_key

parse = Formula.parse


def replaced(formula, **others):
    """The formula with the tokens ``others`` in the place of inputs."""
    tokens = []
    for token in formula.tokens:
        tokens += others.get(token, [token])
    return Formula(tokens)


def negative(formula):
    return Formula(("neg", *formula.tokens))


@settings(FIXED, max_examples=200)
@given(formulas(max_size=10))
def test_all_four_images_share_a_key(formula):
    images = {formula, replaced(formula, x=["neg", "x"])}
    images |= {negative(image) for image in images}
    assert len(images) <= 4  # of -x some are spelled alike
    assert len({mirror_key(image) for image in images}) == 1


@settings(FIXED, max_examples=100)
@given(formulas(inputs=("x", "g"), max_size=10).filter(lambda formula: formula.is_gated))
def test_all_sixteen_images_of_a_function_of_two_inputs_share_a_key(formula):
    """Each input has a sign, the result has one, and the inputs may be exchanged."""
    exchanged = replaced(formula, x=["g"], g=["x"])
    assert exchange_key(exchanged) == exchange_key(formula)
    images = {formula: None}  # in a fixed order; some are the same spelling
    for change in (
        lambda f: replaced(f, x=["g"], g=["x"]),
        lambda f: replaced(f, x=["neg", "x"]),
        lambda f: replaced(f, g=["neg", "g"]),
        negative,
    ):
        images |= dict.fromkeys([change(image) for image in images])
    assert len(images) <= MOST_IMAGES == 16
    assert len({mirror_key(image) for image in images}) == 1


def test_a_function_of_g_alone_is_one_of_x():
    assert exchange_key(parse("sin(g)")) == exchange_key(parse("sin(x)")) == parse("sin(x)").fingerprint
    assert mirror_key(parse("sin(g)")) == mirror_key(parse("-sin(x)"))


def test_of_three_inputs_the_signs_change_together_alone():
    assert mirror_key(parse("x - g + h")) == mirror_key(parse("g - x - h"))
    assert mirror_key(parse("x - g + h")) != mirror_key(parse("x + g + h"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("softplus(x) - cos(x)", "cos(x) - softplus(x)"),
        ("abs(x) - sigmoid(x)", "sigmoid(-x) - abs(x)"),
        ("relu(x)", "min0(x)"),
        ("x * g", "-x * g"),
        ("x - g", "x + g"),
        ("x * relu(g)", "-g * relu(-x)"),
    ],
)
def test_images_of_one_idea(one, other):
    assert parse(one).fingerprint != parse(other).fingerprint
    assert mirror_key(parse(one)) == mirror_key(parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("relu(x)", "silu(x)"), ("x", "2 * x"), ("exp(x)", "exp(2 * x)"), ("x * g", "x * relu(g)")],
)
def test_other_functions_are_no_images(one, other):
    assert mirror_key(parse(one)) != mirror_key(parse(other))


def test_an_image_of_what_is_symmetric_is_itself():
    assert len({mirror_key(parse(text)) for text in ("x**2", "-x**2", "(-x)**2")}) == 1
    assert mirror_key(parse("tanh(x)")) == mirror_key(parse("-tanh(x)")) == mirror_key(parse("tanh(-x)"))
