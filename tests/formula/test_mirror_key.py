import pytest
from hypothesis import given, settings
from strategies import FIXED, formulas

from rlsearch import Formula
from rlsearch.formula.mirrors import MOST_IMAGES, mirror_key

parse = Formula.parse


def mirrored(formula):
    """The formula at the negative of its inputs."""
    tokens = []
    for token in formula.tokens:
        tokens += ["neg", token] if token in formula.inputs else [token]
    return Formula(tokens)


def negative(formula):
    return Formula(("neg", *formula.tokens))


@settings(FIXED, max_examples=200)
@given(formulas(inputs=("x", "g"), max_size=10))
def test_all_four_images_share_a_key(formula):
    images = [formula, negative(formula), mirrored(formula), negative(mirrored(formula))]
    assert len(images) == MOST_IMAGES
    assert len({mirror_key(image) for image in images}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("softplus(x) - cos(x)", "cos(x) - softplus(x)"),
        ("abs(x) - sigmoid(x)", "sigmoid(-x) - abs(x)"),
        ("relu(x)", "min0(x)"),
        ("x * g", "-x * g"),
    ],
)
def test_images_of_one_idea(one, other):
    assert parse(one).fingerprint != parse(other).fingerprint
    assert mirror_key(parse(one)) == mirror_key(parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [("relu(x)", "silu(x)"), ("x", "2 * x"), ("exp(x)", "exp(2 * x)"), ("x - g", "x + g")],
)
def test_other_functions_are_no_images(one, other):
    assert mirror_key(parse(one)) != mirror_key(parse(other))


def test_an_image_of_what_is_symmetric_is_itself():
    assert len({mirror_key(parse(text)) for text in ("x**2", "-x**2", "(-x)**2")}) == 1
    assert mirror_key(parse("tanh(x)")) == mirror_key(parse("-tanh(x)")) == mirror_key(parse("tanh(-x)"))
