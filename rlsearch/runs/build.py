"""A config made into its parts, on this machine: reward, judge and search method."""

from typing import Any

import torch
from loky import cpu_count

from rlsearch.common.pool import Pool, make_pool
from rlsearch.common.seeds import search_seed
from rlsearch.common.targets import build_target
from rlsearch.controller.ppo import PPOSearch
from rlsearch.errors import ConfigError
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge, Rung
from rlsearch.judging.settings import RescoringSettings
from rlsearch.kernels import Kernel, kernel_named
from rlsearch.kernels.latency import LatencyCosts, cached_costs
from rlsearch.proxies.own.batching import completed
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings
from rlsearch.rewards.accuracy import AccuracyReward
from rlsearch.rewards.own import PlainReward
from rlsearch.rewards.settings import RewardSettings
from rlsearch.rewards.staged import StagedReward
from rlsearch.runs.config import Config, TargetSettings
from rlsearch.runs.folder import Run
from rlsearch.search import SearchMethod
from rlsearch.search.evolution import EvolutionSearch
from rlsearch.search.exhaustive import ExhaustiveSearch
from rlsearch.search.mining.method import MiningSearch
from rlsearch.search.random import RandomSearch


def resolve(config: Config) -> Config:
    """Returns the config with device, kernel, workers and what a user's proxies leave open decided for this machine.

    Raises:
        ConfigError: If the device, the kernel or a user's network is not there or is wrong.
    """
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise ConfigError(f"device {device!r}: torch sees {torch.cuda.device_count()} CUDA device(s); try 'cpu'")
    # On a GPU one process keeps the device busy; on a CPU each core gets one, with its products in one thread.
    workers = config.workers or (cpu_count() if device == "cpu" else 1)
    kernel = kernel_named(config.kernel, device)
    changes: dict[str, Any] = {"device": device, "kernel": kernel.name, "workers": workers}
    if isinstance(config.reward, RewardSettings):
        proxies = tuple(completed(p, kernel, device) if isinstance(p, OwnProxySettings) else p for p in config.proxies)
        changes["reward"] = config.reward.model_copy(update={"proxies": proxies})
    if config.search.method == "mining":  # its length is that of its rungs
        if config.search.candidates is not None:
            raise ConfigError(
                f"search.candidates = {config.search.candidates} does not go with mining; how many functions it trains "
                "is said by mining.rungs"
            )
        rounds = config.mining.rounds(config.search.formulas_per_round)
        changes["search"] = config.search.model_copy(update={"rounds": rounds, "candidates": None})
    return config.model_copy(update=changes)


def proxies_of(config: Config) -> tuple[ProxySettings | OwnProxySettings, ...]:
    """The proxies of a config whose formulas are to be trained.

    Raises:
        ConfigError: If its reward has none.
    """
    if not config.proxies:
        raise ConfigError(f"the reward {config.reward_name} has no proxies to train; give a config that has some")
    return config.proxies


def kernel_of(config: Config) -> Kernel:
    """The kernel of a config.

    Raises:
        ConfigError: If it is not installed, or not for the device.
    """
    return kernel_named(config.kernel, config.device)


def pool_of(config: Config, *, leaves_caller_free: bool = False) -> Pool:
    """The pool of a resolved config; see :func:`~rlsearch.common.pool.make_pool`."""
    assert config.workers is not None, "the config is resolved"
    return make_pool(config.workers, leaves_caller_free=leaves_caller_free)


def make_reward(config: Config, run: Run | None = None) -> tuple[StagedReward, LatencyCosts | None]:
    """The reward of a config, and the latency costs if it has any.

    Args:
        config: A resolved config.
        run: Where the costs are, if the run exists already.
    """
    overlaps = config.search.method == "ppo" and config.controller.overlap
    if isinstance(config.reward, TargetSettings):
        return _own_reward(config.reward, overlaps), None
    kernel = kernel_of(config)
    if run is not None:
        costs = LatencyCosts.load(run.latency_costs)
    elif config.reward.latency_costs is not None:
        costs = LatencyCosts.load(config.reward.latency_costs)
    else:
        costs = cached_costs(kernel, config.device)
    reward = AccuracyReward(
        config.reward,
        costs,
        kernel,
        config.device,
        config.seed,
        pool_of(config, leaves_caller_free=overlaps),
        config.status_values,
        fidelities(config),
    )
    return reward, costs


def _own_reward(settings: TargetSettings, overlaps: bool) -> StagedReward:
    reward = build_target(settings.model_dump())
    if isinstance(reward, StagedReward):
        return reward
    if not callable(reward):
        raise ConfigError(f"{settings.target} made a {type(reward).__name__}, which is not callable")
    if overlaps:
        raise ConfigError(
            f"controller.overlap does not go with {settings.target}: a reward that is called once for a round "
            "leaves nothing to be done beside it"
        )
    arguments = settings.model_dump(exclude={"target"})
    return PlainReward(reward, f"{settings.target} {arguments}" if arguments else settings.target)


def fidelities(config: Config) -> list[float]:
    """Returns how long the proxies of a run are trained, in shares of their epochs, the shortest first."""
    if config.search.method == "mining":
        return list(dict.fromkeys(rung.epochs for rung in config.mining.rungs))
    return [1.0, float(config.rescoring.epochs_factor)]


def make_judge(config: Config, reward: StagedReward, archive: Archive, first_round: int, **more: Any) -> Judge:
    """The judge of a run."""
    rungs, rescoring = None, config.rescoring
    if config.search.method == "mining":
        assert isinstance(reward, AccuracyReward)
        names = dict(zip(fidelities(config), reward.fidelities, strict=True))
        rungs = [Rung(names[rung.epochs], rung.seeds) for rung in config.mining.rungs]
        rescoring = RescoringSettings(every=0)  # the rungs are that
    return Judge(
        reward,
        archive,
        lambda i: search_seed(config.seed, i),
        seeds_per_formula=config.seeds_per_formula,
        rungs=rungs,
        status_values=config.status_values,
        rescoring=rescoring,
        first_round=first_round,
        **more,
    )


def make_method(config: Config, costs: LatencyCosts | None = None) -> SearchMethod:
    """Returns the search method of a config, at its beginning.

    Args:
        config: A resolved config.
        costs: The latency of formulas, which mining needs.

    Raises:
        ConfigError: If the warm start or the template cannot be written in the config's language.
    """
    search, grammar = config.search, config.language.grammar()
    common = (grammar, search.formulas_per_round, config.seed, [Formula.parse(text) for text in search.warm_start])
    match search.method:
        case "ppo":
            return PPOSearch(config.controller, *common)
        case "random":
            return RandomSearch(*common)
        case "evolution":
            return EvolutionSearch(config.evolution, *common)
        case "exhaustive":
            return ExhaustiveSearch(config.exhaustive, *common)
        case "mining":
            if not isinstance(config.reward, RewardSettings) or costs is None:
                raise ConfigError("mining trains proxies for ever longer, and a reward of your own has none to train")
            return MiningSearch(config.mining, config.reward.screening, costs, *common)
