"""The examples on the pages about a user's own network and reward: they are what the pages say, and they run."""

import re
import sys
from pathlib import Path

import pytest

from rlsearch import Formula, RewardResult
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own.factories import check_network
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.proxy import Proxy
from rlsearch.rewards.own import make_own
from rlsearch.runs.config import load_config

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """Writes the module and the configs of a page into one folder, and reads these."""
    monkeypatch.setenv("RLSEARCH_CACHE", str(tmp_path / "cache"))

    def read(page, module):
        (tmp_path / f"{module}.py").write_text("\n\n".join(blocks(page, "python")))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, module, raising=False)
        found = []
        for i, text in enumerate(blocks(page, "yaml")):
            path = tmp_path / f"{i}.yaml"
            path.write_text(text)
            found.append(load_config(path))
        return found

    return read


def test_networks_and_a_training(configs):
    """All three kinds; each trains, with ReLU, above the share of one class in four."""
    first, second, third = configs("own-network.md", "my_network")
    for config in (first, second):
        (settings,) = config.proxies
        assert isinstance(settings, OwnProxySettings)
        check_network(settings)
    assert second.reward.reference == "gelu"
    trained = []
    for config in (first, second, third):
        (settings,) = config.proxies
        changes = {"batched": False} if isinstance(settings, OwnProxySettings) else {}
        proxy = Proxy(settings.check(settings.model_dump() | changes), TorchKernel(), "cpu")
        (outcome,) = proxy.train([Training(Formula.parse("relu(x)"), proxy.name, 0)])
        trained.append(outcome.score)
    assert min(trained) > 0.3


def test_rewards(configs):
    plain, made = configs("own-reward.md", "my_reward")
    formulas = (Formula.parse("sin(x)"), Formula.parse("x"))
    assert make_own(plain.reward, 0)(formulas) == [RewardResult(-2), RewardResult(-1)]
    found = make_own(made.reward, 0)(formulas)
    assert [(result.value, result.gains) for result in found] == [(-1.0, {"size": -2}), (-0.5, {"size": -1})]
    assert plain.code == made.code
