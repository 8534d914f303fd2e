"""What a run shows of itself in TensorBoard; the x-axis is the number of proposals."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rlsearch.common.ranks import rank_correlations
from rlsearch.errors import StorageError
from rlsearch.formula import OPERATORS
from rlsearch.formula.drawing import plot_curve
from rlsearch.formula.simplify import shown
from rlsearch.judging.history import Judged
from rlsearch.judging.judge import Judge, RoundReport
from rlsearch.judging.mirrors import best_groups
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.runs.config import LoggingSettings
from rlsearch.runs.events import RunEvents

MAX_CURVES = 6
"""How many functions of the leaderboard have their curves drawn."""

MIN_FUNCTIONS_FOR_CORRELATION = 16
"""Fewer say little of how alike two proxies are."""


class Monitor(RunEvents):
    """Logs every round, and every some rounds the leaderboard, curves, rewards and operators.

    Args:
        folder: The run folder.
        settings: How often the larger records are made, and how long the leaderboard is.
        resumed_at: Proposals that a resumed run begins with; what the folder has of later ones is forgotten. None for
            a new run.
    """

    def __init__(self, folder: Path, settings: LoggingSettings, *, resumed_at: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.settings = settings
        purge_step = None if resumed_at is None else resumed_at + 1
        with self._writing():
            self._writer = SummaryWriter(log_dir=str(folder), purge_step=purge_step)
        self._recorded: RoundReport | None = None

    def on_round(self, judge: Judge, scalars: Mapping[str, float]) -> None:
        """Writes what happened in a round."""
        report = judge.report
        assert report is not None
        with self._writing():
            for tag, value in {**round_scalars(report), **leader_scalars(judge), **scalars}.items():
                self._writer.add_scalar(tag, value, judge.proposals)
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
            raise StorageError(f"{self.folder} cannot be written: {error}. Resume the run later.") from error

    def _record_best(self, judge: Judge, report: RoundReport) -> None:
        self._recorded = report
        step = judge.proposals
        board = [group.best for group in best_groups(judge.leaderboard, self.settings.best)]
        self._writer.add_text("search/leaderboard", leaderboard_markdown(board), step)
        self._writer.add_figure("search/curves", curves_figure(board[:MAX_CURVES]), step, close=False)
        self._writer.add_figure("search/operators", operators_figure(report), step, close=False)
        self._writer.add_histogram("search/rewards", np.array([result.value for result in report.results]), step)
        figure = proxies_figure(list(judge.known.values()))
        if figure is not None:
            self._writer.add_figure("search/proxies", figure, step, close=False)


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
            f"{result.value:+.4f}",
            "" if result.score is None else f"{result.score:.4f}",
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


def proxies_figure(functions: Sequence[Judged]) -> Figure | None:
    """How alike the proxies of a panel order the functions of a run: Spearman's correlation between gains.

    Returns:
        A figure; None if there are not several proxies, or too few functions to speak of an order.
    """
    rows = [judged.result.gains for judged in functions if len(judged.result.gains) > 1]
    if len(rows) < MIN_FUNCTIONS_FOR_CORRELATION:
        return None
    names = list(rows[0])
    columns = [[row[name] for row in rows] for name in names]
    correlations = rank_correlations(np.array(columns).T)
    figure = Figure(figsize=(1.5 + len(names), 1 + len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(correlations, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    for (row, column), value in np.ndenumerate(correlations):
        text = "-" if math.isnan(value) else f"{value:+.2f}"
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_title(f"correlation of gains over {len(rows)} functions", fontsize=8)
    return figure


def curves_figure(board: Sequence[Judged]) -> Figure:
    """The curves of the best formulas."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for judged in board:
        plot_curve(axes, judged.formula, label=shown(judged.formula))
    axes.set_ylim(-3, 5)
    axes.grid(alpha=0.3)
    axes.set_xlabel("x")
    if board:
        axes.legend(fontsize=7)
    return figure


def operators_figure(report: RoundReport) -> Figure:
    """How often the round's formulas use each operator."""
    counts: Counter[str | float] = Counter()
    for formula in report.formulas:
        counts.update(token for token in formula.tokens if token in OPERATORS)
    names = [str(name) for name, _ in counts.most_common()]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(names, [counts[name] / len(report.formulas) for name in names])
    axes.tick_params(axis="x", rotation=70)
    axes.set_ylabel("uses per formula")
    return figure
