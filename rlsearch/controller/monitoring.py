"""What a run shows of itself in TensorBoard; the x-axis is the number of proposals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from rlsearch.controller.buffer import EpisodeBuffer
from rlsearch.formula import OPERATORS
from rlsearch.judging import Judge, Judged, RoundReport
from rlsearch.rewards.protocol import Status
from rlsearch_envs.drawing import plot_curve


class ProposalsWriter(TensorBoardOutputFormat):
    """Writes events directly into ``folder``, with proposals where stable-baselines3 counts environment steps.

    Args:
        folder: The run folder.
        steps_per_proposal: Environment steps of one episode.
        purge_from: On resuming, the first proposal count whose events are to be forgotten.
    """

    def __init__(self, folder: Path, steps_per_proposal: int, purge_from: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(log_dir=str(folder), purge_step=purge_from)
        self._is_closed = False
        self.steps_per_proposal = steps_per_proposal

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Writes one dump of the logger."""
        super().write(key_values, key_excluded, step // self.steps_per_proposal)


def make_logger(folder: Path, steps_per_proposal: int, purge_from: int | None) -> Logger:
    """Returns the logger of a run; set it with ``PPO.set_logger``."""
    return Logger(str(folder), [ProposalsWriter(folder, steps_per_proposal, purge_from)])


class SearchMonitor(BaseCallback):
    """Logs every round, and every some rounds the leaderboard, curves, rewards and operators.

    Args:
        judge: Knows what happened.
        every: Rounds between the larger records.
        best: Formulas on the leaderboard.
    """

    def __init__(self, judge: Judge, every: int, best: int) -> None:
        super().__init__()
        self.judge = judge
        self.every = every
        self.best = best

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        report = self.judge.report
        assert report is not None
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        for key, value in {**round_scalars(report), **self._search_scalars(buffer)}.items():
            self.logger.record(key, value)
        if (report.round_number + 1) % self.every == 0:
            self._record_best(report)

    def _on_training_end(self) -> None:
        # PPO logs a round's training with the next round; the last one has none.
        report = self.judge.report
        if report is not None and (report.round_number + 1) % self.every:
            self._record_best(report)
        self.logger.dump(self.num_timesteps)

    def _search_scalars(self, buffer: EpisodeBuffer) -> dict[str, float]:
        live = buffer.observations[..., buffer.pad_index] == 0
        scalars = {"search/entropy": float(-buffer.log_probs[live].mean())}
        if buffer.elite_fraction is not None:
            scalars["search/elite_threshold"] = buffer.elite_threshold
        board = self.judge.leaderboard(1)
        if board:
            best = board[0].result
            scalars["search/best_reward"] = best.value
            scalars |= {"search/best_score": best.score} if best.score is not None else {}
            scalars |= {"search/best_latency": best.latency} if best.latency is not None else {}
        return scalars

    def _record_best(self, report: RoundReport) -> None:
        board = self.judge.leaderboard(self.best)
        self.logger.record("search/leaderboard", leaderboard_markdown(board))
        self.logger.record("search/curves", LoggedFigure(curves_figure(board[:6]), close=False))
        self.logger.record("search/operators", LoggedFigure(operators_figure(report), close=False))
        self.logger.record("search/rewards", np.array([result.value for result in report.results]))


def round_scalars(report: RoundReport) -> dict[str, float]:
    """Returns the scalars of one round by their tags."""
    values = [result.value for result in report.results]
    ok = [result.value for result in report.results if result.status is Status.OK]
    shares = {f"shares/{status.value}": report.share(status) for status in Status if status is not Status.ILLEGAL}
    fresh = sum(report.fresh) / len(report.fresh)
    return {
        "search/mean_reward": float(np.mean(values)),
        "search/round_best_reward": max(values),
        **({"search/mean_reward_ok": float(np.mean(ok))} if ok else {}),
        "search/mean_length": float(np.mean([formula.size for formula in report.formulas])),
        "search/evaluations": report.evaluations,
        "search/candidates_per_second": report.evaluations / max(report.seconds, 1e-9),
        "shares/fresh": fresh,
        "shares/repeated": 1 - fresh,
        **shares,
    }


def leaderboard_markdown(board: Sequence[Judged]) -> str:
    """Returns the leaderboard as a Markdown table."""
    lines = ["| rank | reward | score | seeds | latency | formula |", "|---|---|---|---|---|---|"]
    for rank, judged in enumerate(board, start=1):
        result = judged.result
        score = "" if result.score is None else f"{result.score:.4f}"
        latency = "" if result.latency is None else f"{result.latency:.2f}"
        lines.append(f"| {rank} | {result.value:+.4f} | {score} | {judged.seeds} | {latency} | `{judged.formula}` |")
    return "\n".join(lines)


def curves_figure(board: Sequence[Judged]) -> Figure:
    """Returns the curves of the best formulas."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for judged in board:
        plot_curve(axes, judged.formula, label=str(judged.formula))
    axes.set_ylim(-3, 5)
    axes.grid(alpha=0.3)
    axes.set_xlabel("x")
    if board:
        axes.legend(fontsize=7)
    return figure


def operators_figure(report: RoundReport) -> Figure:
    """Returns how often the round's formulas use each operator."""
    counts = Counter(t for formula in report.formulas for t in formula.tokens if t in OPERATORS)
    names = [str(name) for name, _ in counts.most_common()]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(names, [counts[name] / len(report.formulas) for name in names])
    axes.tick_params(axis="x", rotation=70)
    axes.set_ylabel("uses per formula")
    return figure
