"""What a run shows of itself in TensorBoard; the x-axis is the number of proposals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rlsearch.formula import OPERATORS
from rlsearch.formula.drawing import plot_curve
from rlsearch.judging.judge import Judge, Judged, RoundReport
from rlsearch.rewards.base import Status


class Monitor:
    """Logs every round, and every some rounds the leaderboard, curves, rewards and operators.

    Args:
        folder: The run folder.
        judge: Knows what happened.
        every: Rounds between the larger records.
        best: Formulas on the leaderboard.
        resumed: Whether the folder has the events of earlier rounds; those of later ones are forgotten then.
    """

    def __init__(self, folder: Path, judge: Judge, every: int, best: int, *, resumed: bool = False) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.judge = judge
        self.every = every
        self.best = best
        self._writer = SummaryWriter(log_dir=str(folder), purge_step=judge.proposals + 1 if resumed else None)
        self._recorded: RoundReport | None = None

    def record(self, report: RoundReport, more: Mapping[str, float]) -> None:
        """Writes what happened in a round.

        Args:
            report: The round.
            more: Further scalars, by tag.
        """
        for tag, value in {**round_scalars(report), **self._leader_scalars(), **more}.items():
            self._writer.add_scalar(tag, value, self.judge.proposals)
        if (report.round_number + 1) % self.every == 0:
            self._record_best(report)
        self._writer.flush()

    def finish(self) -> None:
        """Writes the larger records of the last round, if they have not been."""
        report = self.judge.report
        if report is not None and report is not self._recorded:
            self._record_best(report)

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()

    def _leader_scalars(self) -> dict[str, float]:
        scalars: dict[str, float] = {"search/candidates": self.judge.candidates}
        for judged in self.judge.leaderboard(1):
            best = judged.result
            scalars["search/best_reward"] = best.value
            scalars |= {"search/best_score": best.score} if best.score is not None else {}
            scalars |= {"search/best_latency": best.latency} if best.latency is not None else {}
        return scalars

    def _record_best(self, report: RoundReport) -> None:
        self._recorded = report
        step, board = self.judge.proposals, self.judge.leaderboard(self.best)
        self._writer.add_text("search/leaderboard", leaderboard_markdown(board), step)
        self._writer.add_figure("search/curves", curves_figure(board[:6]), step, close=False)
        self._writer.add_figure("search/operators", operators_figure(report), step, close=False)
        self._writer.add_histogram("search/rewards", np.array([result.value for result in report.results]), step)


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
