"""A search from its config to its results."""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.threads import one_thread
from rlsearch.errors import ConfigError, StorageError
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge, Judged, RoundReport
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.base import StagedReward
from rlsearch.runs.build import make_judge, make_method, make_reward, method_class, resolve, run_config
from rlsearch.runs.checkpoint import load_checkpoint, save_checkpoint
from rlsearch.runs.config import Config, TargetSettings, dump_config, load_config
from rlsearch.runs.folder import Run
from rlsearch.runs.monitor import Monitor
from rlsearch.search import SearchMethod
from rlsearch.search.settings import SearchSettings

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
        length = method_class(config).fixed_length
        if changed and length:
            raise ConfigError(f"{run.folder} cannot be made longer: its length is that of {length}")
        config = config.model_copy(update={"search": config.search.check(config.search.model_dump() | changed)})
        reward, costs = make_reward(config, run)
        if changed:
            _write_config(run, config)
        with Archive(run.archive) as archive, one_thread():
            return _search(run, config, reward, costs, archive, state, watch)


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
        has_policy=method.has_policy,
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
