"""The stable-baselines3 PPO that the controller is made of."""

import pytest

from rlsearch.controller.model import largest_divisor, make_ppo
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Grammar, Vocabulary
from rlsearch_envs import CurveReward
from rlsearch_envs.lockstep import LockstepVecEnv


@pytest.mark.parametrize(
    ("number", "limit", "expected"),
    [(12, 5, 4), (12, 12, 12), (12, 100, 12), (13, 12, 13), (12 * 256, 1024, 1024), (12 * 100, 1024, 600)],
)
def test_largest_divisor(number, limit, expected):
    assert largest_divisor(number, limit) == expected


@pytest.mark.parametrize("number", range(2, 40))
def test_largest_divisor_divides(number):
    for limit in range(2, 45):
        found = largest_divisor(number, limit)
        assert number % found == 0
        assert found >= 2  # PPO cannot normalise a batch of 1
        larger = [d for d in range(found + 1, min(limit, number) + 1) if number % d == 0]
        assert not larger
        if found > limit:
            assert all(number % d for d in range(2, limit + 1))


@pytest.mark.parametrize("learn_from", ["elite", "mean"])
@pytest.mark.parametrize("per_round", [2, 7, 50, 256])
def test_it_is_stock_ppo_without_a_warning(learn_from, per_round):
    """Warnings are errors; PPO warns of a batch size that does not divide the rollout."""
    grammar = Grammar(Vocabulary(("add", "tanh")), 3, 12)
    settings = ControllerSettings(learn_from=learn_from, elite_fraction=0.1, ppo={"batch_size": 100, "n_epochs": 3})
    ppo = make_ppo(settings, LockstepVecEnv(grammar, CurveReward(), per_round), seed=0)
    assert type(ppo).__module__ == "stable_baselines3.ppo.ppo"
    assert ppo.n_steps == 12
    assert ppo.n_epochs == 3
    assert (12 * per_round) % ppo.batch_size == 0
    assert ppo.batch_size <= 100
    assert ppo.normalize_advantage == (learn_from == "mean")
    assert ppo.rollout_buffer.elite_fraction == (0.1 if learn_from == "elite" else None)
    ppo.learn(12 * per_round, log_interval=None)
    assert ppo.num_timesteps == 12 * per_round
    assert all(p.isfinite().all() for p in ppo.policy.parameters())
