"""A whole search in one file: stable-baselines3's PPO writes functions, and a small network says how good they are.

Language, environment, policy and buffer are those of rlsearch; the reward is written here. ``rlsearch train`` adds
archive, resume, latency and claims. Run it: python minimal_search.py
"""

import torch
from stable_baselines3 import PPO
from torch import nn

from rlsearch import Formula, RewardResult, Status
from rlsearch.controller.buffer import EpisodeBuffer
from rlsearch.controller.policy import MaskedPolicy
from rlsearch.formula.settings import LanguageSettings
from rlsearch_envs.lockstep import LockstepVecEnv

OPERATORS = ("mul", "add", "max", "tanh", "atan", "sigmoid", "relu", "erf")
GRAMMAR = LanguageSettings(operators=OPERATORS, constants=(0.5, 1.0), max_length=8).grammar()
FORMULAS_PER_ROUND = 48
WORST = -3.0  # the reward of a function that diverged


def make_data(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on a plane, and which of two spirals each belongs to: [512, 2] and [512]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(512) % 2
    turn = 9 * torch.rand(512, generator=generator).sqrt()
    angle = turn + torch.pi * labels
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1)
    return (points + 0.3 * torch.randn(512, 2, generator=generator)) / 4, labels


def score(formula: Formula) -> float:
    """Minus the cross-entropy on fresh points of a small network that was trained with the function."""
    (x, labels), (fresh, fresh_labels) = make_data(0), make_data(1)
    torch.manual_seed(0)  # every function begins with the same weights
    activation = formula.to_module()
    network = nn.Sequential(nn.Linear(2, 16), activation, nn.Linear(16, 16), activation, nn.Linear(16, 2))
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-2)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        optimiser.step()
    return -nn.functional.cross_entropy(network(fresh), fresh_labels).item()


def search(rounds: int = 5, formulas_per_round: int = FORMULAS_PER_ROUND) -> list[tuple[float, Formula]]:
    """All functions that were trained, the best first."""
    known: dict[str, tuple[float, Formula]] = {}

    def reward(formulas: list[Formula]) -> list[RewardResult]:
        for f in formulas:
            if f.fingerprint not in known:  # a function is trained once, however it is spelled
                known[f.fingerprint] = (score(f), f)
        scores = [known[f.fingerprint][0] for f in formulas]
        return [RewardResult(s) if s > WORST else RewardResult(WORST, Status.DIVERGED) for s in scores]

    env = LockstepVecEnv(GRAMMAR, reward, formulas_per_round)
    steps = GRAMMAR.max_length  # one rollout is one round
    model = PPO(
        MaskedPolicy, env, n_steps=steps, batch_size=steps * formulas_per_round, n_epochs=4, learning_rate=3e-3,
        gamma=1.0, ent_coef=0.05, normalize_advantage=False, seed=0, device="cpu",
        rollout_buffer_class=EpisodeBuffer,  # learns from the best tenth of a round
        rollout_buffer_kwargs={"pad_index": env.layout.mask.start, "elite_fraction": 0.1},
        policy_kwargs={"layout": env.layout, "arities": GRAMMAR.arities.tolist()},
    )  # fmt: skip
    model.learn(rounds * steps * formulas_per_round)
    return sorted(known.values(), key=lambda found: -found[0] if found[0] > WORST else -WORST)


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = search()
    print(f"{len(found)} functions trained. ReLU has {score(Formula.parse('relu(x)')):.3f}, and the best have")
    for value, formula in found[:5]:
        print(f"{value:.3f}  {formula}")
