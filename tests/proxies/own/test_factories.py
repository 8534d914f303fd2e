import hashlib
import random
from pathlib import Path

import helpers_networks
import numpy as np
import pytest
import torch
from torch import nn

from rlsearch.common.rng import random_numbers_of
from rlsearch.common.settings import TargetSettings
from rlsearch.errors import ConfigError
from rlsearch.proxies.own.factories import (
    SharedActivation,
    build_network,
    check_network,
    load_own_dataset,
    source_digest,
)
from rlsearch.proxies.own.settings import OwnProxySettings

torch.set_num_threads(1)


def settings(target="helpers_networks:mlp", data="helpers_networks:vectors", of_data=None, **values):
    values = {"batch_size": 32} | values
    return OwnProxySettings.check({"target": target, "data": {"target": data, **(of_data or {})}, **values})


# --- wrong networks and data ---


def not_a_module(activation):
    return activation.forward


def nothing_to_train(activation):
    return nn.Sequential(nn.Flatten(), activation)


def raising(activation):
    raise KeyError("no such thing")


def raising_in_use(activation):
    return nn.Sequential(nn.Linear(7, 4), activation)


def one_logit(activation):
    return nn.Sequential(nn.Linear(8, 1), activation, nn.Flatten(0))


def two_classes(activation):
    return nn.Sequential(nn.Linear(8, 2), activation)


def double(activation):
    return nn.Sequential(nn.Linear(8, 4), activation).double()


def without_activation(activation):
    return nn.Linear(8, 4)


HERE = f"{__name__}:"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "no_such_module:build"}, "cannot be imported: No module named 'no_such_module'"),
        ({"target": "helpers_networks:mpl"}, "helpers_networks has no 'mpl'; did you mean 'mlp'"),
        ({"target": HERE + "not_a_module"}, "not_a_module made a method; expected a torch.nn.Module"),
        ({"target": HERE + "nothing_to_train"}, "has no parameters to train"),
        ({"target": HERE + "raising"}, r"raising called with the activation and {} raised KeyError: 'no such thing'"),
        ({"arguments": {"widht": 3}}, r"called with the activation and {'widht': 3} raised TypeError: .*'widht'"),
        ({"target": HERE + "raising_in_use"}, "the network of .*raising_in_use raised RuntimeError: .*shapes"),
        ({"target": HERE + "one_logit"}, r"returned torch.float32 \[32\]; expected logits .* \[32, 'classes'\]"),
        ({"target": HERE + "two_classes"}, "two_classes has 2 classes; the highest label is 3"),
        ({"target": HERE + "double"}, "double raised RuntimeError: .*dtype"),
        ({"target": HERE + "without_activation"}, "does not use the activation that it was given"),
        ({"data": "helpers_networks:sequences"}, "the network of helpers_networks:mlp raised"),
        ({"data": "helpers_networks:vector"}, "helpers_networks has no 'vector'; did you mean 'vectors'"),
        ({"of_data": {"example": 64}}, "vectors does not take {'example': 64, 'seed': 0}"),
        ({"of_data": {"seed": 3}}, "the seed of helpers_networks:vectors is data_seed"),
        ({"batch_size": 129}, "batch_size 129 is larger than the training part of 128"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(values, message):
    with pytest.raises(ConfigError, match=message):
        check_network(settings(**values))


def made(change="", part=1):
    """Three small parts, one of them wrong."""
    parts = [[torch.zeros(6, 8), torch.zeros(6, dtype=torch.int64)] for _ in range(3)]
    inputs, labels = parts[part]
    wrong = {
        "two parts": lambda: parts.pop(),
        "no pair": lambda: parts.__setitem__(part, inputs),
        "three": lambda: parts[part].append(labels),
        "numpy": lambda: parts[part].__setitem__(0, inputs.numpy()),
        "double": lambda: parts[part].__setitem__(0, inputs.double()),
        "int32": lambda: parts[part].__setitem__(1, labels.int()),
        "lengths": lambda: parts[part].__setitem__(1, labels[1:]),
        "3-d labels": lambda: parts[part].__setitem__(1, labels.view(6, 1, 1)),
        "empty": lambda: parts.__setitem__(part, [inputs[:0], labels[:0]]),
        "not finite": lambda: inputs[2, 3].fill_(float("nan")),
        "negative": lambda: labels[2].fill_(-100),
        "other shape": lambda: parts[part].__setitem__(0, torch.zeros(6, 9)),
        "other dtype": lambda: parts[part].__setitem__(0, torch.zeros(6, 8, dtype=torch.int64)),
        "no tuple": lambda: None,
    }
    if change:
        wrong[change]()
    return {"train": parts} if change == "no tuple" else parts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("two parts", "made a list of 2; expected"),
        ("no tuple", "made a dict; expected"),
        ("no pair", r"the validation part of .*:made is \(Tensor\); expected a pair of tensors"),
        ("three", r"is \(Tensor, Tensor, Tensor\); expected a pair"),
        ("numpy", r"is \(ndarray, Tensor\); expected a pair of tensors"),
        ("double", "inputs of the validation part .* are torch.float64; expected torch.float32 or integers"),
        ("int32", "labels of the validation part .* are torch.int32; expected torch.int64"),
        ("lengths", r"has inputs \[6, 8\] and labels \[5\]; expected"),
        ("3-d labels", r"torch.int64 \[6, 1, 1\], and of the training part torch.int64 \[6\]"),
        ("empty", "the validation part of .* is empty"),
        ("not finite", "inputs of the validation part .* are not all finite"),
        ("negative", "the lowest label of the validation part .* is -100; expected .* or ignore_index: -100"),
        ("other shape", r"inputs of the validation part .* \[6, 9\], and of the training part .*\[6, 8\]"),
        ("other dtype", "inputs of the validation part .* torch.int64 .*, and of the training part torch.float32"),
    ],
)  # fmt: skip
def test_wrong_data_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        load_own_dataset(settings(data=HERE + "made", of_data={"change": change}, batch_size=2))


def test_an_importable_thing_without_source_is_refused():
    with pytest.raises(
        ConfigError, match=r"the source of 'math:sqrt' cannot be read: .*; expected a function in a .py"
    ):
        source_digest(settings("math:sqrt"))


def test_a_digest_of_an_earlier_version_stays_that_of_its_run():
    """Of the text of both modules, the network's first."""
    text = Path(helpers_networks.__file__).read_text()
    of_text = hashlib.blake2b(f"{text}\0{text}".encode(), digest_size=8).hexdigest()
    now = source_digest(settings())
    assert now != of_text
    assert source_digest(settings(source=of_text)) == of_text
    assert source_digest(settings(source=now)) == now
    with pytest.raises(ConfigError, match=f"its digest 0123456789abcdef was taken, and is {now} now"):
        source_digest(settings(source="0123456789abcdef"))


# --- right ones ---


def test_data_is_loaded_once_and_anew_for_another_seed():
    first = load_own_dataset(settings())
    assert load_own_dataset(settings(batch_size=16, epochs=2)) is first
    inputs, labels = helpers_networks.vectors(0)[1]
    assert torch.equal(first.validation.inputs, inputs)
    assert torch.equal(first.validation.labels, labels)
    assert not torch.equal(load_own_dataset(settings(data_seed=5)).train.inputs, first.train.inputs)


def test_data_of_a_factory_without_seed_stays():
    fixed = {"data": "helpers_networks:fixed_vectors"}
    assert load_own_dataset(settings(**fixed, data_seed=5)) is load_own_dataset(settings(**fixed))
    assert "fixed_vectors takes no seed" in settings(**fixed).caveat
    assert settings().caveat is None


def test_a_seed_decides_the_initial_weights_and_leaves_the_callers_random_numbers():
    def weights(seed):
        return torch.nn.utils.parameters_to_vector(
            build_network(settings(), seed, SharedActivation(torch.relu)).parameters()
        )

    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    first = weights(1)
    assert torch.equal(weights(1), first)
    assert not torch.equal(weights(2), first)
    check_network(settings())
    assert (torch.rand(1), random.random(), np.random.rand()) == expected


def test_random_numbers_come_back_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), random_numbers_of(1, torch.device("cpu")):
        1 / torch.rand(1).long().item()
    assert torch.equal(torch.get_rng_state(), state)


# --- settings ---


def test_defaults_and_what_is_complete():
    given = settings()
    assert (given.optimiser, given.learning_rate, given.epochs, given.batched) == ("adam", 1e-2, 5, "auto")
    assert given.data == TargetSettings(target="helpers_networks:vectors")
    assert not given.is_complete
    assert settings(source="a", batched=False, population=1).is_complete


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batched": "fast"}, "batched"),
        ({"epoch": 3}, "epoch: unknown key; did you mean 'epochs'"),
        ({"arguments": {"x": object()}}, "arguments"),
        ({"batch_size": 0}, "batch_size: .*greater than or equal to 1"),
        ({"data": 3}, "data"),
    ],
)
def test_refused_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def test_settings_are_values():
    a, b = (settings(arguments={"width": 12}, of_data={"examples": 64}) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)
    assert len({a, b, settings(arguments={"width": 13})}) == 2
    assert a != settings(arguments={"width": 12}, of_data={"examples": 65})
