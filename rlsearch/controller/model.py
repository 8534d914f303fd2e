"""Stock PPO, put together with the masked policy and the episode buffer, and its state."""

import random
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from rlsearch.controller.buffer import EpisodeBuffer
from rlsearch.controller.policy import MaskedPolicy
from rlsearch.controller.settings import ControllerSettings
from rlsearch.errors import RunError
from rlsearch_envs.lockstep import LockstepVecEnv


def make_ppo(settings: ControllerSettings, env: LockstepVecEnv, seed: int) -> PPO:
    """Makes an untrained PPO for ``env`` whose rollout is one round; it logs in memory only.

    The policy is a few thousand weights; it stays on the CPU whatever the reward runs on.
    """
    ppo = settings.ppo
    n_steps = env.grammar.max_length
    elite = settings.learn_from == "elite"
    model = PPO(
        MaskedPolicy,
        env,
        learning_rate=ppo.learning_rate,
        n_steps=n_steps,
        batch_size=largest_divisor(n_steps * env.num_envs, ppo.batch_size),
        n_epochs=ppo.n_epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        # Elite advantages are all positive: centring would push half of them down.
        normalize_advantage=not elite,
        ent_coef=ppo.ent_coef,
        vf_coef=ppo.vf_coef,
        max_grad_norm=ppo.max_grad_norm,
        target_kl=ppo.target_kl,
        rollout_buffer_class=EpisodeBuffer,
        rollout_buffer_kwargs={
            "pad_index": env.layout.mask.start,
            "elite_fraction": settings.elite_fraction if elite else None,
        },
        policy_kwargs={
            "layout": env.layout,
            "arities": env.grammar.arities.tolist(),
            "net_arch": {"pi": list(ppo.net_arch), "vf": list(ppo.net_arch)},
        },
        seed=seed,
        device="cpu",
    )
    model.set_logger(Logger(None, []))
    return model


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of ``number`` that is at most ``limit``; where that is 1, the least one above.

    PPO warns of a batch size that does not divide the rollout, and cannot normalise a batch of 1.
    """
    divisors = [d for d in range(2, number + 1) if number % d == 0]
    return max((d for d in divisors if d <= limit), default=divisors[0])


def ppo_state(model: PPO) -> dict[str, Any]:
    """Policy, optimiser, counts and all random numbers; stable-baselines3 draws from the global ones."""
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, python_words, gauss_next = random.getstate()
    return {
        "num_timesteps": model.num_timesteps,
        "n_updates": model._n_updates,
        "policy": model.policy.state_dict(),
        "optimiser": model.policy.optimizer.state_dict(),
        "random_state": {
            "torch": torch.get_rng_state(),
            "numpy": [name, torch.from_numpy(np.asarray(words).astype(np.int64)), position, has_gauss, gauss],
            "python": [version, list(python_words), gauss_next],
        },
    }


def restore_ppo(model: PPO, state: dict[str, Any]) -> None:
    """Puts back what :func:`ppo_state` returned.

    Raises:
        RunError: If the state does not fit, for instance because it is of another vocabulary.
    """
    restore_policy(model, state)
    model.policy.optimizer.load_state_dict(state["optimiser"])
    model.num_timesteps = state["num_timesteps"]
    model._n_updates = state["n_updates"]
    stored = state["random_state"]
    torch.set_rng_state(stored["torch"])
    name, words, position, has_gauss, gauss = stored["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, python_words, gauss_next = stored["python"]
    random.setstate((version, tuple(python_words), gauss_next))


def restore_policy(model: PPO, state: dict[str, Any]) -> None:
    """Puts the policy's weights back, and nothing else.

    Raises:
        RunError: If they do not fit.
    """
    try:
        model.policy.load_state_dict(state["policy"])
    except (RuntimeError, AttributeError, TypeError, KeyError) as error:
        raise RunError(f"the checkpoint does not fit the run's config: {error}") from error
