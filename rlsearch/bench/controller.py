"""The controller: formulas per second of the environment and of the whole search, and where a round's time goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rlsearch.bench.report import Report, Row, Spread, rate_rows, value_rows
from rlsearch.common.pool import Call
from rlsearch.common.progress import Events
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import PROCESS, Stopwatch, Times, in_turn
from rlsearch.controller.ppo import PPOSearch
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.settings import LanguageSettings
from rlsearch.judging.archive import Archive
from rlsearch.judging.judge import Judge
from rlsearch.judging.settings import RescoringSettings
from rlsearch.kernels import TorchKernel
from rlsearch.kernels.latency import LatencyCosts, machine
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.schedule import Trained
from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards.base import RewardResult
from rlsearch.rewards.own import PlainReward
from rlsearch.rewards.panel import PanelReward
from rlsearch.rewards.settings import RewardSettings
from rlsearch_envs.activation import ActivationEnv
from rlsearch_envs.lockstep import LockstepVecEnv

FORMULAS_PER_ROUND = (256, 2048)
DEVICE_RATE = 10e6 / 3600
"""Candidates per second of a device that is simulated: ten million an hour, which is this project's aim on a GPU."""

_MIN_PIECE_SECONDS = 0.05
_PLAIN = "one by one"
_SEARCH = "whole search"
_OVERLAPPED, _IN_TURN = "overlapped", "in turn"
_WARM_UP_ROUNDS = 2
"""Not timed: the first rounds have less to learn from."""

_PARTS = ("policy", "writing", "judging", "offspring", "PPO update", "other")


def free_reward(formulas: Sequence[Formula]) -> list[RewardResult]:
    """Costs nothing, and gives the policy something to learn: longer is better."""
    return [RewardResult(formula.size / 12) for formula in formulas]


def bench_controller(
    sizes: Sequence[int] = FORMULAS_PER_ROUND,
    rounds: int = 7,
    events: Events = Events(),
) -> Report:
    """Measures the search where training costs nothing: the archive is on disk, the reward is free.

    Args:
        sizes: Formulas per round.
        rounds: How often everything is timed.
        events: Told of progress.
    """
    speeds: list[Row] = []
    parts: dict[str, dict[str, Spread]] = {part: {} for part in _PARTS}
    for done, n in enumerate(sizes, start=1):
        rates, shares = measure_round(n, rounds)
        case = f"{n:,} a round"
        search = rates.pop(_SEARCH)
        speeds += rate_rows("environment", case, "formulas/s", rates, _PLAIN)
        speeds += rate_rows(_SEARCH, case, "formulas/s", {_SEARCH: search})
        for part in _PARTS:
            parts[part][case] = Spread.of(shares[part])
        beside = {way: 3600e-6 * each for way, each in _beside_device(n, rounds).items()}
        section = f"search beside a device that trains {3600e-6 * DEVICE_RATE:g} M an hour (wall time)"
        speeds += rate_rows(section, case, "M candidates/h", beside, _IN_TURN, 3600e-6 * DEVICE_RATE)
        events.on_progress("sizes", done, len(sizes))
    # By the sections' names the searches come after the environment.
    rows = sorted(speeds, key=lambda row: row.section)
    for part in _PARTS:
        rows += value_rows("where a round's time goes", part, "%", parts[part])
    return Report("controller", machine("cpu"), None, PROCESS.name, rounds, (), tuple(rows))


class _TimedJudge(Judge):
    """A judge whose time is counted."""

    watch: Stopwatch

    def __call__(
        self, formulas: Sequence[Formula], rung: int = 0, meanwhile: Callable[[], None] = lambda: None
    ) -> list[RewardResult]:
        return self.watch.around("judging", super().__call__)(formulas, rung, meanwhile)


def measure_round(n: int, rounds: int) -> tuple[dict[str, Times], dict[str, Times]]:
    """Formulas per second by way, and percentages of a search's round by part; one number per round."""
    shares: dict[str, list[float]] = defaultdict(list)
    with TemporaryDirectory() as folder, Archive(Path(folder) / "archive.sqlite", create=True) as archive, one_thread():
        search, watch = _timed_search(n, archive)

        def round_of_search() -> None:
            watch.seconds.clear()
            search()
            for part in _PARTS:
                shares[part].append(100 * watch.seconds[part] / sum(watch.seconds.values()))

        ways = {"lock-step": _lockstep(n), _PLAIN: _single(n), _SEARCH: round_of_search}
        times = in_turn(ways, rounds, PROCESS, piece=_MIN_PIECE_SECONDS)
    rates = {way: n / seconds for way, seconds in times.items()}
    return rates, {part: np.array(each[-rounds:]) for part, each in shares.items()}


def _timed_search(n: int, archive: Archive) -> tuple[Callable[[], None], Stopwatch]:
    """A round of the search as a call, and the times of its parts."""
    watch = Stopwatch(PROCESS)
    judge = _TimedJudge(PlainReward(free_reward, "free"), archive, lambda i: i)
    judge.watch = watch
    method = PPOSearch(ControllerSettings(), LanguageSettings().grammar(), n, seed=0)
    # A part within another counts for itself alone: writing is what is left of a rollout without the policy.
    timed: list[tuple[str, Any, str]] = [
        ("policy", method.learner.ppo.policy, "forward"),
        ("writing", method.learner, "roll_out"),
        ("offspring", method.parents, "offspring"),
        ("offspring", method.learner, "replay"),
        ("PPO update", method.learner.ppo, "train"),
    ]
    for part, owner, name in timed:
        setattr(owner, name, watch.around(part, getattr(owner, name)))
    return watch.around("other", lambda: method.run_round(judge)), watch


class _Device:
    """Stands for a pool on a device of which nothing is known but its rate, at which it begins at once."""

    workers = 1
    leaves_caller_free = True

    def run(
        self, function: Callable[..., Any], calls: Iterable[Call], *, in_order: bool = True
    ) -> Generator[Any, None, None]:
        """Yields populations when it is time; the longer of two formulas is the better one."""
        populations: list[Sequence[Training]] = [call.arguments[-1] for call in calls]
        end = time.perf_counter() + sum(map(len, populations)) / DEVICE_RATE

        def results() -> Generator[Trained, None, None]:
            time.sleep(max(0.0, end - time.perf_counter()))
            for population in populations:
                yield Trained(population, [Outcome(training.formula.size / 12) for training in population], 0.0)

        return results()


def _beside_device(n: int, rounds: int) -> dict[str, Times]:
    """Candidates per second of searches whose rounds overlap or do not, one number per round."""
    with TemporaryDirectory() as folder, ExitStack() as stack, one_thread():
        searches = {}
        for way in (_OVERLAPPED, _IN_TURN):
            archive = stack.enter_context(Archive(Path(folder) / f"{way}.sqlite", create=True))
            searches[way] = _device_search(n, way == _OVERLAPPED, archive)
        rates = [{way: search() for way, search in searches.items()} for _ in range(_WARM_UP_ROUNDS + rounds)]
    return {way: np.array([each[way] for each in rates[_WARM_UP_ROUNDS:]]) for way in searches}


def _device_search(n: int, overlap: bool, archive: Archive) -> Callable[[], float]:
    """A round of a search as a call, which says how many candidates a second it trained."""
    costs = LatencyCosts("", 0.5, dict.fromkeys(OPERATORS, 0.5))
    # One population a round, as on a GPU.
    proxies = (ProxySettings(population=n),)
    reward = PanelReward(RewardSettings(proxies=proxies), costs, TorchKernel(), "cpu", pool=_Device())
    judge = Judge(reward, archive, lambda i: i, rescoring=RescoringSettings(every=0))
    method = PPOSearch(ControllerSettings(overlap=overlap), LanguageSettings().grammar(), n, seed=0)

    def search() -> float:
        before, started = judge.candidates, time.perf_counter()
        method.run_round(judge)
        return (judge.candidates - before) / (time.perf_counter() - started)

    return search


def _lockstep(n: int) -> Callable[[], None]:
    """A call that writes ``n`` formulas of random legal tokens in lock-step."""
    grammar = LanguageSettings().grammar()
    env, rng = LockstepVecEnv(grammar, free_reward, n), np.random.default_rng(0)
    env.reset()
    noise = rng.random((grammar.max_length, n, env.layout.n_actions))

    def write() -> None:
        rng.shuffle(noise, axis=1)
        for step in range(grammar.max_length):
            env.step(np.where(env.action_masks(), noise[step], -1.0).argmax(axis=1))

    return write


def _single(n: int) -> Callable[[], None]:
    """A call that writes ``n`` formulas of random legal tokens one after the other."""
    env, rng = ActivationEnv(LanguageSettings().grammar(), free_reward), np.random.default_rng(0)
    noise = rng.random((LanguageSettings().max_length, env.layout.n_actions))

    def write() -> None:
        for _ in range(n):
            env.reset()
            is_over, step = False, 0
            rng.shuffle(noise, axis=0)
            while not is_over:
                token = np.where(env.action_masks(), noise[step], -1.0).argmax()
                _, _, is_over, _, _ = env.step(np.int64(token))
                step += 1

    return write
