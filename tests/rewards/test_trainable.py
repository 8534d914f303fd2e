import pytest
from helpers_gated import POINTWISE, TRANSFORMER
from helpers_own import settings as own_settings

from rlsearch import Formula
from rlsearch.errors import InputError
from rlsearch.rewards.settings import RewardSettings
from rlsearch.rewards.trainable import check_trainable, trains_gated, why_not_gated


def proxies(*values):
    return RewardSettings(proxies=values).proxies


def parsed(*texts):
    return [Formula.parse(text) for text in texts]


def test_a_transformer_trains_gated_formulas_and_an_mlp_does_not():
    transformer, mlp = proxies(TRANSFORMER, POINTWISE)
    assert trains_gated(transformer)
    assert not trains_gated(mlp)
    check_trainable(parsed("sin(x)", "x * tanh(g)"), [transformer])
    check_trainable(parsed("sin(x)", "relu(x)"), [transformer, mlp])


def test_the_reason_names_each_proxy_once_and_what_can():
    assert why_not_gated(proxies(TRANSFORMER)) == ""
    twice = proxies(POINTWISE, TRANSFORMER, POINTWISE | {"epochs": 9})
    assert why_not_gated(twice) == "gated formulas are not trained by digits-mlp, but by the network transformer"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x * g", r"^'x \* g' is a function of x, g, and gated formulas are not trained by digits-mlp, but by the n"),
        ("sin(g)", r"^'sin\(g\)' is a function of g; expected one of x, or of x and g$"),
        ("x * h", r"^'x \* h' is a function of x, h; expected one of x, or of x and g$"),
    ],
)
def test_what_cannot_be_trained_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        check_trainable(parsed("relu(x)", text), proxies(POINTWISE))


def test_a_network_of_ones_own_trains_formulas_of_x():
    assert why_not_gated([own_settings()]).startswith("gated formulas are not trained by helpers_networks:mlp, ")
    check_trainable(parsed("sin(x)"), [own_settings()])
