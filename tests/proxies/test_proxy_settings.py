import pytest

from rlsearch.errors import ConfigError
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings


def test_defaults_are_those_of_the_quickstart():
    settings = ProxySettings()
    assert (settings.dataset, settings.network, settings.widths) == ("mnist1d", "mlp", (100, 100))
    assert (settings.epochs, settings.learning_rate, settings.population) == (5, 1e-2, None)
    assert settings.sizes == (4000, 10_000, 10_000)
    assert ProxySettings(dataset="digits").sizes == (1000, 396, 400)


def test_sizes_are_chosen_one_by_one():
    assert ProxySettings(train_size=400, test_size=40).sizes == (400, 10_000, 40)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 30}, "batch_size must be a multiple of 4, got 30"),
        ({"widths": [100, 50]}, r"widths must be a multiple of 4, got \[100, 50\]"),
        ({"widths": [0]}, r"widths must be a multiple of 4, got \[0\]"),
        ({"widths": [-4]}, r"widths must be a multiple of 4, got \[-4\]"),
        ({"train_size": 1001}, "train_size must be a multiple of 4, got 1001"),
        ({"validation_size": 10}, "validation_size must be a multiple of 4, got 10"),
        ({"test_size": 6}, "test_size must be a multiple of 4, got 6"),
        ({"widths": []}, "widths must name at least one layer"),
        ({"train_size": 100}, "batch_size 128 is larger than the training part of 100"),
        ({"dataset": "digits", "train_size": 1004}, r"digits has 1796 examples, got parts of \(1004, 396, 400\)"),
        ({"dataset": "digits", "network": "conv1d"}, "conv1d network is for sequences .*, not for digits"),
        ({"network": "conv1d", "widths": [8] * 6}, "conv1d halves the sequence of 40 .* at most 5 .* got 6"),
        ({"epochs": 0}, "epochs: .*greater than or equal to 1"),
        ({"population": 5}, "population must be 1 or a multiple of 4, got 5"),
        ({"population": 0}, "population: .*greater than or equal to 1"),
        ({"learning_rate": 0}, "learning_rate: .*greater than 0"),
        ({"learning_rate": float("inf")}, "learning_rate: .*finite"),
        ({"data_seed": 5_000_000_000}, "data_seed: .*less than 4294967296, got 5000000000"),
        ({"data_seed": -1}, "data_seed: .*greater than or equal to 0"),
        (
            {"dataset": "mnist1"},
            "dataset: unknown data set 'mnist1'; expected .*; did you mean 'mnist1d'",
        ),
        ({"network": "mpl"}, "network: unknown network 'mpl'; expected .*; did you mean 'mlp'"),
        ({"normalisation": "batch"}, "normalisation: .*'none' or 'layer'"),
        ({"optimiser": "adamw"}, "optimiser: .*'adam' or 'sgd'"),
        ({"epoch": 5}, "epoch: unknown key; did you mean 'epochs'"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ProxySettings.check(values)


@pytest.mark.parametrize(
    "values",
    [
        {"dataset": "digits", "train_size": 1000, "validation_size": 396, "test_size": 400},  # all 1796
        {"batch_size": 128, "train_size": 128},
        {"network": "conv1d", "widths": [4] * 5},
        {"data_seed": 0, "population": 1, "epochs": 1},
        {"data_seed": 2**32 - 1},
    ],
)
def test_the_limits_themselves_are_accepted(values):
    assert ProxySettings.check(values).model_dump(include=set(values), mode="json") == values


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        ProxySettings().epochs = 3


@pytest.mark.parametrize("cls", [ProxySettings, OwnProxySettings])
def test_every_setting_says_what_it_is(cls):
    assert [name for name, field in cls.model_fields.items() if not field.description] == []
