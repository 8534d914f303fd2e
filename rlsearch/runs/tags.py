"""What TensorBoard's tags mean, and how its page of custom scalars groups them."""

from typing import Any

DESCRIPTIONS = {
    "search/best_reward": "Reward of the best function found so far, in the search's own units.",
    "search/best_score": "Score of that function, before latency is subtracted.",
    "search/best_latency": "Latency of that function by the cost model, as a ratio to ReLU.",
    "search/mean_reward": "Mean reward of the round's judged formulas.",
    "search/mean_reward_ok": "Mean reward of those that were trained to the end.",
    "search/round_best_reward": "Best reward of the round.",
    "search/mean_length": "Mean number of tokens of the round's judged formulas.",
    "search/candidates": "Different functions trained so far.",
    "search/evaluations": "Trainings done in this round, those of rescored leaders included.",
    "search/candidates_per_second": "New functions trained per second in this round.",
    "search/trainings_per_second": "Trainings per second in this round.",
    "search/entropy": "Entropy of the policy per token, in nats; it falls as the policy becomes sure.",
    "search/elite_threshold": "Reward from which on a new function of the round teaches the policy.",
    "search/restarts": "How often policy and parents have begun anew.",
    "shares/fresh": "Share of the round's formulas whose function was not known.",
    "shares/repeated": "Share whose function was known already; nothing is trained for it.",
    "shares/ok": "Share that was trained to the end.",
    "shares/unfit": "Share that is not finite, constant or too steep, and is never trained.",
    "shares/diverged": "Share whose training diverged.",
    "shares/failed": "Share for which the reward raised an error.",
    "surrogate/rank_correlation": "Rank correlation of the predicted with the actual reward, in this round.",
    "surrogate/skipped": "Formulas that were written and dropped unjudged in this round.",
    "rollout/ep_rew_mean": "Mean reward of what the policy wrote, predictions for dropped formulas included.",
    "rollout/ep_len_mean": "Mean number of tokens of what the policy wrote.",
    "train/approx_kl": "Approximate KL divergence of the policy from itself before the update.",
    "train/clip_fraction": "Share of the steps whose probability ratio was clipped.",
    "train/clip_range": "PPO's clip range.",
    "train/entropy_loss": "Minus the mean entropy of the policy.",
    "train/explained_variance": "Share of the returns' variance that the value function explains.",
    "train/learning_rate": "Learning rate of the policy.",
    "train/loss": "PPO's loss in all.",
    "train/n_updates": "Epochs of updates so far.",
    "train/policy_gradient_loss": "PPO's clipped surrogate loss.",
    "train/value_loss": "Squared error of the value function.",
    "time/fps": "Tokens that the policy wrote per second, judging included.",
    "time/iterations": "Rounds done.",
    "time/time_elapsed": "Seconds since this session of the run began.",
    "time/total_timesteps": "Tokens that the policy has written, padding included, as stable-baselines3 counts them.",
    "mining/rung": "Stage of successive halving, from 0.",
}
"""By tag."""

OF_FAMILIES = {
    "best_gain/": "Gain of the best function over the reference on this proxy, in spreads of the baselines.",
    "best_score/": "Score of the best function on this proxy.",
    "mining/": "Functions counted by mining.",
}
"""By the beginning of a tag that has a name of the run's in it."""

LAYOUT: dict[str, dict[str, list[Any]]] = {
    "Search": {
        "reward": ["Multiline", ["search/best_reward", "search/round_best_reward", "search/mean_reward_ok"]],
        "trained functions": ["Multiline", ["search/candidates$"]],
        "where the best one wins": ["Multiline", ["best_gain/.*"]],
        "what becomes of proposals": ["Multiline", ["shares/.*"]],
    },
    "Policy": {
        "entropy": ["Multiline", ["search/entropy"]],
        "length": ["Multiline", ["rollout/ep_len_mean", "search/mean_length"]],
    },
}
"""The page CUSTOM SCALARS: titles of groups, of charts, and the tags in each as regular expressions."""


def describe(tag: str) -> str:
    """What a tag means; empty for one that only a search method of the user's knows."""
    if tag in DESCRIPTIONS:
        return DESCRIPTIONS[tag]
    return next((text for beginning, text in OF_FAMILIES.items() if tag.startswith(beginning)), "")
