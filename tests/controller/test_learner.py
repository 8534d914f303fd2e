"""The policy after an update, and what it says of formulas."""

import pytest
from helpers import make_judge
from test_ppo import count_tanh, make, search

from rlsearch.errors import RlsearchError
from rlsearch.formula import Formula, Grammar, Vocabulary


@pytest.mark.parametrize("overlap", [False, True])
def test_an_update_that_diverges_says_which_setting_to_lower(overlap):
    """Weights that are infinite make logits of which torch says in many lines that they are NaN."""
    message = r"no longer finite.*Begin a new run with a lower controller\.ppo\.learning_rate \(here 1e\+30\)"
    with pytest.raises(RlsearchError, match=message) as caught:
        search(count_tanh, 4, per_round=32, ppo={"learning_rate": 1e30}, overlap=overlap)
    assert "\n" not in str(caught.value)


def test_probabilities_of_all_formulas_add_up_to_one():
    """Six formulas have up to three tokens and an input; of 1 alone there is none."""
    grammar = Grammar(Vocabulary(("neg", "add"), ("x",), (1.0,)), 1, 3)
    texts = ("x", "-x", "--x", "x + x", "x + 1", "1 + x")
    method, judge = make(8, grammar=grammar), make_judge(count_tanh)
    method.run_round(judge)
    probabilities = method.probabilities([Formula.parse(text) for text in texts])
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert min(probabilities) > 0
