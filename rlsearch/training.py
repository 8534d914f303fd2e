"""A search from its config to its results: the one place that puts all of it together."""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from loky import cpu_count

from rlsearch.config import Config, TargetSettings, dump_config, load_config
from rlsearch.controller.ppo import PPOSearch
from rlsearch.errors import ConfigError, RunError, StorageError
from rlsearch.formula import Formula
from rlsearch.interrupts import stop_requests
from rlsearch.judging import Judge, Judged, RescoringSettings, RoundReport, Rung
from rlsearch.kernels import kernel_named
from rlsearch.monitoring import Monitor
from rlsearch.proxies.own_choice import decided
from rlsearch.proxies.settings import OwnProxySettings
from rlsearch.rewards.latency import LatencyCosts, cached_costs
from rlsearch.rewards.plain import PlainReward
from rlsearch.rewards.protocol import Reward, StagedReward
from rlsearch.rewards.proxy import ProxyReward, search_seed
from rlsearch.rewards.settings import RewardSettings
from rlsearch.search import SearchMethod
from rlsearch.search.evolution import EvolutionSearch
from rlsearch.search.exhaustive import ExhaustiveSearch
from rlsearch.search.mining import MiningSearch
from rlsearch.search.settings import SearchSettings
from rlsearch.search.walks import RandomSearch
from rlsearch.storage import Archive, Run
from rlsearch.storage.checkpoint import load_checkpoint, save_checkpoint
from rlsearch.targets import build_target
from rlsearch.threads import one_thread

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a search stands.

    Attributes:
        rounds_done: Whole rounds.
        candidates: Functions trained.
        fraction: Of the round under way, from 0 to 1.
        budget: What there is to do: rounds, as far as they are known, and candidates if they are limited.
        best: The leader, if there is one.
        report: The round that has just ended, if one has.
        screened: Before the first round of mining: formulas screened, and how many there are to screen.
    """

    rounds_done: int
    candidates: int
    fraction: float
    budget: SearchSettings
    best: Judged | None
    report: RoundReport | None = None
    screened: tuple[int, int] | None = None

    @property
    def nearer_budget(self) -> tuple[str, float, int]:
        """The budget that will be used up first, rounds or candidates: its name, what is done, and what was wanted."""
        if self.screened is not None:
            return ("screening", *self.screened)
        rounds = ("round", self.rounds_done + self.fraction, self.budget.rounds)
        if self.budget.candidates is None:
            return rounds
        candidates = ("candidate", float(self.candidates), self.budget.candidates)
        return max(rounds, candidates, key=lambda budget: budget[1] / budget[2])


Watcher = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    Attributes:
        run: Its folder.
        leaderboard: The best functions, best first.
        proposals: Formulas proposed, over all sessions of the run.
        functions: Different functions judged.
        finished: False where it was interrupted; resume it then.
        has_proxies: Whether the reward trains proxies, so that the best can be scored again on fresh seeds.
        has_policy: Whether there is a policy to sample.
        counts: What else the search method counts, by name.
    """

    run: Run
    leaderboard: list[Judged]
    proposals: int
    functions: int
    finished: bool
    has_proxies: bool
    has_policy: bool
    counts: Mapping[str, int]


def train(
    config: Config | Path | str,
    name: str | None = None,
    *,
    stem: str | None = None,
    runs: Path | str = "runs",
    overwrite: bool = False,
    watch: Watcher = lambda progress: None,
) -> Outcome:
    """Trains a controller and returns what it found.

    Args:
        config: The config, or the path of its file.
        name: Name of the run folder; by default ``stem``, numbered where it is taken.
        stem: By default the config file's name.
        runs: The folder of run folders.
        overwrite: Whether to replace an existing run of that name.
        watch: Called as the search goes on.

    Raises:
        ConfigError: If the config is wrong.
        RunError: If the run exists.
        StorageError: If the run folder can no longer be written; what was committed is safe.
    """
    if not isinstance(config, Config):
        stem = stem or Path(config).stem
        config = load_config(config)
    config = resolve(config)
    reward, costs = make_reward(config)
    make_method(config, costs)  # a wrong warm start or template is said before anything is written
    stem = stem or "run"
    folder = Path(runs) / (name or (stem if overwrite else _free_name(Path(runs), stem)))
    run = Run.create(folder, overwrite=overwrite)
    with run.lock():
        try:
            latency = costs.label if costs else None
            run.write_meta(seed=config.seed, device=config.device, workers=config.workers, latency=latency)
            _write_config(run, config)
            if costs is not None:
                costs.save(run.latency_costs)
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error}") from error
        with Archive(run.archive, create=True) as archive, one_thread():
            return _search(run, config, reward, costs, archive, None, watch)


def resume(
    folder: Path | str,
    rounds: int | None = None,
    candidates: int | None = None,
    *,
    watch: Watcher = lambda progress: None,
) -> Outcome:
    """Goes on with a run that was stopped, killed, or is to be longer.

    Args:
        folder: The run folder.
        rounds: A new number of rounds in all, not below those done.
        candidates: A new number of trained functions in all. Nothing else can be changed.
        watch: Called as the search goes on.

    Raises:
        RunError: If the folder is not a run, is damaged, or in use.
        ConfigError: If there are too few rounds, or the run's device or reward is not there.
        StorageError: If the run folder can no longer be written; what was committed is safe.
    """
    run = Run.open(Path(folder))
    for package, (then, now) in run.changed_versions().items():
        _log.warning("%s was %s when %s was made and is %s now: results may differ", package, then, run.folder, now)
    with run.lock():
        config = resolve(run_config(run))
        state = load_checkpoint(run.checkpoint) if run.checkpoint.exists() else None
        done = int(state["round"]) if state else 0
        if rounds is not None and rounds < done:
            raise ConfigError(f"{run.folder} has done {done} rounds already; expected at least that, got {rounds}")
        budget = {"rounds": rounds, "candidates": candidates}
        changed = {name: value for name, value in budget.items() if value is not None}
        if changed and config.search.method == "mining":
            raise ConfigError(f"{run.folder} was mined: it is as long as its rungs, and takes no number of rounds")
        config = config.model_copy(update={"search": config.search.check(config.search.model_dump() | changed)})
        reward, costs = make_reward(config, run)
        if changed:
            _write_config(run, config)
        with Archive(run.archive) as archive, one_thread():
            return _search(run, config, reward, costs, archive, state, watch)


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
        proxies = config.reward.proxies
        proxies = tuple(decided(p, kernel, device) if isinstance(p, OwnProxySettings) else p for p in proxies)
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


def run_config(run: Run) -> Config:
    """Returns the config of a run.

    Raises:
        RunError: If it was damaged.
    """
    try:
        return load_config(run.config)
    except ConfigError as error:
        raise RunError(f"the config of {run.folder} is damaged:\n{error}") from error


def make_reward(config: Config, run: Run | None = None) -> tuple[StagedReward, LatencyCosts | None]:
    """Returns the reward of a config, and the latency costs if it has any.

    Args:
        config: A resolved config.
        run: Where the costs are, if the run exists already.
    """
    if isinstance(config.reward, TargetSettings):
        reward = build_target(config.reward.model_dump())
        if isinstance(reward, StagedReward):
            return reward, None
        if not callable(reward):
            raise ConfigError(f"{config.reward.target} made a {type(reward).__name__}, which is not callable")
        return plain_reward(config.reward, reward), None
    kernel = kernel_named(config.kernel, config.device)
    if run is not None:
        costs = LatencyCosts.load(run.latency_costs)
    elif config.reward.latency_costs is not None:
        costs = LatencyCosts.load(config.reward.latency_costs)
    else:
        costs = cached_costs(kernel, config.device)
    reward = ProxyReward(
        config.reward,
        costs,
        kernel,
        config.device,
        config.seed,
        config.workers or 1,
        config.status_values,
        fidelities(config),
        leaves_caller_free=config.search.method == "ppo" and config.controller.overlap,
    )
    return reward, costs


def fidelities(config: Config) -> list[float]:
    """Returns how long the proxies of a run are trained, in shares of their epochs, the shortest first."""
    if config.search.method == "mining":
        return list(dict.fromkeys(rung.epochs for rung in config.mining.rungs))
    return [1.0, float(config.rescoring.epochs_factor)]


def plain_reward(settings: TargetSettings, reward: Reward | None) -> PlainReward:
    """Returns a user's reward in stages; without the reward itself, one that can only read results back."""
    arguments = settings.model_dump(exclude={"target"})
    return PlainReward(reward, f"{settings.target} {arguments}" if arguments else settings.target)


def make_judge(config: Config, reward: StagedReward, archive: Archive, first_round: int, **more: Any) -> Judge:
    """Returns the judge of a run."""
    seeds = 1 if isinstance(config.reward, TargetSettings) else config.reward.seeds
    rungs, rescoring = None, config.rescoring
    if config.search.method == "mining":
        assert isinstance(reward, ProxyReward)
        protocols = dict(zip(fidelities(config), reward.fidelities, strict=True))
        rungs = [Rung(protocols[rung.epochs], rung.seeds) for rung in config.mining.rungs]
        rescoring = RescoringSettings(every=0)  # the rungs are that
    return Judge(
        reward,
        archive,
        lambda i: search_seed(config.seed, i),
        seeds_per_formula=seeds,
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
            if isinstance(config.reward, TargetSettings) or costs is None:
                raise ConfigError("mining trains proxies for ever longer, and a reward of your own has none to train")
            return MiningSearch(config.mining, config.reward.screening, costs, *common)


def _search(
    run: Run,
    config: Config,
    reward: StagedReward,
    costs: LatencyCosts | None,
    archive: Archive,
    state: dict[str, Any] | None,
    watch: Watcher,
) -> Outcome:
    judge: Judge | None = None
    method = make_method(config, costs)

    def tell(fraction: float, report: RoundReport | None = None) -> None:
        assert judge is not None
        best, left = judge.leaderboard(1), method.rounds_left
        budget = config.search if left is None else config.search.model_copy(update={"rounds": judge.round + left})
        watch(Progress(judge.round, judge.candidates, fraction, budget, best[0] if best else None, report))

    def on_screening(done: int, wanted: int) -> None:
        watch(Progress(0, 0, 0.0, config.search, None, screened=(done, wanted)))

    def on_progress(done: int, wanted: int) -> None:
        check_stop()
        tell(done / wanted)

    finished = False
    first_round = int(state["round"]) if state else 0
    try:
        with stop_requests() as check_stop:
            if state:
                method.restore(state["method"])
            else:
                method.prepare(on_screening, check_stop)
                save_checkpoint(run.checkpoint, 0, method.state())
            judge = make_judge(config, reward, archive, first_round, on_progress=on_progress)
            monitor = Monitor(run.folder, judge, config.logging.every, config.logging.best, resumed=state is not None)
            with closing(monitor):
                while not _is_over(config, judge, method):
                    save_checkpoint(run.checkpoint, judge.round, method.state())
                    method.run_round(judge)
                    assert judge.report is not None
                    monitor.record(judge.report, method.scalars())
                    tell(0.0, judge.report)
                    check_stop()
                monitor.finish()
            save_checkpoint(run.checkpoint, judge.round, method.state())
            finished = True
    except KeyboardInterrupt:
        _log.info("interrupted")
    except OSError as error:  # of the archive and the checkpoints there are StorageErrors; this is TensorBoard's
        raise StorageError(f"{run.folder} cannot be written: {error}. Resume the run later.") from error
    counts = method.counts
    if counts and judge:
        counts = counts | {"trained": judge.candidates}
    return Outcome(
        run,
        judge.leaderboard(10) if judge else [],
        judge.proposals if judge else archive.proposals(first_round),
        len(judge.known) if judge else 0,  # interrupted while the baseline was trained
        finished,
        has_proxies=not isinstance(config.reward, TargetSettings),
        has_policy=config.search.method == "ppo",
        counts=counts,
    )


def _is_over(config: Config, judge: Judge, method: SearchMethod) -> bool:
    enough = config.search.candidates is not None and judge.candidates >= config.search.candidates
    return enough or judge.round >= config.search.rounds or method.finished


def _write_config(run: Run, config: Config) -> None:
    partial = run.config.with_suffix(".tmp")  # a process that is killed here must not leave half a config
    try:
        partial.write_text(dump_config(config), encoding="utf-8")
        partial.replace(run.config)
    except OSError as error:
        raise StorageError(f"{run.config} cannot be written: {error}") from error


def _free_name(runs: Path, stem: str) -> str:
    names = [stem, *(f"{stem}-{i}" for i in range(2, 100_000))]
    return next(name for name in names if not (runs / name).exists())
