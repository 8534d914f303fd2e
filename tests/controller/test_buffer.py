"""A tiny buffer by hand: an observation is [number of the step, 1 if it is idle], a column is an episode."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer
from strategies import FIXED

from rlsearch.controller.buffer import EpisodeBuffer
from rlsearch.controller.rounds import Episodes

torch.set_num_threads(1)

OBSERVATIONS = spaces.Box(0, 10_000, shape=(2,), dtype=np.int64)
ACTIONS = spaces.Discrete(10_000)


def number(step, episode):
    return 100 * episode + step


def filled(
    lengths,
    returns,
    elite_fraction,
    horizon,
    values=None,
    gamma=1.0,
    gae_lambda=1.0,
    repeat_of=None,
    is_new=None,
):
    """A buffer of episodes of ``lengths`` live steps, whose reward comes with the last step of the horizon.

    Every episode takes actions of its own, the numbers of its steps, except those that are ``repeat_of`` another.
    """
    count = len(lengths)
    buffer = EpisodeBuffer(
        horizon, OBSERVATIONS, ACTIONS, gamma=gamma, gae_lambda=gae_lambda, n_envs=count, device="cpu",
        pad_index=1, elite_fraction=elite_fraction,
    )  # fmt: skip
    values = np.zeros((horizon, count)) if values is None else values
    for step in range(horizon):
        observations = np.array([[number(step, e), step >= lengths[e]] for e in range(count)])
        rewards = np.array(returns if step == horizon - 1 else [0.0] * count, dtype=np.float32)
        buffer.add(
            observations,
            np.array([number(step, (repeat_of or {}).get(e, e)) for e in range(count)]),
            rewards,
            np.full(count, step == 0),
            torch.tensor(values[step], dtype=torch.float32),
            torch.full((count,), -0.1 * (step + 1)),
        )
    buffer.is_new = is_new and np.array(is_new)
    buffer.compute_returns_and_advantage(torch.full((count,), 99.0), np.ones(count, dtype=bool))
    return buffer


def joined(own, others_lengths, others_returns, elite_fraction=0.5, first=50, value=0.0, is_new=None):
    """The round of the buffer ``own`` held again, followed by episodes of others.

    The others are numbered from ``first``; their log probabilities are -1, -2 and so on.
    """
    horizon = own.buffer_size
    steps, episodes = np.arange(horizon)[:, None], first + np.arange(len(others_lengths))
    idle = steps >= np.array(others_lengths)
    numbers = number(steps, episodes)
    others = Episodes(
        np.stack([numbers, idle], axis=-1),
        numbers,
        np.full(idle.shape, value, dtype=np.float32),
        np.broadcast_to(-1.0 - steps, idle.shape).astype(np.float32),
    )
    returns = np.append(own.rewards.sum(axis=0), others_returns)
    held = filled([1] * own.n_envs, [9.0] * own.n_envs, elite_fraction, horizon)
    held.hold(Episodes.joined([episodes_in(own), others]), returns, is_new and np.array(is_new))
    held.compute_returns_and_advantage(torch.zeros(own.n_envs), np.ones(own.n_envs, dtype=bool))
    return held


def episodes_in(buffer):
    return Episodes(
        buffer.observations.copy(), buffer.actions[..., 0].copy(), buffer.values.copy(), buffer.log_probs.copy()
    )


def learned(buffer, batch_size=None):
    """All steps of one epoch: number -> (action, value, log probability, advantage, return)."""
    steps = {}
    for batch in buffer.get(batch_size):
        for i, observation in enumerate(batch.observations[:, 0].tolist()):
            assert observation not in steps  # each once
            parts = (batch.actions, batch.old_values, batch.old_log_prob, batch.advantages, batch.returns)
            steps[observation] = tuple(float(part[i]) for part in parts)
    return steps


def test_the_elite_by_hand():
    """Returns 1, 2, 3, 4: of the two in the middle the lower is the threshold, so the elite is 2, 3 and 4.

    Their standard deviation is sqrt(2/3), so the advantages are 0, sqrt(3/2) and 2 sqrt(3/2), the same for every
    step of an episode.
    """
    buffer = filled([3, 1, 2, 1], [1.0, 2.0, 3.0, 4.0], 0.5, horizon=3)
    assert buffer.elite_threshold == 2.0
    expected = {
        number(0, 1): (100.0, 0.0, -0.1, 0.0, 2.0),
        number(0, 2): (200.0, 0.0, -0.1, 1.5**0.5, 3.0),
        number(1, 2): (201.0, 0.0, -0.2, 1.5**0.5, 3.0),
        number(0, 3): (300.0, 0.0, -0.1, 2 * 1.5**0.5, 4.0),
    }
    for batch_size in (None, 1, 2, 3, 100):
        found = learned(buffer, batch_size)
        assert found.keys() == expected.keys()
        for step in expected:
            assert found[step] == pytest.approx(expected[step], abs=1e-6)


def test_batches_are_of_the_wanted_size_but_for_the_last():
    buffer = filled([3, 2, 3], [1.0, 1.0, 1.0], 0.5, horizon=4)
    assert [len(batch.actions) for batch in buffer.get(3)] == [3, 3, 2]
    assert [len(batch.actions) for batch in buffer.get()] == [8]


def test_steps_are_shuffled_by_numpy_s_seed():
    buffer = filled([4] * 10, [1.0] * 10, 0.5, horizon=4)

    def order(seed):
        np.random.seed(seed)
        return [int(n) for batch in buffer.get(7) for n in batch.observations[:, 0]]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0))


def test_equal_returns_are_all_elite_with_no_advantage():
    found = learned(filled([1, 2], [0.25, 0.25], 0.05, horizon=2))
    assert found.keys() == {number(0, 0), number(0, 1), number(1, 1)}
    assert all(advantage == 0.0 for _, _, _, advantage, _ in found.values())


def test_a_formula_counts_once():
    """Episodes 2 and 3 repeat episode 1. Of the returns 0, 1, 2 the lower median is 1; the repeats teach nothing."""
    buffer = filled([1, 1, 1, 1, 1], [0.0, 1.0, 1.0, 1.0, 2.0], 0.5, horizon=1, repeat_of={2: 1, 3: 1})
    assert buffer.elite_threshold == 1.0
    advantages = {step: advantage for step, (*_, advantage, _) in learned(buffer).items()}
    assert advantages == {number(0, 1): 0.0, number(0, 4): pytest.approx(2.0)}  # standard deviation of 1 and 2: a half


def test_only_what_is_new_is_learned():
    """Of the new returns 1 and 2 the threshold is 1, though 9 is known; the standard deviation of 1 and 2 is a half."""
    buffer = filled([1, 1, 1], [9.0, 1.0, 2.0], 0.5, horizon=1, is_new=[False, True, True])
    assert buffer.elite_threshold == 1.0
    advantages = {step: advantage for step, (*_, advantage, _) in learned(buffer).items()}
    assert advantages == {number(0, 1): 0.0, number(0, 2): pytest.approx(2.0)}


def test_a_round_without_anything_new_teaches_no_action():
    buffer = filled([2, 1], [9.0, 1.0], 0.5, horizon=2, is_new=[False, False])
    assert buffer.elite_threshold == 9.0
    found = learned(buffer)
    assert found.keys() == {number(0, 0), number(1, 0), number(0, 1)}  # for the entropy bonus and the value
    assert all(advantage == 0.0 for *_, advantage, _ in found.values())


def test_one_episode_above_the_rest_has_a_moderate_advantage():
    """At 0.9 the lower of 0 and 1 is 0; the standard deviation of 0 and 1 is a half."""
    advantages = [advantage for *_, advantage, _ in learned(filled([1, 1], [0.0, 1.0], 0.1, horizon=1)).values()]
    assert sorted(advantages) == pytest.approx([0.0, 2.0])


rounds = st.integers(1, 5).flatmap(
    lambda horizon: st.integers(1, 8).flatmap(
        lambda count: st.tuples(
            st.just(horizon),
            st.lists(st.integers(1, horizon), min_size=count, max_size=count),
            st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.3, 1e-6, 7.0]), min_size=count, max_size=count),
            st.sampled_from([0.01, 0.05, 0.3, 0.99]),
            st.integers(0, 2**31),
        )
    )
)


@settings(FIXED, max_examples=100)
@given(rounds)
def test_the_learned_steps_are_the_live_ones_of_the_elite(drawn):
    horizon, lengths, returns, fraction, _ = drawn
    buffer = filled(lengths, returns, fraction, horizon)
    at_least = np.sort(np.float32(returns))[-max(1, int(fraction * len(returns))) :]
    found = learned(buffer, batch_size=3)
    elite = {n // 100 for n in found}
    assert elite  # something is always learned
    assert found.keys() == {number(s, e) for e in elite for s in range(lengths[e])}
    assert min(returns[e] for e in elite) > max((r for e, r in enumerate(returns) if e not in elite), default=-np.inf)
    assert elite >= {e for e, r in enumerate(np.float32(returns)) if r >= at_least.max()}
    # The largest of n numbers lies at most sqrt(n) standard deviations above the smallest of them, doubled.
    assert all(0 <= advantage <= 2 * len(elite) ** 0.5 for *_, advantage, _ in found.values())


@settings(FIXED, max_examples=60)
@given(rounds, st.sampled_from([1.0, 0.9]), st.sampled_from([1.0, 0.7, 0.0]))
def test_the_mean_mode_is_stable_baselines_on_the_cut_episodes(drawn, gamma, gae_lambda):
    horizon, lengths, returns, _, seed = drawn
    values = np.random.default_rng(seed).normal(size=(horizon, len(lengths))).astype(np.float32)
    found = learned(filled(lengths, returns, None, horizon, values, gamma, gae_lambda))
    assert len(found) == sum(lengths)
    for episode, length in enumerate(lengths):
        plain = RolloutBuffer(length, OBSERVATIONS, ACTIONS, "cpu", gae_lambda, gamma, n_envs=1)
        for step in range(length):
            plain.add(
                np.array([[number(step, episode), 0]]),
                np.array([0]),
                np.array([returns[episode] if step == length - 1 else 0.0]),
                np.array([step == 0]),
                torch.tensor(values[step, episode : episode + 1]),
                torch.zeros(1),
            )
        plain.compute_returns_and_advantage(torch.full((1,), 99.0), np.array([True]))
        for step in range(length):
            *_, advantage, value_target = found[number(step, episode)]
            assert advantage == pytest.approx(plain.advantages[step, 0], abs=1e-5)
            assert value_target == pytest.approx(plain.returns[step, 0], abs=1e-5)


def test_the_mean_mode_by_hand():
    """gamma 1 and lambda 1: the advantage of a step is the return minus its value, the target is the return."""
    values = np.array([[0.5, 0.25], [2.0, 9.0], [9.0, 9.0]])  # 9 in idle steps
    found = learned(filled([2, 1], [1.0, 3.0], None, 3, values))
    assert {step: (advantage, target) for step, (*_, advantage, target) in found.items()} == {
        number(0, 0): (0.5, 1.0),
        number(1, 0): (-1.0, 1.0),
        number(0, 1): (2.75, 3.0),
    }


def test_a_buffer_serves_round_after_round():
    buffer = filled([2, 1], [0.0, 1.0], 0.5, horizon=2)
    first = learned(buffer)
    buffer.reset()
    assert not buffer.full
    again = filled([2, 1], [0.0, 1.0], 0.5, horizon=2)
    for name in ("observations", "actions", "rewards", "values", "log_probs", "episode_starts"):
        setattr(buffer, name, getattr(again, name).copy())
    buffer.compute_returns_and_advantage(torch.zeros(2), np.ones(2, dtype=bool))
    assert learned(buffer) == first


def test_the_episodes_of_others_join_the_elite_by_hand():
    """Own returns 1, 4, others' 2, 3: the threshold is 2, so the elite is the test above's, whoever wrote it."""
    buffer = joined(filled([3, 1], [1.0, 4.0], 0.5, horizon=3), [1, 2], [2.0, 3.0], value=0.5)
    assert buffer.elite_threshold == 2.0
    expected = {
        number(0, 1): (100.0, 0.0, -0.1, 2 * 1.5**0.5, 4.0),
        number(0, 50): (5000.0, 0.5, -1.0, 0.0, 2.0),
        number(0, 51): (5100.0, 0.5, -1.0, 1.5**0.5, 3.0),
        number(1, 51): (5101.0, 0.5, -2.0, 1.5**0.5, 3.0),
    }
    for batch_size in (None, 3):
        found = learned(buffer, batch_size)
        assert found.keys() == expected.keys()
        for step in expected:
            assert found[step] == pytest.approx(expected[step], abs=1e-6)


def test_the_flags_of_what_is_new_go_on_with_the_others():
    """New are the own return 1 and the others' 2: the threshold is 1, the standard deviation a half."""
    own = filled([1, 1], [8.0, 1.0], 0.5, horizon=1)
    buffer = joined(own, [1, 1], [9.0, 2.0], is_new=[False, True, False, True])
    advantages = {step: advantage for step, (*_, advantage, _) in learned(buffer).items()}
    assert advantages == {number(0, 1): 0.0, number(0, 51): pytest.approx(2.0)}


def test_the_entropy_is_of_the_policy_s_own_live_steps():
    """Log probabilities -0.1, -0.2 of the first episode and -0.1 of the second; the others' are not drawn from it."""
    alone = filled([2, 1], [0.0, 1.0], 0.5, horizon=3)
    assert alone.entropy == joined(alone, [3], [5.0]).entropy == pytest.approx(0.4 / 3)


def test_others_leave_with_the_round():
    buffer = joined(filled([2, 1], [0.0, 1.0], 0.5, 2), [1], [5.0], is_new=[True, True, True])
    assert buffer.observations.shape[:2] == (2, 3)
    list(buffer.get())
    buffer.reset()
    assert buffer.is_new is None
    for name in ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns"):
        assert getattr(buffer, name).shape[:2] == (2, 2)


@pytest.mark.parametrize("elite_fraction", [None, 0.5])
def test_a_rollout_that_is_held_is_learned_as_one_that_was_collected(elite_fraction):
    lengths, returns, horizon = [1, 3, 2], [1.0, 2.0, 3.0], 3
    collected = filled(lengths, returns, elite_fraction, horizon)
    buffer = filled([3, 3, 3], [9.0, 8.0, 7.0], elite_fraction, horizon)
    list(buffer.get())  # it has served a round before
    buffer.hold(episodes_in(collected), np.array(returns))
    buffer.compute_returns_and_advantage(torch.zeros(3), np.ones(3, dtype=bool))
    assert buffer.entropy == collected.entropy
    assert learned(buffer) == learned(collected)


def test_an_episode_that_goes_on_is_a_mistake():
    buffer = filled([1], [0.0], 0.5, horizon=1)
    with pytest.raises(AssertionError, match="a round ends with all its episodes"):
        buffer.compute_returns_and_advantage(torch.zeros(1), np.zeros(1, dtype=bool))
