"""The learning rate of each function on each proxy: the best of several, and how much depends on it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlsearch.common.seeds import FIRST_SELECTION_SEED, fresh_seed
from rlsearch.formula import Formula
from rlsearch.proxies.base import Training
from rlsearch.proxies.settings import TrainingSettings
from rlsearch.studies.retrain import MIN_PART_SIZE, Options, Retraining, on_fresh_data

WIDENING = 3.0
"""Where the best rate is the lowest or the highest of those tried, the next one is this many times as far out."""

MAX_WIDENINGS = 3
"""So often for one function on one proxy; with the usual three rates it then reaches 81 times the rate or a part."""


@dataclass(frozen=True, slots=True)
class ChosenRate:
    """The learning rate of a function on a proxy.

    Attributes:
        rate: The rate.
        tried: Every rate that was tried, in ascending order, with its score: on the validation part, a mean over the
            selection seeds; NaN where a training diverged. Empty where there was nothing to choose from.
    """

    rate: float
    tried: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, scores: Mapping[float, float]) -> "ChosenRate":
        """The best of the rates tried; of equal ones the first, which also stands where all diverge."""
        best = _best(scores)
        return cls(next(iter(scores)) if best is None else best, tuple(sorted(scores.items())))

    @property
    def is_at_an_end(self) -> bool:
        """Whether it is the lowest or the highest that was tried, so that one beyond might be better."""
        if len(self.tried) < 2 or all(math.isnan(score) for _, score in self.tried):
            return False
        return self.rate in (self.tried[0][0], self.tried[-1][0])

    @property
    def drops(self) -> tuple[float, float]:
        """How much lower the score is at the next lower rate that was tried, and at the next higher one.

        NaN where none was tried; infinite where it diverged there.
        """
        return self._drop(-1), self._drop(1)

    def _drop(self, step: int) -> float:
        places = [rate for rate, _ in self.tried]
        place = places.index(self.rate) + step if places else -1
        own = dict(self.tried).get(self.rate, math.nan)
        if not 0 <= place < len(places) or math.isnan(own):
            return math.nan
        other = self.tried[place][1]
        return math.inf if math.isnan(other) else own - other


def chosen_rates(
    formulas: Sequence[Formula], proxy: TrainingSettings, run_seed: int, options: Options, retraining: Retraining
) -> list[ChosenRate]:
    """The learning rate that suits each formula, by validation on a data set that serves nothing else.

    A function whose best rate lies at an end of those tried is tried at one beyond, up to :data:`MAX_WIDENINGS` times:
    so none is judged by rates that suit another.

    Args:
        formulas: What to train.
        proxy: On what. Its ``learning_rates`` are tried; where it has none, the options' factors times its own.
        run_seed: The config's seed.
        options: How much is trained.
        retraining: Does it.
    """
    first = _first_rates(proxy, options.rates)
    if len(first) == 1:
        return [ChosenRate(first[0])] * len(formulas)
    scores: list[dict[float, float]] = [{} for _ in formulas]
    wanted = {rate: list(range(len(formulas))) for rate in first}
    for widening in range(1 + MAX_WIDENINGS):
        what = "widening rates" if widening else "choosing rates"
        for (rate, place), score in _tried(formulas, proxy, wanted, run_seed, options, retraining, what).items():
            scores[place][rate] = score
        wanted = {}
        for place, found in enumerate(scores):
            beyond = _beyond(found)
            if beyond is not None:
                wanted.setdefault(beyond, []).append(place)
        if not wanted:
            break
    return [ChosenRate.of(found) for found in scores]


def _first_rates(proxy: TrainingSettings, factors: Sequence[float]) -> list[float]:
    if proxy.learning_rates:
        return list(proxy.learning_rates)
    if not proxy.has_learning_rate:
        return [proxy.learning_rate]
    # The nearest to the config's own rate first: it wins a tie, and stands where every rate diverges.
    ordered = sorted(set(factors), key=lambda factor: (abs(math.log(factor)), factor))
    return [proxy.learning_rate * factor for factor in ordered]


def _tried(
    formulas: Sequence[Formula],
    proxy: TrainingSettings,
    wanted: Mapping[float, Sequence[int]],
    run_seed: int,
    options: Options,
    retraining: Retraining,
    what: str,
) -> dict[tuple[float, int], float]:
    """The mean score of each rate and place of a formula in ``wanted``, NaN where a training diverged."""
    seeds = [fresh_seed(run_seed, FIRST_SELECTION_SEED + i) for i in range(options.selection_seeds)]
    keys: list[tuple[float, int]] = []
    trainings: list[Training] = []
    for rate, places in wanted.items():
        settings = on_fresh_data(proxy, rate, seeds[0], retraining.device, test_size=MIN_PART_SIZE)
        name = retraining.proxy_name(settings)
        for place in places:
            keys.append((rate, place))
            trainings += [Training(formulas[place], name, seed, "validation") for seed in seeds]
    # A score of None becomes NaN.
    values = np.array(retraining.scores(trainings, what), dtype=np.float64)
    means = values.reshape(len(keys), len(seeds)).mean(axis=1)
    return dict(zip(keys, means.tolist(), strict=True))


def _best(scores: Mapping[float, float]) -> float | None:
    """The rate with the highest score, the first of equal ones; None where every rate diverged."""
    known = [rate for rate, score in scores.items() if not math.isnan(score)]
    return max(known, key=lambda rate: scores[rate], default=None)


def _beyond(scores: Mapping[float, float]) -> float | None:
    """The rate to try next, beyond the end where the best one lies; None if it lies between others.

    Where every rate diverged, all were too high.
    """
    best, lowest, highest = _best(scores), min(scores), max(scores)
    if best is None or best == lowest:
        return lowest / WIDENING
    return highest * WIDENING if best == highest else None
