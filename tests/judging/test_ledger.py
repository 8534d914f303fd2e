import pytest
from helpers import evaluated

from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.judging.ledger import Ledger
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import Status

SIN, TANH, ERF = (Formula.parse(text) for text in ("sin(x)", "tanh(x)", "erf(x)"))
WANTED = [Training(SIN, "p", 0), Training(SIN, "q", 0), Training(TANH, "p", 0), Training(ERF, "p", 0)]


class Reward:
    """Gives every training the next whole number as its score, in populations of two; can stop before one of them."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.asked_for = []
        self.closed = False

    def evaluate(self, trainings):
        try:
            for start in range(0, len(trainings), 2):
                if start // 2 == self.stop_at:
                    raise KeyboardInterrupt
                population = trainings[start : start + 2]
                self.asked_for += population
                yield [evaluated(training, float(len(self.asked_for))) for training in population]
        finally:
            self.closed = True


@pytest.fixture
def archive(tmp_path):
    with Archive(tmp_path / "a.sqlite", create=True) as archive:
        yield archive


def test_evaluations_are_stored_and_kept_by_function(archive):
    ledger = Ledger(Reward(), archive)
    evaluations = ledger.evaluate(3, WANTED)
    assert [e.training for e in evaluations] == WANTED
    assert [(number, e.training.key) for number, e in archive.evaluations()] == [(3, t.key) for t in WANTED]
    assert ledger.of(SIN.fingerprint) == evaluations[:2]
    assert (ledger.seeds(SIN.fingerprint), ledger.seeds_on("p", SIN.fingerprint)) == (1, 1)
    assert ledger.trained == 4
    assert list(ledger.functions) == [SIN.fingerprint, TANH.fingerprint, ERF.fingerprint]


def test_a_function_that_is_not_known_has_nothing(archive):
    ledger = Ledger(Reward(), archive)
    assert list(ledger.of(SIN.fingerprint)) == []
    assert ledger.seeds_on("p", SIN.fingerprint) == 0


def test_only_trainings_without_an_evaluation_are_lacking(archive):
    ledger = Ledger(Reward(), archive)
    ledger.evaluate(0, WANTED[:1])
    assert ledger.lacks([*WANTED, Training(SIN, "p", 1)]) == [*WANTED[1:], Training(SIN, "p", 1)]


def test_of_a_round_that_is_stopped_the_populations_are_stored_and_nothing_is_known(archive):
    ledger = Ledger(Reward(stop_at=1), archive)
    with pytest.raises(KeyboardInterrupt):
        ledger.evaluate(0, WANTED)
    assert [e.training for _, e in archive.evaluations()] == WANTED[:2]
    assert list(ledger.functions) == []


def test_what_an_interrupted_round_has_stored_is_taken_when_it_is_wanted(archive):
    with pytest.raises(KeyboardInterrupt):
        Ledger(Reward(stop_at=1), archive).evaluate(1, WANTED)
    reward = Reward()
    ledger = Ledger(reward, archive)
    assert ledger.open_at(1) == []
    assert list(ledger.functions) == []
    evaluations = ledger.evaluate(1, WANTED)
    assert [e.training for e in evaluations] == WANTED
    assert reward.asked_for == WANTED[2:]
    assert ledger.trained == 4


def test_earlier_rounds_are_read_and_references_are_not_among_them(archive):
    first = Ledger(Reward(), archive)
    first.evaluate(-1, WANTED[:1])
    first.evaluate(0, WANTED[1:2])
    first.evaluate(1, WANTED[2:])
    assert [e.training for e in Ledger(Reward(), archive).open_at(1)] == WANTED[1:2]


def test_a_caller_that_stops_ends_what_workers_do(archive):
    def stop():
        raise KeyboardInterrupt

    reward = Reward()
    with pytest.raises(KeyboardInterrupt):
        Ledger(reward, archive).evaluate(0, WANTED, meanwhile=stop)
    assert reward.closed


def test_what_is_unfit_is_no_training(archive):
    class Unfit(Reward):
        def evaluate(self, trainings):
            yield [evaluated(training, None, Status.UNFIT) for training in trainings]

    ledger = Ledger(Unfit(), archive)
    ledger.evaluate(0, WANTED)
    assert ledger.trained == 0
    assert ledger.seeds(SIN.fingerprint) == 1
