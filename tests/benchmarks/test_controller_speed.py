"""Formulas per second of the environment alone, and of the controller on a reward that costs nothing."""

import statistics
import time

import numpy as np
import pytest
import torch
from helpers import make_judge

from rlsearch.controller.model import make_ppo
from rlsearch.controller.ppo import PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards import RewardResult
from rlsearch_envs.lockstep import LockstepVecEnv

pytestmark = pytest.mark.benchmark

GRAMMAR = LanguageSettings().grammar()
ROUNDS = 5


def free_reward(formulas):
    return [RewardResult(0.0)] * len(formulas)


def varied_reward(formulas):
    """Costs as little, and gives the policy something to learn from."""
    return [RewardResult(formula.size / 12) for formula in formulas]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def rate(count, function):
    """Returns the median of formulas per second over some rounds."""
    function()
    rates = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        function()
        rates.append(count / (time.perf_counter() - started))
    return statistics.median(rates)


@pytest.mark.parametrize("n", [256, 1024])
def test_environment_alone(n):
    """Uniform sampling of legal tokens: stepping, masks, observations, and whole Formula objects at the end."""
    env = LockstepVecEnv(GRAMMAR, free_reward, n)
    env.reset()
    noise = np.random.default_rng(0).random((GRAMMAR.max_length, n, env.action_space.n))
    sampling = np.random.default_rng(1)

    def episodes():
        sampling.shuffle(noise, axis=1)
        for step in range(GRAMMAR.max_length):
            env.step(np.where(env.action_masks(), noise[step], -1.0).argmax(axis=1))

    found = rate(n, episodes)
    print(f"\nenvironment alone, N = {n}, length <= {GRAMMAR.max_length}: {found:,.0f} formulas/s (goal 30,000)")
    assert found > 10_000  # a third of the goal: a busy machine is no failure


@pytest.mark.parametrize("n", [128, 256, 1024])
def test_controller_on_a_free_reward(n):
    env = LockstepVecEnv(GRAMMAR, varied_reward, n)
    ppo = make_ppo(ControllerSettings(), env, seed=0)
    steps = n * GRAMMAR.max_length
    found = rate(n, lambda: ppo.learn(steps, reset_num_timesteps=False))
    print(f"\ncontroller on a free reward, N = {n}: {found:,.0f} formulas/s (goal 1,500)")
    assert found > 500


@pytest.mark.parametrize("n", [128, 256, 1024])
def test_search_with_offspring_on_a_free_reward(n):
    """Judging included: merging by function costs a fingerprint per formula."""
    method, judge = PPOSearch(ControllerSettings(), GRAMMAR, n, 0), make_judge(varied_reward)
    found = rate(n, lambda: method.run_round(judge))
    print(f"\nsearch with offspring on a free reward, N = {n}: {found:,.0f} formulas/s")
    assert found > 300
