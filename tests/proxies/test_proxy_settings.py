import pytest
from helpers_families import Waves

from rlsearch.errors import ConfigError
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.settings import ProxySettings
from rlsearch.proxies.tasks import CLASSIFICATION, CLASSIFICATION_LOSS


@DATASETS.add
class OnDisk(Waves):
    name = "on disk"
    needs_path = True

    def digest(self):
        return "1234"


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
        ({"normalisation": "bach"}, "normalisation: .*'none', 'layer', 'rms' or 'batch', got 'bach'"),
        ({"normalisation": "batch"}, "the mlp network has no batch normalisation; expected one of none, layer, rms, "),
        ({"optimiser": "adamax"}, "optimiser: .*'adam', 'adamw' or 'sgd'"),
        ({"epoch": 5}, "epoch: unknown key; did you mean 'epochs'"),
        ({"weight_decay": 0.1}, "weight_decay goes with optimiser adamw, not with adam"),
        ({"weight_decay": 0.0, "optimiser": "sgd"}, "weight_decay goes with optimiser adamw, not with sgd"),
        ({"weight_decay": -0.1, "optimiser": "adamw"}, "weight_decay: .*greater than or equal to 0"),
        ({"learning_rates": [0.1, 0.1]}, r"learning_rates must be different and positive, got \[0.1, 0.1\]"),
        ({"learning_rates": [0.1, 0.0]}, r"learning_rates must be different and positive, got \[0.1, 0.0\]"),
        ({"schedule": "cosin"}, "schedule: .*'constant', 'cosine' or 'linear', got 'cosin'"),
        ({"warmup": 1.0}, "warmup: .*less than 1, got 1.0"),
        ({"evaluations": 0}, "evaluations: .*greater than or equal to 1, got 0"),
        ({"evaluations": 21}, "evaluations: .*less than or equal to 20, got 21"),
        ({"embedding": 10}, "embedding must be a multiple of 4, got 10"),
        ({"outside_weight": 1.5}, "outside_weight: .*less than or equal to 1, got 1.5"),
        ({"outside_weight": 0.5}, "mnist1d has no inputs outside the range of training; those that have: .*waves"),
        ({"dataset": "waves", "score": "loss"}, "score: loss is for classification; waves is scored by digits"),
        ({"path": "somewhere"}, "mnist1d is not read from files: expected no path, got somewhere"),
        ({"dataset": "on disk"}, "on disk is read from files: expected a path"),
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
        {"weight_decay": 0.0, "optimiser": "adamw"},
        {"warmup": 0.0, "evaluations": 20, "embedding": 4},
        {"dataset": "waves", "outside_weight": 1.0},
    ],
)
def test_the_limits_themselves_are_accepted(values):
    assert ProxySettings.check(values).model_dump(include=set(values), mode="json") == values


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        ProxySettings().epochs = 3


@pytest.mark.parametrize("cls", [ProxySettings, OwnProxySettings, OwnTrainingSettings])
def test_every_setting_says_what_it_is(cls):
    assert [name for name, field in cls.model_fields.items() if not field.description] == []


# --- learning rates ---


def test_a_proxy_of_several_rates_is_one_proxy_for_each():
    one = ProxySettings(learning_rate=0.5)
    assert one.at_each_rate() == (one,)
    several = ProxySettings(learning_rate=0.5, learning_rates=(0.01, 0.1), epochs=3)
    assert several.at_each_rate() == tuple(ProxySettings(learning_rate=rate, epochs=3) for rate in (0.01, 0.1))


def test_a_users_own_proxy_too():
    own = {"target": "helpers_networks:mlp", "data": {"target": "helpers_networks:vectors", "examples": 64}}
    several = OwnProxySettings.check(own | {"learning_rates": [0.01, 0.1]})
    assert several.at_each_rate() == tuple(OwnProxySettings.check(own | {"learning_rate": r}) for r in (0.01, 0.1))


@pytest.mark.parametrize(
    ("values", "decay"),
    [({}, 0.0), ({"optimiser": "adamw"}, 0.01), ({"optimiser": "adamw", "weight_decay": 0.0}, 0.0)],
)
def test_the_decay_is_that_of_adamw(values, decay):
    assert ProxySettings(**values).decay == decay


# --- data and task ---


def test_a_classification_is_scored_by_its_loss_if_that_is_wanted():
    assert ProxySettings().task == CLASSIFICATION
    assert ProxySettings(score="loss").task == CLASSIFICATION_LOSS


def test_tokens_are_as_many_features_as_their_embeddings_have_numbers():
    assert ProxySettings(dataset="steps", embedding=8).n_features == 4 * 8
    assert ProxySettings(dataset="waves", embedding=8).n_features == 1
    assert ProxySettings(dataset="waves").n_outputs == 2


def test_a_run_begins_with_the_digest_of_the_files_and_ends_where_they_changed(tmp_path):
    settings = ProxySettings(dataset="on disk", path=tmp_path)
    completed = settings.completed()
    assert completed == settings.model_copy(update={"data_digest": "1234"})
    assert completed.completed() == completed
    with pytest.raises(ConfigError, match=r"files of on disk have changed: .* is 1234, and the run began with 12;"):
        ProxySettings(dataset="on disk", path=tmp_path, data_digest="12").completed()


def test_what_does_not_go_with_files_is_said_when_they_are_looked_at(tmp_path):
    """Not when a config is read, which must not depend on them."""
    settings = ProxySettings(dataset="on disk", path=tmp_path, train_size=100)
    with pytest.raises(ConfigError, match="on disk-mlp: batch_size 128 is larger than the training part of 100"):
        settings.completed()
