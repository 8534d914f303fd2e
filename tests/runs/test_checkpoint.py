import pickle
import random
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from helpers import make_judge

from rlsearch.controller.ppo import PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.errors import RunError, StorageError
from rlsearch.formula import Grammar, Vocabulary
from rlsearch.judging.archive import Archive
from rlsearch.runs.checkpoint import load_checkpoint, save_checkpoint
from rlsearch_envs import CurveReward

torch.set_num_threads(1)

GRAMMAR = Grammar(Vocabulary(("add", "mul", "exp"), ("x",), (1.0,)), 2, 6)
PER_ROUND = 16
STATE = {"weights": torch.ones(3)}


def make(grammar=GRAMMAR, seed=0, **settings):
    return PPOSearch(ControllerSettings.check({"ppo": {"n_epochs": 2}, **settings}), grammar, PER_ROUND, seed)


def learn(method, judge, rounds):
    """Returns what was proposed."""
    proposed = []
    for _ in range(rounds):
        method.run_round(judge)
        proposed += judge.report.formulas
    return proposed


def weights(method):
    return [p.detach().clone() for p in method.learner.ppo.policy.parameters()]


def equal(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "latest.pt"


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()


@pytest.mark.parametrize("offspring", [0.0, 0.5])
def test_the_future_is_the_same(path, tmp_path, offspring):
    """A controller of other weights goes on, from the checkpoint, exactly as the one that wrote it did."""
    method = make(offspring=offspring)
    with Archive(tmp_path / "archive.sqlite", create=True) as archive:
        judge = make_judge(CurveReward(), archive)
        learn(method, judge, 3)
        save_checkpoint(path, judge.round, method.state())
        expected = learn(method, judge, 3), weights(method), draws()

    other = make(offspring=offspring)
    learn(other, make_judge(CurveReward("exp(x)")), 4)
    assert not equal(weights(other), weights(method))
    state = load_checkpoint(path)
    assert state["round"] == 3
    other.restore(state["method"])
    assert other.learner.ppo.num_timesteps == 3 * other.learner.count * GRAMMAR.max_length
    assert other.learner.ppo._n_updates == 6  # two epochs a round
    with Archive(tmp_path / "archive.sqlite") as archive:
        proposed = learn(other, make_judge(CurveReward(), archive, first_round=3), 3)
    assert len(proposed) == 3 * PER_ROUND
    assert proposed == expected[0]
    assert equal(weights(other), expected[1])
    assert draws() == expected[2]


def test_random_numbers_go_on_where_they_were(path):
    """Also in the middle of a pair of normal numbers, of which numpy and random keep the second."""
    method = make()
    random.gauss(0, 1)
    np.random.randn()
    save_checkpoint(path, 0, method.state())
    expected = draws()
    assert draws() != expected
    method.restore(load_checkpoint(path)["method"])
    assert draws() == expected


def test_saving_changes_no_random_numbers(path):
    method = make()
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    save_checkpoint(path, 0, method.state())
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_the_policy_alone(path):
    method = make()
    learn(method, make_judge(CurveReward()), 1)
    save_checkpoint(path, 1, method.state())
    other = make(seed=5)
    random_state = torch.get_rng_state()
    other.restore_policy(load_checkpoint(path)["method"])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert other.learner.ppo.num_timesteps == 0
    assert equal(weights(other), weights(method))


@pytest.mark.parametrize("state", [{}, {"given": 12}, {"some": [torch.ones(2), {"more": None}, "text", 0.5]}])
def test_any_state_of_a_method_comes_back(path, state):
    save_checkpoint(path, 2, state)
    assert repr(load_checkpoint(path)) == repr({"round": 2, "method": state})


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("stream failed")])
def test_a_failed_save_leaves_the_old_file(path, monkeypatch, error):
    save_checkpoint(path, 4, STATE)
    content = path.read_bytes()

    def half_written(state, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(StorageError, match=f"latest.pt cannot be written: .*{error.args[-1]}.*Resume the run later"):
        save_checkpoint(path, 5, STATE)
    assert path.read_bytes() == content
    monkeypatch.undo()
    save_checkpoint(path, 5, STATE)
    assert load_checkpoint(path)["round"] == 5
    assert [p.name for p in path.parent.iterdir()] == ["latest.pt"]


def test_a_failed_replacement_leaves_the_old_file(path):
    """A folder stands where the partial file should be."""
    save_checkpoint(path, 4, STATE)
    path.with_name(f".{path.name}.tmp").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        save_checkpoint(path, 5, STATE)
    assert load_checkpoint(path)["round"] == 4


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("saved_by", ["pickle", "torch"])
def test_code_in_a_file_is_not_run(path, tmp_path, saved_by):
    """The payload would make a file; that it would, if it were run, is shown first."""
    path.parent.mkdir()
    trace = tmp_path / "it ran"
    payload = {"round": 0, "policy": Malicious(str(trace)), "optimiser": {}, "random_state": {}}
    if saved_by == "pickle":
        path.write_bytes(pickle.dumps(payload, protocol=2))
        pickle.loads(path.read_bytes())["policy"].close()
    else:
        torch.save(payload, path)
        torch.load(path, weights_only=False)["policy"].close()
    assert trace.exists()
    trace.unlink()
    with pytest.raises(RunError, match=r"is not a checkpoint of rlsearch: .*[Ww]eights.only"):
        load_checkpoint(path)
    assert not trace.exists()


def test_bytes_that_are_no_checkpoint(path):
    """Random bytes, some of them beginning as a pickle does, and the beginnings of a true checkpoint."""
    save_checkpoint(path, 0, make().state())
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    files = [rng.bytes(rng.integers(0, 40)) for _ in range(150)]
    files += [b"\x80\x02" + rng.bytes(rng.integers(0, 40)) for _ in range(150)]
    files += [content[: int(len(content) * share)] for share in (0.01, 0.5, 0.99)]
    files += [b"\x8a\xd7\x11(\x119\xc9\xa7\xdf"]  # makes torch raise an error without a text
    for data in files:
        path.write_bytes(data)
        with pytest.raises(RunError, match=r"is not a checkpoint of rlsearch: ."):
            load_checkpoint(path)


@pytest.mark.parametrize("content", [{"round": 1}, {}, [1, 2], torch.zeros(3), OrderedDict(weight=torch.zeros(3)), 3])
def test_something_else_in_the_file(path, content):
    path.parent.mkdir()
    torch.save(content, path)
    with pytest.raises(RunError, match="is not a checkpoint of rlsearch: its contents are of another kind"):
        load_checkpoint(path)


def test_a_missing_file(path):
    with pytest.raises(RunError, match="does not exist: the run has not begun its first round"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_vocabulary(path):
    save_checkpoint(path, 0, make().state())
    other = make(Grammar(Vocabulary(("add", "mul")), 2, 6))
    with pytest.raises(RunError, match="does not fit the run's config"):
        other.restore(load_checkpoint(path)["method"])


def test_only_tensors_and_plain_values_are_written(path):
    """Numpy's random state needs a cast to be read by torch's safe reader; nothing warns of it."""
    method = make()
    learn(method, make_judge(CurveReward()), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_checkpoint(path, 2, method.state())
        state = torch.load(path, weights_only=True)

    def kinds(value):
        if isinstance(value, dict):
            return set().union(*(kinds(v) for v in value.values())) if value else set()
        if isinstance(value, list | tuple):
            return set().union(*(kinds(v) for v in value)) if value else set()
        return {type(value)}

    assert kinds(state) <= {torch.Tensor, int, float, str, bool, type(None)}
