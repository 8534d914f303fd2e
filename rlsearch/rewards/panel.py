"""The default reward: gains of trained proxies over a reference, minus latency cost."""

import logging
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from rlsearch.common.pool import InProcess, Pool
from rlsearch.common.seeds import search_seed
from rlsearch.errors import RewardError
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import limit_after, train_populations
from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.scale import Scale, combined
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import AnyProxy, RewardSettings, epochs_at, function
from rlsearch.rewards.sorting import (
    ByFunction,
    Member,
    at_best_rates,
    by_function_of,
    by_proxy_of,
    first_failed,
    mean_of,
    scores_of,
    scores_on,
    why_it_failed,
)
from rlsearch.rewards.staged import Evaluation

_LOGGER = logging.getLogger(__name__)

IDENTITY = Formula.parse("x")
"""A network with it is linear: a proxy on which it does well tells nothing about activations."""

IDENTITY_SEEDS = 2
"""From how many seeds it is trained on each proxy."""


class PanelReward:
    """``gain - latency_weight * log2(latency)``; 0 is as good as the reference, and as fast as ReLU.

    A score is that of a proxy's task on the validation part, such as an accuracy, averaged over the seeds. With a
    single classifier the gain is the score minus the reference's. With several proxies, or another task, it is counted
    on each in spreads of the baselines (see :class:`~rlsearch.rewards.scale.Scale`), and combined as the settings say.

    Usable as a plain reward (it is a callable of formulas), and in stages by judging, which stores every training.

    Args:
        settings: Proxies, weights and screening.
        costs: The latency of formulas.
        kernel: Computes the activations.
        device: Where the proxies are trained.
        run_seed: Seeds belong to the run: all trainings use :func:`search_seed` of it.
        pool: Trains. If it leaves the caller free, the caller can do something else after the first evaluations.
        status_values: The reward of formulas without a score.
        fidelities: How long the proxies are trained, in shares of their epochs: first what a new function gets, last
            what the best get.

    Attributes:
        proxies: By name.
        fidelities: The names of the proxies at each of them.
    """

    seeded = True

    def __init__(
        self,
        settings: RewardSettings,
        costs: LatencyCosts,
        kernel: Kernel,
        device: str,
        run_seed: int = 0,
        pool: Pool = InProcess(),
        status_values: StatusValues = StatusValues(),
        fidelities: Sequence[float] = (1.0,),
    ) -> None:
        self.settings = settings
        self.costs = costs
        self.pool = pool
        self.status_values = status_values.filled(settings.worst)
        self.run_seed = run_seed

        # The same proxies once per fidelity, trained for that share of their epochs, and once per learning rate.
        self.proxies: dict[str, Proxy] = {}
        self._panels: list[list[Member]] = []
        for share in fidelities:
            panel = []
            for title, proxy in zip(settings.names, settings.proxies, strict=True):
                at_each_rate = [Proxy(p, kernel, device) for p in _trained_for(proxy, share).at_each_rate()]
                self.proxies |= {trained.name: trained for trained in at_each_rate}
                panel.append(Member(title, tuple(trained.name for trained in at_each_rate)))
            self._panels.append(panel)
        self.fidelities = tuple(_names(panel) for panel in self._panels)
        self.proxy_names, self.rescoring_proxy_names = self.fidelities[0], self.fidelities[-1]
        if len(set(self.proxy_names)) < len(self.proxy_names):
            raise RewardError("two proxies of the reward are the same; expected different ones")
        # Empty until the references are known. Equal members of two fidelities are one.
        self._scales: dict[Member, Scale] = {}
        self._linear: dict[Member, float | None] = {}
        # What a reference's training took, by the name of the proxy.
        self._seconds: dict[str, float] = {}

    @property
    def references(self) -> list[Training]:
        """The trainings that every reward is relative to: of the reference, and of the baselines where they count."""
        seeds = [search_seed(self.run_seed, i) for i in range(self.settings.baseline_seeds)]
        functions = self.settings.references
        references = []
        for name in self.proxies:
            for formula in functions:
                references += [Training(formula, name, seed) for seed in seeds]
            if IDENTITY not in functions:
                references += [Training(IDENTITY, name, seed) for seed in seeds[:IDENTITY_SEEDS]]
        return references

    def trainings(self, formulas: Iterable[Formula]) -> list[Training]:
        """What new functions are trained on: every proxy and learning rate, from every seed; each formula once."""
        seeds = [search_seed(self.run_seed, i) for i in range(self.settings.seeds)]
        wanted: list[Training] = []
        for formula in dict.fromkeys(formulas):
            for name in self.proxy_names:
                wanted += [Training(formula, name, seed) for seed in seeds]
        return wanted

    def rates_of(self, title: str) -> tuple[str, ...]:
        """The names of a proxy of the panel, one for each of its learning rates, at the first fidelity."""
        return self._member(title).rates

    def scale_of(self, title: str) -> Scale:
        """The scale of a proxy of the panel at the first fidelity, when the references are known."""
        return self._scales[self._member(title)]

    def linear_of(self, title: str) -> float | None:
        """The score of a linear network on a proxy of the panel, likewise; None where it diverged."""
        return self._linear[self._member(title)]

    @property
    def time_limits(self) -> dict[str, float]:
        """Seconds for one training, by the name of the proxy; a proxy is missing of which nothing is known yet."""
        if self.settings.time_limit is not None:
            return dict.fromkeys(self.proxies, self.settings.time_limit)
        return {name: limit_after(seconds) for name, seconds in self._seconds.items()}

    def _member(self, title: str) -> Member:
        return next(member for member in self._panels[0] if member.title == title)

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes the evaluations of :attr:`references`, and warns of proxies that cannot tell functions apart.

        Raises:
            RewardError: If the reference itself does not train on a proxy, or none of the baselines does.
        """
        evaluations = list(evaluations)
        for name, of_proxy in by_proxy_of(evaluations).items():
            self._seconds[name] = statistics.median(evaluation.wall_seconds for evaluation in of_proxy)
        by_function = by_function_of(evaluations)
        for member in dict.fromkeys(chain(*self._panels)):
            self._scales[member] = self._scale(member, by_function, self.settings.in_spreads)
            linear = scores_on(member, by_function).get(IDENTITY.fingerprint)
            self._linear[member] = mean_of(linear) if linear else None
            self._warn(member)

    def scale_with_baselines(self, title: str, evaluations: Iterable[Evaluation]) -> Scale:
        """The scale of a proxy of the panel with the spread of the baselines, even where gains are in points.

        Args:
            title: The proxy's name in the panel.
            evaluations: Of :attr:`references`, and of the baselines.
        """
        member = self._member(title)
        return self._scale(member, by_function_of(evaluations), True)

    def _scale(self, member: Member, by_function: ByFunction, with_baselines: bool) -> Scale:
        """The scale of a proxy from the evaluations of the references on it."""
        scores = scores_on(member, by_function)
        name = self.settings.reference
        fingerprint = function(name).fingerprint
        reference = scores.get(fingerprint)
        if not reference:
            why = why_it_failed(by_function.get(fingerprint, {})) or "it diverges there; lower its learning_rate"
            raise RewardError(f"{name} has no score on {member.title}: {why}")
        baselines: dict[str, Sequence[float]] = {name: reference}
        if with_baselines:
            baselines = {text: scores.get(function(text).fingerprint, ()) for text in self.settings.baselines}
        if not any(baselines.values()):
            raise RewardError(
                f"none of the baselines {', '.join(baselines)} has a score on {member.title}: all diverge there; lower "
                "its learning_rate"
            )
        return Scale.of(reference, baselines)

    def _warn(self, member: Member) -> None:
        """Warns of a proxy that cannot tell functions apart."""
        scale, linear = self._scales[member], self._linear[member]
        name, proxy = self.settings.reference, self.proxies[member.rates[0]].settings
        trained, task = f"{member.title}, trained for {proxy.epochs} epoch(s),", proxy.task
        if linear is not None and function(name) != IDENTITY and linear > scale.reference - scale.noise:
            _LOGGER.warning(
                "%s cannot tell activations apart: a linear network scores %s there, and one with %s %s",
                trained,
                task.score_text(linear),
                name,
                task.score_text(scale.reference),
            )
        elif self.settings.in_spreads and scale.spread <= scale.noise:
            _LOGGER.warning(
                "%s cannot tell the baselines apart: they lie within %s %s of each other, no more than one function's "
                "seeds; train for longer, or take another learning rate",
                trained,
                task.number(scale.spread),
                task.unit,
            )

    def evaluate(self, trainings: Sequence[Training]) -> Iterator[list[Evaluation]]:
        """Screens and trains; yields what is unfit, and then each population as soon as it is done."""
        # References need not pass: the identity is no candidate.
        unscreened = {IDENTITY, *self.settings.references}
        reasons = {
            t.formula: None if t.formula in unscreened else why_unfit(t.formula, self.settings.screening)
            for t in trainings
        }
        latencies = {formula: self.costs.ratio(formula) for formula in reasons}
        unfit: list[Evaluation] = []
        fit: list[Training] = []
        for training in trainings:
            formula = training.formula
            if reason := reasons[formula]:
                result = RewardResult(math.nan, Status.UNFIT, None, latencies[formula], reason)
                unfit.append(Evaluation(training, result))
            else:
                fit.append(training)
        populations = train_populations(self.proxies, fit, self.pool, limits=self.time_limits)
        try:
            # By now the workers have begun.
            yield unfit
            for done in populations:
                seconds = done.seconds / len(done.outcomes)
                yield [
                    Evaluation.of_outcome(training, outcome, latencies[training.formula], seconds)
                    for training, outcome in zip(done.trainings, done.outcomes, strict=True)
                ]
        finally:
            # Ends what workers do for a caller that stops early.
            populations.close()

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """The reward of ``formula``, in this spelling, from all its evaluations.

        Where there are scores of a higher fidelity they alone count, relative to the reference at that fidelity. A
        function that diverges from any seed has no score, unless it has one at another learning rate of the proxy.

        Raises:
            RewardError: If there is a proxy without an evaluation.
        """
        latency, by_proxy = self.costs.ratio(formula), by_proxy_of(evaluations)
        chosen = [at_best_rates(panel, by_proxy) for panel in self._panels]
        failed = first_failed(chosen)
        if failed is not None:
            value = self.status_values.of(failed.status)
            return RewardResult(value, failed.status, latency=latency, message=failed.result.message)
        complete = [fidelity for fidelity, of_panel in enumerate(chosen) if all(of_panel)]
        if not complete:
            raise RewardError(
                f"{str(formula)!r} was trained on {', '.join(by_proxy) or 'nothing'}, and not on "
                f"{', '.join(self.proxy_names)}: scores of another version of rlsearch do not compare with these"
            )
        fidelity = complete[-1]
        panel, counted = self._panels[fidelity], chosen[fidelity]
        scales = [self._scales[member] for member in panel]
        titles = [member.title for member in panel]
        means = [mean_of(scores_of(of_member)) for of_member in counted]
        gains = [self._gain(score, scale) for score, scale in zip(means, scales, strict=True)]
        gain = combined(gains, self.settings.combine)
        return RewardResult(
            gain - self.settings.price_of_doubling * math.log2(latency),
            Status.OK,
            gain if self.settings.in_spreads else means[0],
            latency,
            standard_error=self._standard_error(counted, scales),
            scores=dict(zip(titles, means, strict=True)) | _outside(titles, counted),
            gains=dict(zip(titles, gains, strict=True)),
        )

    def _gain(self, score: float, scale: Scale) -> float:
        return scale.gain(score) if self.settings.in_spreads else score - scale.reference

    def _standard_error(self, counted: Sequence[Sequence[Evaluation]], scales: Sequence[Scale]) -> float | None:
        """Of the score over seeds, each seed's being combined over proxies; None for fewer than two seeds."""
        if not self.settings.in_spreads:
            of_seeds = scores_of(counted[0])
        else:
            by_seed: dict[int, list[float]] = defaultdict(list)
            for of_member, scale in zip(counted, scales, strict=True):
                for evaluation in of_member:
                    assert evaluation.score is not None
                    by_seed[evaluation.training.seed].append(scale.gain(evaluation.score))
            of_all = [gains for gains in by_seed.values() if len(gains) == len(scales)]
            of_seeds = [combined(gains, self.settings.combine) for gains in of_all]
        if len(of_seeds) < 2:
            return None
        return statistics.stdev(of_seeds) / math.sqrt(len(of_seeds))

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        """Judges ``formulas`` without an archive."""
        if not self._scales:
            self.refer(self._trained(self.references))
        return self.results(formulas, self._trained(self.trainings(formulas)))

    def results(self, formulas: Sequence[Formula], evaluations: Iterable[Evaluation]) -> list[RewardResult]:
        """The rewards of formulas from the evaluations of all of them, in any order."""
        by_formula: dict[Formula, list[Evaluation]] = defaultdict(list)
        for evaluation in evaluations:
            by_formula[evaluation.training.formula].append(evaluation)
        return [self.combine(formula, by_formula[formula]) for formula in formulas]

    def _trained(self, trainings: Sequence[Training]) -> Iterator[Evaluation]:
        for population in self.evaluate(trainings):
            yield from population


def _names(panel: Sequence[Member]) -> tuple[str, ...]:
    names: list[str] = []
    for member in panel:
        names += member.rates
    return tuple(names)


def _trained_for(proxy: AnyProxy, share: float) -> AnyProxy:
    return proxy.check(proxy.model_dump() | {"epochs": epochs_at(proxy, share)})


def _outside(titles: Sequence[str], counted: Sequence[Sequence[Evaluation]]) -> dict[str, float]:
    """The mean scores on inputs outside the range of training, by the name of the proxy, where there are such."""
    found = {}
    for title, of_member in zip(titles, counted, strict=True):
        scores = [evaluation.outside for evaluation in of_member if evaluation.outside is not None]
        if scores:
            found[f"{title} outside"] = mean_of(scores)
    return found
