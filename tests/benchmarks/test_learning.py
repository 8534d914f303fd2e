"""Learning, not luck: PPO against random masked sampling with the same number of trained candidates.

On the quickstart's reward with half of its training examples and narrower layers, so that it takes minutes. Counted
are functions that were trained: what is repeated or screened out is free, for both.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rlsearch.common.seeds import fresh_seed, search_seed
from rlsearch.formula import RELU
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge
from rlsearch.judging.settings import RescoringSettings
from rlsearch.kernels import TorchKernel
from rlsearch.kernels.latency import cached_costs
from rlsearch.proxies.base import Training
from rlsearch.rewards.base import Status
from rlsearch.rewards.panel import PanelReward
from rlsearch.runs.build import make_method
from rlsearch.runs.config import load_config

pytestmark = pytest.mark.benchmark

CONFIG = load_config(
    Path(__file__).parents[2] / "configs" / "quickstart.yaml",
    [
        "reward.proxies=[{train_size: 2000, validation_size: 4000, widths: [64, 64]}]",
        "search.formulas_per_round=64",  # 3 elites; with more there are too few rounds to learn in
    ],
)
TRAINED = 600
SEEDS = range(3)
BEST = 16  # scored again on fresh seeds


def search(name, seed, path):
    """Returns the rewards of the first TRAINED trained functions, proposals made, and the best's fresh rewards."""
    reward = PanelReward(CONFIG.reward, cached_costs(TorchKernel(), "cpu"), TorchKernel(), "cpu", run_seed=seed)
    with Archive(path, create=True) as archive:
        judge = Judge(reward, archive, lambda i: search_seed(seed, i), rescoring=RescoringSettings(every=0))
        wanted = CONFIG.search.model_copy(update={"method": name})
        method = make_method(CONFIG.model_copy(update={"search": wanted, "seed": seed}))
        trained = []
        while len(trained) < TRAINED:
            method.run_round(judge)
            trained = [j for j in judge.known.values() if j.result.status is not Status.UNFIT and j.formula != RELU]
        trained = trained[:TRAINED]
        best = sorted(trained, key=lambda j: j.rank)[-BEST:]
        # A seed that no search uses: fresh weights and order. There is one proxy, so one evaluation each.
        again = [Training(j.formula, protocol, fresh_seed(seed, 0)) for j in best for protocol in reward.proxy_names]
        fresh = [reward.combine(e.training.formula, [e]).value for part in reward.evaluate(again) for e in part]
        return [j.result.value for j in trained], judge.proposals, fresh, best[-1]


@pytest.mark.timeout(1800)
def test_ppo_beats_random_sampling(tmp_path):
    torch.set_num_threads(1)
    print(f"\n{TRAINED} trained candidates each; rewards relative to ReLU")
    print("method  seed  proposals  median   top 5 %    best   best 16, fresh seed   minutes  best formula")
    found = {}
    for seed in SEEDS:
        for name in ("random", "ppo"):
            started = time.perf_counter()
            values, proposals, fresh, best = search(name, seed, tmp_path / f"{name}-{seed}.sqlite")
            quantile, median = np.quantile(values, [0.95, 0.5])
            found[name, seed] = quantile, max(values), statistics.mean(fresh)
            minutes = (time.perf_counter() - started) / 60
            numbers = (
                f"{proposals:9,} {median:+8.3f} {quantile:+9.4f} {max(values):+8.4f} {found[name, seed][2]:+15.4f}"
            )
            print(f"{name:6}  {seed:4}  {numbers} {minutes:15.1f}  {best.formula}", flush=True)
    means = {name: np.mean([found[name, seed] for seed in SEEDS], axis=0) for name in ("random", "ppo")}
    for name, (quantile, best, fresh) in means.items():
        print(f"{name:6}  mean: top 5 % {quantile:+.4f}, best {best:+.4f}, best {BEST} on a fresh seed {fresh:+.4f}")
    assert all(found["ppo", seed][0] > found["random", seed][0] for seed in SEEDS)
    assert means["ppo"][2] > means["random"][2]
