"""A config made into its parts, on this machine: reward, judge and search method."""

from typing import Any

import torch
from loky import cpu_count

from rlsearch.common.device import is_cpu
from rlsearch.common.pool import Pool, make_pool
from rlsearch.common.seeds import search_seed
from rlsearch.common.settings import Settings
from rlsearch.common.targets import code_of, digest, find_target, is_of_main, search_first
from rlsearch.controller.methods import METHODS
from rlsearch.errors import ConfigError
from rlsearch.formula import RELU
from rlsearch.formula.operators import OPERATORS
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge, Rung
from rlsearch.judging.settings import RescoringSettings
from rlsearch.kernels import Kernel, kernel_named
from rlsearch.kernels.latency import LatencyCosts, cached_costs
from rlsearch.proxies.own.batching import completed, way_of
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.own.training import completed_training
from rlsearch.rewards.base import WORST_POINTS
from rlsearch.rewards.own import IsolatedReward, PlainReward, make_own, name_of
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.settings import AnyProxy
from rlsearch.rewards.staged import StagedReward
from rlsearch.runs.config import Config, RewardTarget
from rlsearch.runs.folder import Run
from rlsearch.search.base import SearchMethod, Setup


def resolve(config: Config) -> Config:
    """Decides what a config leaves open for this machine: device, kernel, workers, and parts of a user's proxies.

    Raises:
        ConfigError: If the device, the kernel or a user's network is not there or is wrong.
    """
    if config.code is not None:
        search_first(config.code)
    device = _device_of(config)
    # On a GPU one process keeps the device busy; on a CPU each core gets one, with its products in one thread.
    workers = config.workers or (cpu_count() if is_cpu(device) else 1)
    kernel = kernel_named(config.kernel, device)
    changes: dict[str, Any] = {"device": device, "kernel": kernel.name, "workers": workers}
    if config.proxy_reward is not None:
        proxies = [_completed(proxy, kernel, device) for proxy in config.proxies]
        changes["reward"] = config.proxy_reward.model_copy(update={"proxies": tuple(proxies)})
    worst = WORST_POINTS if config.proxy_reward is None else config.proxy_reward.worst
    changes["status_values"] = config.status_values.filled(worst)
    method, own = method_class(config), own_settings(config)
    method.check_reward(own, config.proxy_reward)
    check_refining(config)
    changes["search"] = method.budget(config.search, own)
    return config.model_copy(update=changes)


def _device_of(config: Config) -> str:
    """The device that a config means on this machine.

    Raises:
        ConfigError: If it is not there.
    """
    device = config.device
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not is_cpu(device):
        index = int(device.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise ConfigError(f"device {device!r}: torch sees {torch.cuda.device_count()} CUDA device(s); try 'cpu'")
    return device


def check_config(config: Config) -> None:
    """Checks whatever can be checked of a config in a moment: that all it names is there and goes together.

    A user's network and data are imported, but not built.

    Raises:
        ConfigError: If the device, the kernel, a target, the warm start or the budget is wrong.
    """
    if config.code is not None:
        search_first(config.code)
    kernel_named(config.kernel, _device_of(config))
    method, own = method_class(config), own_settings(config)
    method.check_reward(own, config.proxy_reward)
    method.budget(config.search, own)
    check_refining(config)
    # What a formula costs does not matter here, and measuring it would take a while.
    make_method(config, LatencyCosts("", 1.0, dict.fromkeys(OPERATORS, 1.0)))
    targets = [config.own_reward.target] if config.own_reward else []
    for proxy in config.proxies:
        if isinstance(proxy, OwnProxySettings):
            targets += [proxy.target, proxy.data.target]
        elif isinstance(proxy, OwnTrainingSettings):
            targets.append(proxy.target)
    for target in targets:
        find_target(target)


def _completed(proxy: AnyProxy, kernel: Kernel, device: str) -> AnyProxy:
    """A user's own network says only on this machine what it can do, and files what is in them."""
    if isinstance(proxy, OwnProxySettings):
        return completed(proxy, kernel, device)
    if isinstance(proxy, OwnTrainingSettings):
        return completed_training(proxy)
    return proxy.completed()


def check_refining(config: Config) -> None:
    """Checks that the search method leaves rounds for refinement.

    Raises:
        ConfigError: If it does not.
    """
    length = method_class(config).fixed_length
    if config.refine.every and length:
        raise ConfigError(
            f"refine.every = {config.refine.every} does not go with {config.search.method}, whose length is that of "
            f"{length}; refine the run when it is done: rlsearch refine RUN"
        )


def proxies_of(config: Config) -> tuple[AnyProxy, ...]:
    """The proxies of a config whose formulas are to be trained.

    Raises:
        ConfigError: If its reward has none.
    """
    if config.own_reward is not None:
        raise ConfigError(f"the reward {config.own_reward.target} has no proxies to train; give a config that has some")
    return config.proxies


def ways_of_training(config: Config) -> list[str]:
    """A line for each of a user's own networks in a resolved config: how candidates are trained, and why."""
    own = [proxy for proxy in config.proxies if isinstance(proxy, OwnProxySettings)]
    lines = [f"{proxy.name}: candidates are trained {way_of(proxy, kernel_of(config), config.device)}" for proxy in own]
    return list(dict.fromkeys(lines))


def kernel_of(config: Config) -> Kernel:
    """The kernel of a config.

    Raises:
        ConfigError: If it is not installed, or not for the device.
    """
    return kernel_named(config.kernel, config.device)


def pool_of(config: Config, *, leaves_caller_free: bool = False) -> Pool:
    """The pool of a resolved config; see :func:`~rlsearch.common.pool.make_pool`.

    Networks and trainings of a user's own always run in worker processes, where one that hangs or crashes can be ended;
    but for those that are defined in a script or a notebook, which no other process can import.
    """
    assert config.workers is not None, "the config is resolved"
    isolated = bool(config.targets) and not any(is_of_main(target) for target in config.targets)
    return make_pool(config.workers, leaves_caller_free=leaves_caller_free or isolated)


def make_reward(config: Config, run: Run | None = None) -> tuple[StagedReward, LatencyCosts | None]:
    """The reward of a config, and the latency costs if it has any.

    Args:
        config: A resolved config.
        run: Where the costs are, if the run exists already.
    """
    if config.own_reward is not None:
        return _own_reward(config.own_reward, works_ahead(config), config.seed), None
    settings = config.proxy_reward
    assert settings is not None
    kernel = kernel_of(config)
    # What a search can write, and what it is relative to.
    operators = set(config.language.operators)
    for formula in (RELU, *settings.references):
        operators.update(instruction.operator.name for instruction in formula.program.instructions)
    # A run keeps the costs that it began with, whatever machine resumes it.
    if run is not None:
        costs = LatencyCosts.load(run.latency_costs, operators)
    elif settings.latency_costs is not None:
        costs = LatencyCosts.load(settings.latency_costs, operators)
    else:
        costs = cached_costs(kernel, config.device)
    reward = PanelReward(
        settings,
        costs,
        kernel,
        config.device,
        config.seed,
        pool_of(config, leaves_caller_free=works_ahead(config)),
        config.status_values,
        fidelities(config),
    )
    return reward, costs


def reward_digest(config: Config) -> str | None:
    """A digest of the code of a user's own reward; None if the reward trains proxies, or no source can be read.

    It is of the modules in which the reward is named and defined, without comments, docstrings and spacing.

    Raises:
        ConfigError: If the reward cannot be found.
    """
    if config.own_reward is None:
        return None
    find_target(config.own_reward.target)
    try:
        return digest([code_of(config.own_reward.target)])
    except ConfigError:
        return None


def _own_reward(settings: RewardTarget, works_ahead: bool, run_seed: int) -> StagedReward:
    is_isolated = settings.time_limit is not None
    if is_isolated and is_of_main(settings.target):
        raise ConfigError(
            f"reward.time_limit does not go with {settings.target}: another process cannot import it; put it into a "
            "module"
        )
    reward = make_own(settings, run_seed)
    if isinstance(reward, StagedReward):
        if is_isolated:
            raise ConfigError(f"reward.time_limit does not go with {settings.target}: it is a reward in stages")
        return reward
    if not callable(reward):
        raise ConfigError(f"{settings.target} made a {type(reward).__name__}, which is not callable")
    if works_ahead:
        raise ConfigError(
            f"controller.overlap does not go with {settings.target}: a reward that is called once for a round "
            "leaves nothing to be done beside it"
        )
    if is_isolated:
        return IsolatedReward(settings, run_seed)
    return PlainReward(reward, name_of(settings), run_seed)


def method_class(config: Config) -> type[SearchMethod]:
    """The class of a config's search method."""
    return METHODS[config.search.method]


def own_settings(config: Config) -> Settings | None:
    """The section of a config that its search method reads, if it has one."""
    section = method_class(config).section
    return getattr(config, section) if section else None


def works_ahead(config: Config) -> bool:
    """Whether the search method has work to do while a round is being trained."""
    return method_class(config).works_ahead(own_settings(config))


def fidelities(config: Config) -> list[float]:
    """How long the proxies of a run are trained, in shares of their epochs, the shortest first."""
    return method_class(config).fidelities(own_settings(config), config.rescoring)


def make_judge(config: Config, reward: StagedReward, archive: Archive, first_round: int, **more: Any) -> Judge:
    """The judge of a run."""
    method = method_class(config)
    # The rungs of a method are shares of epochs; the judge knows proxies by their names.
    rungs = None
    if climbed := method.rungs(own_settings(config)):
        assert isinstance(reward, PanelReward)
        names = dict(zip(fidelities(config), reward.fidelities, strict=True))
        rungs = [Rung(names[rung.epochs], rung.seeds) for rung in climbed]
    return Judge(
        reward,
        archive,
        lambda i: search_seed(config.seed, i),
        seeds_per_formula=config.seeds_per_formula,
        rungs=rungs,
        status_values=config.status_values,
        rescoring=config.rescoring if method.is_rescored else RescoringSettings(every=0),
        first_round=first_round,
        **more,
    )


def make_method(config: Config, costs: LatencyCosts | None = None) -> SearchMethod:
    """Builds the search method of a config, at its beginning.

    Args:
        config: A resolved config.
        costs: The latency of formulas, if the reward knows it.

    Raises:
        ConfigError: If the warm start or a template cannot be written in the config's language.
    """
    grammar, reward = config.language.grammar(), config.proxy_reward
    setup = Setup(config.search, own_settings(config), grammar, config.seed, reward, costs)
    return method_class(config).build(setup)
