import numpy as np
import pytest
from helpers import DIGITS, Recorder
from helpers_proxies import trained_scores

from rlsearch import Formula
from rlsearch.common.pool import make_pool
from rlsearch.common.progress import Events
from rlsearch.common.seeds import fresh_seed
from rlsearch.judging.archive import Archive
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings
from rlsearch.studies.retrain import Retraining, final_scores, on_fresh_data

parse = Formula.parse
PROXIES = [ProxySettings.check(DIGITS | more) for more in ({}, {"data_seed": 3}, {"learning_rate": 0.05})]
FORMULAS = [parse(text) for text in ("relu(x)", "x * x", "tanh(x)", "sin(x)", "1e30 * (x * 1e30)")]
PROXY_OF = [Proxy(proxy, TorchKernel(), "cpu") for proxy in PROXIES]
WANTED = []
for seed in (5, 6):
    for proxy in PROXY_OF:
        WANTED += [Training(f, proxy.name, seed, "test") for f in FORMULAS]


def made(path, workers=1, events=Events()):
    retraining = Retraining(Archive(path, create=not path.exists()), TorchKernel(), "cpu", make_pool(workers), events)
    for settings in PROXIES:
        retraining.proxy_name(settings)
    return retraining


class Stop(Events):
    """Remembers what it is told, and stops the work after so many populations."""

    def __init__(self, after):
        self.after = after
        self.done = []

    def on_progress(self, what, done, wanted):
        self.done.append((what, done, wanted))
        if len(self.done) == self.after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def expected():
    """What each proxy alone says of each training."""
    by_name = {proxy.name: proxy for proxy in PROXY_OF}
    return [trained_scores(by_name[training.proxy], [training])[0] for training in WANTED]


def test_scores_are_those_of_each_proxy_alone_in_the_order_asked_for(tmp_path, expected):
    trainings = made(tmp_path / "e.sqlite")
    scores = trainings.scores(WANTED)
    assert scores == expected
    assert None in scores  # the one that diverges
    assert len({score for score in scores if score is not None}) > 5
    assert trainings.trained == len(WANTED) == 30


def test_nothing_is_trained_twice_and_what_is_new_is_added(tmp_path, expected, monkeypatch):
    populations = []
    train = Proxy.train

    def counting(self, population):
        populations.append(len(population))
        return train(self, population)

    monkeypatch.setattr(Proxy, "train", counting)
    first = made(tmp_path / "e.sqlite")
    assert first.scores(WANTED[:15]) == expected[:15]
    assert sum(populations) == 15
    assert first.scores(WANTED[:15]) == expected[:15]
    first.archive.close()
    again = made(tmp_path / "e.sqlite")
    assert again.scores(WANTED) == expected
    assert again.trained == 15
    assert sum(populations) == 30
    assert max(populations) <= 4  # of the population's size


def test_the_score_outside_the_range_of_training_is_kept_with_the_score(tmp_path):
    settings = ProxySettings(
        dataset="harmonics", widths=(8,), epochs=1, train_size=128, validation_size=64, test_size=64, batch_size=32,
        population=4, outside_weight=0.25,
    )  # fmt: skip
    proxy = Proxy(settings, TorchKernel(), "cpu")
    wanted = [Training(f, proxy.name, 1, "test") for f in FORMULAS[1:]]
    for trained in (4, 0):
        trainings = made(tmp_path / "e.sqlite")
        trainings.proxy_name(settings)
        outcomes = trainings.outcomes(wanted)
        assert outcomes == proxy.train(wanted)
        assert [outcome is None for outcome in outcomes] == [False, False, False, True]
        assert all(outcome.outside is not None for outcome in outcomes[:3])
        assert trainings.trained == trained
        trainings.archive.close()


def test_final_scores_are_by_function_proxy_and_seed(tmp_path):
    """A proxy with a rate for each function; each value again by a proxy alone."""
    rates = [(PROXIES[0], [0.01, 0.02, 0.01]), (PROXIES[1], [0.03, 0.03, 0.03])]
    trainings = made(tmp_path / "e.sqlite")
    formulas = FORMULAS[2:]
    found = final_scores(formulas, rates, 4, 2, trainings)
    assert found.scores.shape == found.outside.shape == (3, 2, 2)
    assert np.isnan(found.outside).all()
    for i, j, k in np.ndindex(3, 2, 2):
        seed = fresh_seed(4, 1000 + k)
        settings, of_formulas = rates[j]
        changes = {"learning_rate": of_formulas[i], "data_seed": 2**31 + seed, "validation_size": 4}
        proxy = Proxy(settings.check(settings.model_dump() | changes), TorchKernel(), "cpu")
        (score,) = trained_scores(proxy, [Training(formulas[i], "", seed, "test")])
        assert found.scores[i, j, k] == score or (score is None and np.isnan(found.scores[i, j, k]))
    assert np.isnan(found.scores[2]).all()  # the one that diverges


def test_fresh_data_of_a_proxy_with_several_rates_is_trained_at_one():
    proxy = ProxySettings.check(DIGITS | {"learning_rates": (0.1, 0.2)})
    fresh = on_fresh_data(proxy, 0.3, 7, "cpu", test_size=4)
    assert (fresh.learning_rate, fresh.learning_rates, fresh.data_seed, fresh.test_size) == (0.3, (), 2**31 + 7, 4)
    assert fresh.at_each_rate() == (fresh,)


def test_two_spellings_are_trained_once(tmp_path):
    trainings = made(tmp_path / "e.sqlite")
    one, other = (Training(parse(text), PROXY_OF[0].name, 1, "test") for text in ("x * x", "x**2"))
    first, second = trainings.scores([one, other])
    assert first == second
    assert trainings.trained == 1


def test_every_population_is_stored_when_a_stop_is_asked_for(tmp_path, expected):
    stop = Stop(after=2)
    trainings = made(tmp_path / "e.sqlite", events=stop)
    with pytest.raises(KeyboardInterrupt):
        trainings.scores(WANTED, "some work")
    assert stop.done == [("some work", 4, 30), ("some work", 8, 30)]
    assert trainings.trained == 8
    trainings.archive.close()
    again = made(tmp_path / "e.sqlite")
    assert again.scores(WANTED) == expected
    assert again.trained == 22


def test_workers_change_nothing_but_the_time(tmp_path, expected):
    """A stop leaves them in order; data sets are generated before the trainings, once each."""
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "e.sqlite", 2, Stop(after=1)).scores(WANTED)
    recorder = Recorder()
    trainings = made(tmp_path / "f.sqlite", 2, recorder)
    assert trainings.scores(WANTED) == expected
    done = recorder.progress
    assert done[:2] == [("data sets", 1, 2), ("data sets", 2, 2)]
    assert {what for what, _, _ in done[2:]} == {"training"}
    assert done[-1] == ("training", 30, 30)
