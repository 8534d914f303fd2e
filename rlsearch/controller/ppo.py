"""Stock PPO, put together with the masked policy and the episode buffer."""

from collections.abc import Callable, Sequence

from stable_baselines3 import PPO

from rlsearch.controller.buffer import EpisodeBuffer
from rlsearch.controller.policy import MaskedPolicy
from rlsearch.controller.settings import ControllerSettings
from rlsearch_envs.lockstep import LockstepVecEnv


def make_controller(
    settings: ControllerSettings, env: LockstepVecEnv, seed: int, is_new: Callable[[], Sequence[bool]] | None = None
) -> PPO:
    """Returns an untrained controller for ``env``.

    The policy is a few thousand weights; it stays on the CPU whatever the reward runs on.
    """
    ppo = settings.ppo
    n_steps = env.grammar.max_length
    elite = settings.learn_from == "elite"
    return PPO(
        MaskedPolicy,
        env,
        learning_rate=ppo.learning_rate,
        n_steps=n_steps,
        batch_size=largest_divisor(n_steps * env.num_envs, ppo.batch_size),
        n_epochs=ppo.n_epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        normalize_advantage=not elite,  # elite advantages are all positive: centring would push half of them down
        ent_coef=ppo.ent_coef,
        vf_coef=ppo.vf_coef,
        max_grad_norm=ppo.max_grad_norm,
        target_kl=ppo.target_kl,
        rollout_buffer_class=EpisodeBuffer,
        rollout_buffer_kwargs={
            "pad_index": env.layout.mask.start,
            "elite_fraction": settings.elite_fraction if elite else None,
            "is_new": is_new,
        },
        policy_kwargs={
            "layout": env.layout,
            "arities": env.grammar.arities.tolist(),
            "net_arch": {"pi": list(ppo.net_arch), "vf": list(ppo.net_arch)},
        },
        stats_window_size=env.num_envs,
        seed=seed,
        device="cpu",
    )


def largest_divisor(number: int, limit: int) -> int:
    """Returns the largest divisor of ``number`` that is at most ``limit``, or the least above where only 1 is.

    PPO warns of a batch size that does not divide the rollout, and cannot normalise a batch of 1.
    """
    divisors = [d for d in range(2, number + 1) if number % d == 0]
    return max((d for d in divisors if d <= limit), default=divisors[0])
