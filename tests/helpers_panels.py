"""Tiny panels, and what their references are said to have scored."""

from helpers import evaluated

from rlsearch import Formula
from rlsearch.common.pool import make_pool
from rlsearch.formula import OPERATORS
from rlsearch.kernels import TorchKernel
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.proxies.base import Training
from rlsearch.rewards import Status
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.settings import RewardSettings, function

# The identity 0.5, ReLU 1, silu 0.5 + 0.5 + 1 = 2.
COSTS = LatencyCosts("test", 0.5, dict.fromkeys(OPERATORS, 0.5) | {"sigmoid": 1.0, "sin": 1.0, "cos": 1.0})
X, SILU, TANH, SQUARE, STEEP = (Formula.parse(text) for text in ("x", "silu(x)", "tanh(x)", "x * x", "x**3"))
TINY = {
    "dataset": "digits", "train_size": 64, "validation_size": 40, "test_size": 8, "widths": (8,), "batch_size": 32,
    "epochs": 2, "population": 4,
}  # fmt: skip
OTHER = TINY | {"widths": (12,), "validation_size": 80}

REFERRED = (
    {"relu": (0.50, 0.60), "gelu": (0.75, 0.75), "silu": (0.65, 0.65), "mish": (0.70, 0.70), "tanh": (0.45, 0.45)},
    {"relu": (0.80, 0.84), "gelu": (0.86, 0.86), "silu": (0.84, 0.84), "mish": (0.85, 0.85), "tanh": (0.76, 0.76)},
)
"""Of two proxies. ReLU has 0.55 and 0.82; from worst to best the baselines spread over 0.30 and 0.10.

The noise between seeds is below that: of the five variances all but ReLU's are 0, and the roots of the means are
sqrt(0.005 / 5) = 0.032 and sqrt(0.0008 / 5) = 0.013.
"""


def made(*proxies, run_seed=0, status_values=None, leaves_caller_free=False, fidelities=(1.0,), **values):
    """A reward of these proxies, a single tiny one by default."""
    settings = RewardSettings(**{"proxies": proxies or (TINY,), "baseline_seeds": 2} | values)
    more = {"status_values": status_values} if status_values else {}
    more |= {"pool": make_pool(1, leaves_caller_free=leaves_caller_free), "fidelities": fidelities}
    return PanelReward(settings, COSTS, TorchKernel(), "cpu", run_seed=run_seed, **more)


def scored(formula, proxy_name, *scores, status=Status.OK, **more):
    """Evaluations from the first seeds on."""
    return [evaluated(Training(formula, proxy_name, seed), score, status, **more) for seed, score in enumerate(scores)]


def everything(reward, trainings):
    return [evaluation for part in reward.evaluate(trainings) for evaluation in part]


def refer(reward, *by_function):
    """Tells a reward what its references scored: a dictionary by name for each of its proxies and learning rates.

    A score that is None is a training that diverged.
    """
    evaluations = []
    for name, scores in zip(reward.proxies, by_function, strict=True):
        for text, of_seeds in scores.items():
            for seed, score in enumerate(of_seeds):
                status = Status.DIVERGED if score is None else Status.OK
                evaluations.append(evaluated(Training(function(text), name, seed), score, status))
    reward.refer(evaluations)
    return reward


def two_proxies(factor=1, **values):
    """A panel of two, with the references' scores of :data:`REFERRED`; latencies times ``factor``."""
    reward = refer(made(TINY, OTHER, **values), *REFERRED)
    reward.costs = LatencyCosts("test", COSTS.fixed * factor, {name: c * factor for name, c in COSTS.costs.items()})
    return reward, *reward.proxy_names
