"""The name of a proxy, which stands for all that decides a score except formula and seed."""

import os
import subprocess
import sys

import helpers_families  # noqa: F401 (adds data sets)
import pytest
from helpers_population import proxy, settings

from rlsearch.kernels import TorchKernel
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.data.mnist1d import Mnist1d
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings, proxy_name

TRANSFORMER = {"dataset": "text_sequences", "network": "transformer", "widths": (16, 16)}
ADDED_LATER = {
    "weight_decay": {"optimiser": "adamw", "weight_decay": 0.1},
    "learning_rates": {"learning_rates": (0.01, 0.02)},
    "schedule": {"schedule": "cosine"},
    "warmup": {"warmup": 0.1},
    "evaluations": {"evaluations": 2},
    "data_digest": {"data_digest": "1234"},
    "score": {"score": "loss"},
    "outside_weight": {"dataset": "waves", "outside_weight": 0.5},
    "embedding": {"embedding": 16},
    "clip_norm": {"clip_norm": 1.0},
    "heads": TRANSFORMER | {"heads": 2},
    "positions": TRANSFORMER | {"positions": "learned"},
    "parameters": {"parameters": "network"},
}
CHANGES = ADDED_LATER | {
    "dataset": {"dataset": "waves"},
    "network": {"network": "conv1d"},
    # As the settings of a transformer alone are changed.
    "network and dataset": TRANSFORMER,
    "data_seed": {"data_seed": 1},
    "train_size": {"train_size": 100},
    "validation_size": {"validation_size": 84},
    "test_size": {"test_size": 44},
    "widths": {"widths": (8, 12)},
    "normalisation": {"normalisation": "layer"},
    "optimiser": {"optimiser": "adamw"},
    "learning_rate": {"learning_rate": 0.02},
    "batch_size": {"batch_size": 16},
    "epochs": {"epochs": 3},
    "population": {"population": 8},
}


def name(**values):
    return proxy_name(settings(**values), "torch", "cpu")


def test_every_setting_changes_the_name():
    """Where the files of a data set lie does not; their digest does."""
    assert set(CHANGES) | {"path"} == set(ProxySettings.model_fields) | {"network and dataset"}
    names = {name(**change) for change in CHANGES.values()} | {name()}
    assert len(names) == len(CHANGES) + 1


def test_where_files_lie_does_not_change_the_name(tmp_path):
    @DATASETS.add
    class Filed(Mnist1d):
        name = "filed"
        may_have_path = True

    assert name(dataset="filed", path=tmp_path / "a") == name(dataset="filed", path=tmp_path / "b")
    assert name(dataset="filed", path=tmp_path / "a", data_digest="1") != name(dataset="filed", path=tmp_path / "a")


def test_a_proxy_without_later_settings_has_the_name_that_it_had_before_them():
    """Written down from a commit that did not have them."""
    sizes = {"train_size": 512, "validation_size": 400, "test_size": 400}
    assert proxy_name(ProxySettings(epochs=2, **sizes), "torch", "cpu") == "mnist1d-mlp-177559c764"
    identity = settings().identity
    assert not any(f'"{name}"' in identity for name in (*ADDED_LATER, "path"))


@pytest.mark.parametrize("added", sorted(set(ADDED_LATER) - {"outside_weight"}))
def test_a_later_setting_at_its_default_is_as_if_it_were_not_there(added):
    default = ProxySettings.model_fields[added].default
    assert settings(**{added: default}).identity == settings().identity
    assert f'"{added}"' in settings(**ADDED_LATER[added]).identity


def test_kernel_and_kind_of_device_change_the_name():
    other = TorchKernel()
    other.name = "other"
    assert Proxy(settings(), other, "cpu").name != proxy().name
    assert Proxy(settings(), TorchKernel(), "cuda").name != proxy().name
    assert Proxy(settings(), TorchKernel(), "cuda:1").name == Proxy(settings(), TorchKernel(), "cuda").name


def test_the_name_is_readable_and_the_same_in_every_process():
    name = proxy(network="conv1d").name
    assert name.startswith("mnist1d-conv1d-")
    code = (
        "from rlsearch.kernels import TorchKernel; from rlsearch.proxies.proxy import Proxy;"
        "from rlsearch.proxies.settings import ProxySettings;"
        f"print(Proxy(ProxySettings(**{settings(network='conv1d').model_dump()}), TorchKernel(), 'cpu').name)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert ran.stdout.strip() == name
