import pytest

from rlsearch.errors import ConfigError
from rlsearch.formula import Grammar, Vocabulary
from rlsearch.formula.rules import RULES, ForbidConstantSubexpressions, ForbidInversePairs, ForbidNestedPeriodic
from rlsearch.formula.settings import LanguageSettings


def test_the_defaults_are_a_grammar():
    settings = LanguageSettings()
    grammar = settings.grammar()
    assert grammar.vocabulary.inputs == ("x",)
    assert (grammar.min_length, grammar.max_length) == (3, 12)
    # A rule that is added must not change what the configs and runs that there are may write: it is off by default.
    assert grammar.rules == (ForbidInversePairs(), ForbidNestedPeriodic(), ForbidConstantSubexpressions())


def test_every_rule_has_a_setting_that_switches_it_on():
    assert set(RULES) < set(LanguageSettings.model_fields)
    off = dict.fromkeys(RULES, False)
    assert LanguageSettings.check(off).grammar().rules == ()
    for name, rule in RULES.items():
        assert LanguageSettings.check(off | {name: True}).grammar().rules == (rule,)


def test_every_setting_is_described():
    assert all(field.description for field in LanguageSettings.model_fields.values())


def test_every_setting_reaches_the_grammar():
    settings = LanguageSettings.check(
        {
            "inputs": ["x", "g"],
            "operators": ["neg", "add"],
            "constants": [2],
            "min_length": 2,
            "max_length": 7,
            "forbid_inverse_pairs": False,
            "forbid_nested_periodic": False,
            "forbid_constant_subexpressions": False,
        }
    )
    assert settings.grammar() == Grammar(Vocabulary(("neg", "add"), ("x", "g"), (2.0,)), 2, 7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"operators": ["sigmoidd"]}, "did you mean 'sigmoid'"),
        ({"operators": ["add"], "min_length": 4, "max_length": 4}, "no formula of 4 to 4 tokens"),
        ({"min_length": 9, "max_length": 8}, "expected 1 <= min_length <= max_length"),
        ({"max_length": 65}, "max_length: .*64"),
        ({"min_length": 0}, "min_length: "),
        ({"constants": [1.0, 1.0]}, "the token 1.0 occurs twice"),
        ({"constants": [float("nan")]}, "constants"),
        ({"operator": ["add"]}, "operator: unknown key; did you mean 'operators'"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        LanguageSettings.check(values)
