"""What a run shows of itself in TensorBoard; the x-axis is the number of proposals.

These are all formulas that were written, repeats and those that the surrogate dropped included; ``search/candidates``
counts the functions that were trained.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rlsearch.common.numbers import number_text
from rlsearch.errors import StorageError, why
from rlsearch.formula.simplify import shown
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import Judge, RoundReport
from rlsearch.judging.mirrors import best_groups
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.runs.config import Config, LoggingSettings, dump_config
from rlsearch.runs.events import RunEvents
from rlsearch.runs.pictures import contours_figure, curves_figure, front_figure, operators_figure, proxies_figure
from rlsearch.runs.tags import LAYOUT, describe

MAX_FUNCTIONS_DRAWN = 5000
"""How many functions a picture has points for; with a million it would hold up the search."""

MAX_CURVES = 6

LARGEST_IN_HISTOGRAM = 1e20
"""Where the bins of torch.utils.tensorboard end: it makes them from 1e-12 up to here, and none beyond."""
"""How many functions of the leaderboard have their curves drawn."""


class Monitor(RunEvents):
    """Logs every round, and every some rounds the leaderboard, curves, rewards and operators.

    Args:
        folder: The run folder.
        settings: How often the larger records are made, and how long the leaderboard is.
        resumed_at: Proposals that a resumed run begins with; what the folder has of later ones is forgotten. None for
            a new run.
        config: That of the run: what tells it from other runs is shown too.
    """

    def __init__(
        self,
        folder: Path,
        settings: LoggingSettings,
        *,
        resumed_at: int | None = None,
        config: Config | None = None,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.settings = settings
        self._described: set[str] = set()
        self._started = self._round_began = time.monotonic()
        purge_step = None if resumed_at is None else resumed_at + 1
        with self._writing():
            self._writer = SummaryWriter(log_dir=str(folder), purge_step=purge_step)
            if resumed_at is None:
                self._write_once(config)
        self._recorded: RoundReport | None = None

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """Writes what happened in a round."""
        report = judge.report
        assert report is not None
        with self._writing():
            times = self._times(judge, scalars)
            for tag, value in {**round_scalars(report), **leader_scalars(judge), **scalars, **times}.items():
                self._write_scalar(tag, value, judge.proposals)
            if (report.round_number + 1) % self.settings.every == 0:
                self._record_best(judge, report)
            self._writer.flush()

    def on_end(self, judge: Judge) -> None:
        """Writes the larger records of the last round, if they have not been."""
        if judge.report is not None and judge.report is not self._recorded:
            with self._writing():
                self._record_best(judge, judge.report)

    def close(self) -> None:
        """Closes the event file."""
        with self._writing():
            self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Says what could not be written: archive and checkpoints say so themselves."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {why(error)}. Resume the run later.") from error

    def _times(self, judge: Judge, scalars: Mapping[str, float]) -> dict[str, float]:
        """Times under stable-baselines3's names; a method without a policy writes no tokens that could be counted."""
        now, steps = time.monotonic(), scalars.get("time/total_timesteps")
        times = {"time/iterations": float(judge.round), "time/time_elapsed": now - self._started}
        if steps is not None:
            # Every round has as many steps.
            times["time/fps"] = steps / judge.round / max(now - self._round_began, 1e-9)
        self._round_began = now
        return times

    def _write_once(self, config: Config | None) -> None:
        """Writes what belongs to a run as a whole: how curves are grouped, and what tells it from other runs."""
        from torch.utils.tensorboard.summary import custom_scalars, hparams

        writer = self._writer.file_writer
        assert writer is not None
        writer.add_summary(custom_scalars(LAYOUT))
        if config is not None:
            self._writer.add_text("run/config", f"```yaml\n{dump_config(config)}```")
            for summary in hparams(told_apart_by(config), {"search/best_reward": math.nan}):
                writer.add_summary(summary)

    def _write_scalar(self, tag: str, value: float, step: int) -> None:
        """Writes a value, and with the first one of a tag what the tag means."""
        from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR
        from torch.utils.tensorboard.summary import scalar

        writer = self._writer.file_writer
        assert writer is not None
        summary = scalar(tag, value)
        if tag not in self._described:
            self._described.add(tag)
            metadata = summary.value[0].metadata
            metadata.summary_description = describe(tag)
            # TensorBoard's fast loader takes a description only from a value that names its plugin.
            metadata.plugin_data.plugin_name = "scalars"
            metadata.data_class = DATA_CLASS_SCALAR
        writer.add_summary(summary, step)

    def _record_best(self, judge: Judge, report: RoundReport) -> None:
        self._recorded = report
        step = judge.proposals
        board = [group.best for group in best_groups(judge.leaderboard, self.settings.best)]
        self._writer.add_text("search/leaderboard", leaderboard_markdown(board), step)
        self._writer.add_figure("search/curves", curves_figure(board[:MAX_CURVES]), step, close=False)
        self._writer.add_figure("search/operators", operators_figure(report), step, close=False)
        rewards = [result.value for result in report.results if abs(result.value) < LARGEST_IN_HISTOGRAM]
        # TensorBoard calls a histogram without a value a bug of its own.
        if rewards:
            self._writer.add_histogram("search/rewards", np.array(rewards), step)
        functions = _drawn(judge)
        more = {
            "search/contours": contours_figure(board[:MAX_CURVES]),
            "search/proxies": proxies_figure(functions),
            "search/front": front_figure(functions),
        }
        for tag, figure in more.items():
            if figure is not None:
                self._writer.add_figure(tag, figure, step, close=False)


def _drawn(judge: Judge) -> list[Judged]:
    """The functions that pictures show: of a long run the latest, with the best and the references."""
    functions = list(judge.known.values())
    if len(functions) <= MAX_FUNCTIONS_DRAWN:
        return functions
    # References come first in what is known.
    first = [judged for judged in functions[:MAX_FUNCTIONS_DRAWN] if judged.is_reference]
    chosen = (*first, *functions[-MAX_FUNCTIONS_DRAWN:], *judge.leaderboard(MAX_FUNCTIONS_DRAWN // 10))
    return list({id(judged): judged for judged in chosen}.values())


def told_apart_by(config: Config) -> dict[str, str | float]:
    """The settings in which runs mostly differ, for TensorBoard's page HPARAMS."""
    controller, reward = config.controller, config.proxy_reward
    settings: dict[str, str | float] = {
        "seed": config.seed,
        "search.method": config.search.method,
        "search.formulas_per_round": config.search.formulas_per_round,
        "language.max_length": config.language.max_length,
        "controller.learn_from": controller.learn_from,
        "controller.offspring": controller.offspring,
        "controller.written_per_judged": controller.written_per_judged,
        "controller.ppo.learning_rate": controller.ppo.learning_rate,
        "controller.ppo.ent_coef": controller.ppo.ent_coef,
    }
    if config.own_reward is not None:
        settings["reward"] = config.own_reward.target
    if reward is not None:
        settings |= {"reward": ", ".join(reward.names), "reward.latency_weight": reward.price_of_doubling}
    return settings


def leader_scalars(judge: Judge) -> dict[str, float]:
    """What is known of the best function that the search has found, by tag."""
    scalars: dict[str, float] = {"search/candidates": judge.candidates}
    for judged in judge.history.found(1):
        best = judged.result
        scalars["search/best_reward"] = best.value
        if best.score is not None:
            scalars["search/best_score"] = best.score
        if best.latency is not None:
            scalars["search/best_latency"] = best.latency
        # Where it wins: on a panel, each proxy by itself.
        for name, gain in best.gains.items() if len(best.gains) > 1 else ():
            scalars[f"best_gain/{name}"] = gain
            if name in best.scores:
                scalars[f"best_score/{name}"] = best.scores[name]
    return scalars


def round_scalars(report: RoundReport) -> dict[str, float]:
    """The scalars of one round, by tag."""
    # Statuses without a score have a configured reward: the mean of the others says more.
    values = [result.value for result in report.results]
    ok = [result.value for result in report.results if result.status is Status.OK]
    shares = {f"shares/{status.value}": report.share(status) for status in Status}
    fresh = sum(report.fresh) / len(report.fresh)
    return {
        "search/mean_reward": float(np.mean(values)),
        "search/round_best_reward": max(values),
        **({"search/mean_reward_ok": float(np.mean(ok))} if ok else {}),
        "search/mean_length": float(np.mean([formula.size for formula in report.formulas])),
        "search/evaluations": report.evaluations,
        "search/candidates_per_second": report.candidates / max(report.seconds, 1e-9),
        "search/trainings_per_second": report.evaluations / max(report.seconds, 1e-9),
        "shares/fresh": fresh,
        "shares/repeated": 1 - fresh,
        **shares,
    }


def leaderboard_markdown(board: Sequence[Judged]) -> str:
    """The leaderboard as a Markdown table; of a panel with score and gain on each proxy."""
    proxies = next((list(judged.result.gains) for judged in board if len(judged.result.gains) > 1), [])
    columns = ["rank", "reward", "score", "seeds", "latency", "formula", *proxies]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for rank, judged in enumerate(board, start=1):
        result = judged.result
        cells = [
            str(rank),
            number_text(result.value, "+.4f"),
            "" if result.score is None else number_text(result.score, ".4f"),
            str(judged.seeds),
            "" if result.latency is None else f"{result.latency:.2f}",
            f"`{shown(judged.formula)}`",
            *(_score_and_gain(result, name) for name in proxies),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _score_and_gain(result: RewardResult, proxy: str) -> str:
    if proxy not in result.gains:
        return ""
    return f"{result.scores.get(proxy, math.nan):.4f} ({result.gains[proxy]:+.2f})"
