import inspect

import pytest

import rlsearch
from rlsearch import errors
from rlsearch.errors import InputError, RlsearchError, nearest, why


def test_one_tree():
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) >= 7
    assert all(issubclass(c, RlsearchError) for c in classes)
    assert rlsearch.RlsearchError is RlsearchError


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("FormulaError", 2), ("ConfigError", 2), ("RunError", 2), ("StorageError", 1), ("RewardError", 1)],
)
def test_exit_codes(name, exit_code):
    """What the user typed or named exits with 2, what failed later with 1."""
    error = getattr(errors, name)
    assert error.exit_code == exit_code
    assert issubclass(error, InputError) == (exit_code == 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sigmiod", "; did you mean 'sigmoid'?"), ("qqqq", ""), ("", ""), ("tanh", "; did you mean 'tanh'?")],
)
def test_nearest(name, expected):
    assert nearest(name, ["tanh", "sigmoid", "softplus"]) == expected
    assert nearest(name, []) == ""


def test_an_error_of_the_system_is_said_without_its_number_and_path(tmp_path):
    with pytest.raises(OSError, match="Errno") as caught:
        (tmp_path / "missing" / "file").write_text("")
    assert why(caught.value) == "No such file or directory"
    assert why(OSError("no number")) == "no number"
    assert why(ValueError("another kind")) == "another kind"


def test_nearest_ignores_capitals_and_knows_initials():
    assert nearest("PPO", ["ppo", "random"]) == "; did you mean 'ppo'?"
    assert nearest("lr", ["net_arch", "learning_rate"]) == "; did you mean 'learning_rate'?"
