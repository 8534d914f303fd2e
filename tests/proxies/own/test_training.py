"""A user's own training from beginning to end, as a proxy."""

import os
import random

import helpers_tasks
import pytest
import torch
from helpers_proxies import outcomes, scores

from rlsearch import Formula
from rlsearch.common.pool import LokyPool
from rlsearch.common.rng import random_numbers_of
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel, default_kernel
from rlsearch.proxies.base import Failure, Training
from rlsearch.proxies.own.settings import OwnTrainingSettings
from rlsearch.proxies.own.training import completed_training
from rlsearch.proxies.proxy import Proxy
from rlsearch.rewards.settings import RewardSettings

torch.set_num_threads(1)

KERNEL = default_kernel("cpu")
SILU, TANH, SQUARE = (Formula.parse(text) for text in ("silu(x)", "tanh(x)", "x * x + 1.5"))


def settings(target="helpers_tasks:train", **values):
    return OwnTrainingSettings.check({"kind": "train", "target": target} | values)


def proxy(*arguments, kernel=KERNEL, **values):
    return Proxy(settings(*arguments, **values), kernel, "cpu")


@pytest.mark.parametrize(("part", "data_seed"), [("validation", 0), ("test", 0), ("validation", 5)])
def test_it_is_called_with_all_that_it_takes(part, data_seed):
    """As by hand, with the formula as a plain module; a few of 64 predictions may flip by rounding."""
    members = [Training(formula, "p", seed) for formula in (SILU, TANH) for seed in (1, 2)]
    found = scores(proxy(learning_rate=0.02, data_seed=data_seed, arguments={"steps": 12}), members, part)
    expected = []
    for member in members:
        here = os.getcwd()
        with random_numbers_of(member.seed), torch.enable_grad():
            given = {"learning_rate": 0.02, "data_seed": data_seed, "part": part, "steps": 12}
            score = helpers_tasks.train(member.formula.to_module(), member.seed, torch.device("cpu"), **given)
        torch.set_grad_enabled(True)
        os.chdir(here)
        expected.append(float(score))
    assert found == pytest.approx(expected, abs=2.5 / 64)
    assert len(set(expected)) > 2


def test_it_leaves_the_process_as_it_was_and_gives_the_same_again():
    here, states = os.getcwd(), (random.getstate(), torch.get_rng_state())
    (first,) = scores(proxy(), [Training(SILU, "p", 1)])
    assert os.getcwd() == here
    assert torch.is_grad_enabled()
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    torch.manual_seed(7)
    assert scores(proxy(), [Training(TANH, "p", 2), Training(SILU, "p", 1)])[1] == first


def test_the_same_with_workers():
    members = [Training(formula, "p", seed) for formula in (SILU, TANH) for seed in (1, 2)]
    p = proxy(kernel=TorchKernel())
    assert scores(p, members, pool=LokyPool(2)) == scores(p, members)


def test_the_activation_takes_other_dtypes_and_nan_is_a_training_that_diverged():
    """SiLU of 1 is 0.7311, of which bfloat16 keeps three digits; 1 + 1.5 is above 2."""
    found = scores(proxy("helpers_tasks:bare"), [Training(SILU, "p", 0), Training(SQUARE, "p", 0)])
    assert found == [pytest.approx(0.7311, abs=0.003), None]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("text", "helpers_tasks:text returned a str: good; expected a number, the score"),
        ("ending", "helpers_tasks:ending with 'x * sigmoid(x)' raised SystemExit: 1"),
    ],
)
def test_one_that_fails_is_said(target, message):
    found = outcomes(proxy(f"helpers_tasks:{target}"), [Training(Formula.parse("x * sigmoid(x)"), "p", 0)])
    assert found == [Failure(message)]


@pytest.mark.parametrize(
    ("target", "values", "message"),
    [
        ("train", {"epochs": 3}, "epochs is set, and helpers_tasks:train has no parameter epochs to take it"),
        ("bare", {"learning_rates": (0.1, 0.2)}, "has no parameter learning_rate to take it"),
        ("bare", {"arguments": {"depth": 3}}, r"cannot be called as train\(.*\) with {'depth': 3}: .*'depth'"),
        ("cross_entropy", {}, "cannot be called as train.*: "),
        ("trian", {}, "helpers_tasks has no 'trian'; did you mean 'train'"),
    ],
)
def test_what_cannot_be_called_is_said_before_anything_is_trained(target, values, message):
    with pytest.raises(ConfigError, match=message):
        completed_training(settings(f"helpers_tasks:{target}", **values))


def test_what_is_decided_when_a_run_begins():
    completed = completed_training(settings())
    assert (len(completed.source), completed.population) == (16, 1)
    assert completed_training(completed) == completed
    # Of a run that began, another data set and learning rate are what confirm asks for.
    assert proxy("helpers_tasks:bare", source=completed.source, learning_rate=0.5, data_seed=3).settings.epochs == 5


def test_what_it_cannot_do_is_said():
    assert settings().caveat is None
    assert "helpers_tasks:bare takes no data_seed and no part" in settings("helpers_tasks:bare").caveat
    assert [settings(target).has_learning_rate for target in ("helpers_tasks:train", "helpers_tasks:bare")] == [
        True,
        False,
    ]


def test_each_learning_rate_is_a_proxy_of_its_own():
    assert settings(learning_rates=(0.1, 0.2)).at_each_rate() == tuple(settings(learning_rate=r) for r in (0.1, 0.2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "network", "target": "a:b"}, "proxies.0.kind: input should be 'train', got 'network'"),
        ({"kind": "train", "target": "a:b", "data": {"target": "a:c"}}, "proxies.0.data: unknown key"),
        ({"kind": "train"}, "proxies.0.kind: unknown key"),
    ],
)
def test_refused_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        RewardSettings.check({"proxies": [values]})


def test_it_is_told_from_a_network():
    both = RewardSettings.check(
        {"proxies": [{"kind": "train", "target": "a:b"}, {"target": "a:b", "data": {"target": "a:c"}}]}
    )
    assert [type(each).__name__ for each in both.proxies] == ["OwnTrainingSettings", "OwnProxySettings"]
    assert RewardSettings.check(both.model_dump(mode="json")) == both
