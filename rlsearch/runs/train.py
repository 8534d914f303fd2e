"""A search from its config to its results."""

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.numbers import number_text
from rlsearch.common.progress import Events
from rlsearch.common.rng import random_numbers_kept
from rlsearch.common.threads import one_thread
from rlsearch.errors import ConfigError, InputError, RunError, StorageError, why
from rlsearch.formula.display import formula_html, table_html
from rlsearch.judging.archive import Archive
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import Judge
from rlsearch.judging.mirrors import best_groups
from rlsearch.judging.refining import refine_leaders
from rlsearch.judging.settings import RefiningSettings
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.staged import StagedReward
from rlsearch.runs.build import (
    make_judge,
    make_method,
    make_reward,
    method_class,
    resolve,
    reward_digest,
    ways_of_training,
)
from rlsearch.runs.checkpoint import load_checkpoint, save_checkpoint
from rlsearch.runs.config import Config, load_config
from rlsearch.runs.events import CALIBRATING, REFERENCES, AllRunEvents, RunEvents, StopRequests
from rlsearch.runs.folder import Run
from rlsearch.runs.monitor import Monitor
from rlsearch.search import SearchMethod

_LOGGER = logging.getLogger(__name__)

_MAX_NUMBERED_NAMES = 100_000

MAX_NAME_BYTES = 200
"""Of a run folder: file systems take 255, and files beside it have longer names."""

_REWARD_CODE = "reward_code"
"""The key, in a run's metadata, of the digest of its own reward."""


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """How a search ended.

    Attributes:
        run: Its folder.
        leaderboard: The best functions, best first; of mirror images the best.
        proposals: Formulas proposed, over all sessions of the run.
        functions: Different functions among them.
        finished: False where it was interrupted; resume it then.
        has_proxies: Whether the reward trains proxies, so that the best can be scored again on fresh seeds.
        has_policy: Whether there is a policy to sample.
        counts: What else the search method counts, by name.
        rounds: Rounds that this session has done; none where a resumed run was at its end already.
    """

    run: Run
    leaderboard: list[Judged]
    proposals: int
    functions: int
    finished: bool
    has_proxies: bool
    has_policy: bool
    counts: Mapping[str, int]
    rounds: int = 0

    def __repr__(self) -> str:
        state = "finished" if self.finished else "stopped"
        leaders = [f"; best {number_text(j.reward, '+.4f')} {j.formula}" for j in self.leaderboard[:1]]
        return f"<search {self.run.folder}: {state}, {self.functions} functions{''.join(leaders)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the leaderboard with small curves."""
        rows = [
            [str(rank), number_text(judged.reward, "+.4f"), str(judged.seeds), formula_html(judged.formula)]
            for rank, judged in enumerate(self.leaderboard, start=1)
        ]
        return f"<p>{escape(repr(self))}</p>" + table_html(["rank", "reward", "seeds", "formula"], rows)


def train(
    config: Config | Path | str,
    name: str | None = None,
    *,
    stem: str | None = None,
    runs: Path | str = "runs",
    overwrite: bool = False,
    events: RunEvents = RunEvents(),
) -> SearchOutcome:
    """Trains a controller and returns what it found. The caller's global random numbers stay as they are.

    Args:
        config: The config, or the path of its file.
        name: Name of the run folder; by default ``stem``, numbered where it is taken.
        stem: By default the config file's name.
        runs: The folder of run folders.
        overwrite: Whether to replace an existing run of that name.
        events: Told how the search goes on.

    Raises:
        ConfigError: If the config is wrong.
        InputError: If the name is not that of a folder.
        RunError: If the run exists.
        StorageError: If the run folder can no longer be written; what was committed is safe.
    """
    if name is not None:
        check_name(name)
    if not isinstance(config, Config):
        stem = stem or Path(config).stem
        config = load_config(config)
    with random_numbers_kept(), one_thread():
        config = resolve(config)
        if name is not None and not overwrite:
            Run.refuse_taken(Path(runs) / name)
        if config.proxies:
            events.on_progress(CALIBRATING, 0, 1)
        for text in ways_of_training(config):
            events.on_note(text)
        reward, costs = make_reward(config)
        # Made once before anything is written: this refuses a wrong warm start or template.
        make_method(config, costs)
        stem = stem or "run"
        folder = Path(runs) / name if name is not None else _claimed(Path(runs), stem, overwrite)
        run = Run.create(folder, overwrite=overwrite)
        with run.lock():
            try:
                run.write_meta(
                    seed=config.seed,
                    device=config.device,
                    workers=config.workers,
                    latency=costs.label if costs else None,
                    finished=False,
                    **{_REWARD_CODE: reward_digest(config)},
                )
                run.write_config(config)
                if costs is not None:
                    costs.save(run.latency_costs)
            except OSError as error:
                raise StorageError(f"{folder} cannot be written: {why(error)}") from error
            with Archive(run.archive, create=True) as archive:
                return _search(run, config, reward, costs, archive, None, events)


def resume(
    folder: Path | str,
    rounds: int | None = None,
    candidates: int | None = None,
    *,
    events: RunEvents = RunEvents(),
) -> SearchOutcome:
    """Goes on with a run that was stopped, killed, or is to be longer.

    Args:
        folder: The run folder.
        rounds: A new number of rounds in all, not below those done.
        candidates: A new number of trained functions in all. Nothing else can be changed.
        events: Told how the search goes on.

    Raises:
        RunError: If the folder is not a run, is damaged, or in use.
        ConfigError: If the new budget asks for nothing new, the run's device or reward is not there, or the code of
            the reward was edited.
        StorageError: If the run folder can no longer be written; what was committed is safe.
    """
    run = Run.open(Path(folder))
    for package, (then, now) in run.changed_versions().items():
        _LOGGER.warning("%s was %s when %s was made and is %s now: results may differ", package, then, run.folder, now)
    with run.lock(), random_numbers_kept(), one_thread():
        config = resolve(run.config)
        _check_reward_code(run, config)
        state = load_checkpoint(run.checkpoint) if run.checkpoint.exists() else None
        with Archive(run.archive) as archive:
            if archive.is_old and config.proxy_reward is not None and config.proxy_reward.in_spreads:
                raise RunError(
                    f"{run.folder} was made by an earlier version, whose rewards were on another scale, and cannot go "
                    f"on; begin a new run: rlsearch train {run.folder / 'config.yaml'}"
                )
            changed = _changed_budget(run, config, state, archive, rounds, candidates)
            config = config.model_copy(update={"search": config.search.check(config.search.model_dump() | changed)})
            reward, costs = make_reward(config, run)
            if changed:
                run.write_config(config)
            return _search(run, config, reward, costs, archive, state, events)


def check_name(name: str, what: str = "the name") -> None:
    """Checks the name of a run folder.

    Args:
        name: It.
        what: What it is called in messages.

    Raises:
        InputError: If it is not the name of a folder, or too long.
    """
    if len(name.encode(errors="surrogateescape")) > MAX_NAME_BYTES:
        raise InputError(f"{what} {name[:20]!r}... is longer than {MAX_NAME_BYTES} bytes")
    if not name.isprintable() or not name.strip() or Path(name).name != name or name.startswith("."):
        raise InputError(f"{what} {name!r} is not the name of a folder")


def _check_reward_code(run: Run, config: Config) -> None:
    """Raises a ConfigError if a user's own reward is another than when the run began."""
    then = run.read_meta().get(_REWARD_CODE)
    # Runs of earlier versions do not know theirs.
    if then is None or config.own_reward is None:
        return
    now = reward_digest(config)
    if then != now:
        raise ConfigError(
            f"the source of {config.own_reward.target} was edited since {run.folder} began: its digest was {then} and "
            f"is {now} now, and rewards would not be comparable; put the old code back, or begin a new run"
        )


def _changed_budget(
    run: Run, config: Config, state: dict[str, Any] | None, archive: Archive, rounds: int | None, candidates: int | None
) -> dict[str, int]:
    """What a resumed run is to have another budget of.

    Raises:
        ConfigError: If the new budget is below what is done, or would be used up at once by what it leaves as it is.
    """
    changed = {name: n for name, n in {"rounds": rounds, "candidates": candidates}.items() if n is not None}
    length = method_class(config).fixed_length
    if changed and length:
        raise ConfigError(f"{run.folder} cannot be made longer: its length is that of {length}")

    # One of the two may be raised alone only if the other one is not used up.
    rounds_done = int(state["round"]) if state else 0
    if rounds is not None and rounds < rounds_done:
        raise ConfigError(f"{run.folder} has done {rounds_done} rounds already; expected at least that, got {rounds}")
    trained, wanted = archive.candidates(), config.search.candidates
    is_lowered = candidates is not None and (wanted is None or candidates < wanted)
    if candidates is not None and is_lowered and candidates < trained:
        raise ConfigError(
            f"{run.folder} has trained {trained} functions already; expected at least that, got {candidates}"
        )
    if rounds is not None and candidates is None and wanted is not None and trained >= wanted:
        raise ConfigError(
            f"{run.folder} ended with its {trained} trained candidates (search.candidates = {wanted}), and more rounds "
            "alone do not make it longer; give a larger number of candidates, too"
        )
    if candidates is not None and rounds is None and rounds_done >= config.search.rounds and candidates > trained:
        raise ConfigError(
            f"{run.folder} ended with its {rounds_done} rounds (search.rounds = {config.search.rounds}), and more "
            "candidates alone do not make it longer; give a larger number of rounds, too"
        )
    return changed


class _Budget(Events):
    """Tells how much of a search is done: of rounds or of candidates, whichever will be used up first."""

    def __init__(self, config: Config, method: SearchMethod, events: Events) -> None:
        self.search = config.search
        self.method = method
        self.events = events
        self.judge: Judge | None = None

    def on_progress(self, what: str, done: float, wanted: int) -> None:
        """Takes the progress of a round's trainings."""
        self.tell(done / wanted)

    def tell(self, fraction: float) -> None:
        """Tells how much is done with a fraction of a round, from 0 to 1."""
        if self.judge is None:
            return
        left = self.method.rounds_left
        wanted_rounds = self.search.rounds if left is None else self.judge.round + left
        done = self.judge.round + fraction
        share_of_rounds = done / wanted_rounds
        wanted_candidates = self.search.candidates
        if wanted_candidates is not None and self.judge.candidates / wanted_candidates > share_of_rounds:
            self.events.on_progress("candidate", self.judge.candidates, wanted_candidates)
        else:
            self.events.on_progress("round", done, wanted_rounds)

    @property
    def is_used_up(self) -> bool:
        """Whether the search is over."""
        assert self.judge is not None
        wanted = self.search.candidates
        enough = wanted is not None and self.judge.candidates >= wanted
        return enough or self.judge.round >= self.search.rounds or self.method.finished


def _search(
    run: Run,
    config: Config,
    reward: StagedReward,
    costs: LatencyCosts | None,
    archive: Archive,
    state: dict[str, Any] | None,
    events: RunEvents,
) -> SearchOutcome:
    """Searches from a checkpoint's state, or from the beginning, until the budget is used up or a stop is asked for."""
    judge: Judge | None = None
    method = make_method(config, costs)
    first_round = int(state["round"]) if state else 0
    finished = False
    try:
        with stop_requests() as check_stop:
            told = AllRunEvents([StopRequests(check_stop), events])
            budget = _Budget(config, method, told)
            if state:
                method.restore(state["method"])
            else:
                method.prepare(told)
                save_checkpoint(run.checkpoint, 0, method.state())
            if config.proxies:
                told.on_progress(REFERENCES, 0, 1)
            # This trains the references. An interrupt until then leaves no judge.
            judge = budget.judge = make_judge(config, reward, archive, first_round, events=budget)
            facts: dict[str, Any] = {"finished": budget.is_used_up}
            if isinstance(reward, PanelReward):
                # Seconds, by the name of the proxy.
                facts["time_limits"] = {name: round(seconds, 1) for name, seconds in reward.time_limits.items()}
            run.note(**facts)
            resumed_at = judge.proposals if state else None
            monitor = Monitor(run.folder, config.logging, resumed_at=resumed_at, config=config)
            with closing(monitor):
                told = AllRunEvents([monitor, events, StopRequests(check_stop)])
                _run_rounds(run, method, judge, budget, config.refine, told)
            save_checkpoint(run.checkpoint, judge.round, method.state())
            run.note(finished=True)
            finished = True
    except KeyboardInterrupt:
        _LOGGER.info("interrupted")
    counts = method.counts
    if counts and judge:
        counts = counts | {"trained": judge.candidates}
    return SearchOutcome(
        run,
        leaderboard=[group.best for group in best_groups(judge.leaderboard, 10)] if judge else [],
        proposals=judge.proposals if judge else archive.proposals(first_round),
        functions=judge.functions if judge else 0,
        finished=finished,
        has_proxies=bool(config.proxies),
        has_policy=method.has_policy,
        counts=counts,
        rounds=judge.round - first_round if judge else 0,
    )


def _run_rounds(
    run: Run, method: SearchMethod, judge: Judge, budget: _Budget, refine: RefiningSettings, told: RunEvents
) -> None:
    """Runs rounds until the budget is used up; a killed run begins at the last checkpoint again."""
    told.on_start(judge)
    while not budget.is_used_up:
        save_checkpoint(run.checkpoint, judge.round, method.state())
        # Where no leader has constants that were not trained before, the round is one like any other.
        is_due = refine.is_due(judge.round) and not method.begins_anew(judge.round)
        if not (is_due and refine_leaders(judge, refine)):
            method.run_round(judge)
        budget.tell(0.0)
        told.on_round(judge, method.scalars())
    told.on_end(judge)


def _claimed(runs: Path, stem: str, overwrite: bool) -> Path:
    """A folder for a run without a name, numbered where the stem is taken.

    It is made at once: of several searches that start at one moment, each gets its own.
    """
    if overwrite:
        return runs / stem
    for i in range(1, _MAX_NUMBERED_NAMES):
        folder = runs / (stem if i == 1 else f"{stem}-{i}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {why(error)}") from error
        return folder
    raise StorageError(f"{runs} has {_MAX_NUMBERED_NAMES} runs called {stem}; give another --name")
