"""The default reward: gains of trained proxies over a reference, minus latency cost."""

import logging
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlsearch.common.pool import InProcess, Pool
from rlsearch.common.seeds import search_seed
from rlsearch.errors import RewardError
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import train_populations
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings
from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.scale import Scale, combined
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import RewardSettings, epochs_at, function
from rlsearch.rewards.staged import Evaluation

_LOGGER = logging.getLogger(__name__)

IDENTITY = Formula.parse("x")
"""A network with it is linear: a proxy on which it does well tells nothing about activations."""

IDENTITY_SEEDS = 2
"""From how many seeds it is trained on each proxy."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A proxy of the panel at one fidelity.

    Attributes:
        title: What people call it.
        rates: Its names, one for each of its learning rates; the best of them counts.
    """

    title: str
    rates: tuple[str, ...]


class PanelReward:
    """``gain - latency_weight * log2(latency)``; 0 is as good as the reference, and as fast as ReLU.

    A score is that of a proxy's task on the validation part, such as an accuracy, averaged over the seeds. With a
    single classifier the gain is the score minus the reference's. With several proxies, or another task, it is counted
    on each in spreads of the baselines (see :class:`~rlsearch.rewards.scale.Scale`), and their mean is taken.

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
        self.status_values = status_values
        self.run_seed = run_seed

        # The same proxies once per fidelity, trained for that share of their epochs, and once per learning rate.
        self.proxies: dict[str, Proxy] = {}
        self._panels: list[list[_Member]] = []
        for share in fidelities:
            panel = []
            for title, proxy in zip(settings.names, settings.proxies, strict=True):
                at_each_rate = [Proxy(p, kernel, device) for p in _trained_for(proxy, share).at_each_rate()]
                self.proxies |= {trained.name: trained for trained in at_each_rate}
                panel.append(_Member(title, tuple(trained.name for trained in at_each_rate)))
            self._panels.append(panel)
        self.fidelities = tuple(_names(panel) for panel in self._panels)
        self.proxy_names, self.rescoring_proxy_names = self.fidelities[0], self.fidelities[-1]
        if len(set(self.proxy_names)) < len(self.proxy_names):
            raise RewardError("two proxies of the reward are the same; expected different ones")
        # By fidelity and place in the panel; empty until the references are known.
        self._scales: list[list[Scale]] = []

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
        return next(member.rates for member in self._panels[0] if member.title == title)

    def scale_of(self, title: str) -> Scale:
        """The scale of a proxy of the panel at the first fidelity, when the references are known."""
        at = self.settings.names.index(title)
        return self._scales[0][at]

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes the evaluations of :attr:`references`, and warns of proxies that cannot tell functions apart.

        Raises:
            RewardError: If the reference itself does not train on a proxy.
        """
        by_function: dict[str, list[Evaluation]] = defaultdict(list)
        for evaluation in evaluations:
            by_function[evaluation.training.formula.fingerprint].append(evaluation)
        scores = {fingerprint: _scores_by_proxy(found) for fingerprint, found in by_function.items()}
        self._scales = []
        for panel in self._panels:
            scales = []
            for member in panel:
                of_functions = {fingerprint: _best_rate(member, scores[fingerprint]) for fingerprint in scores}
                scales.append(self._scale(member, of_functions))
            self._scales.append(scales)

    def _scale(self, member: _Member, scores: Mapping[str, Sequence[float]]) -> Scale:
        """The scale of a proxy from the scores of the references on it, by fingerprint, one per seed."""
        name = self.settings.reference
        reference_function = function(name)
        reference = scores[reference_function.fingerprint]
        if not reference:
            raise RewardError(f"{name} has no score on {member.title}: it diverges there; lower its learning_rate")
        baselines = {name: reference}
        if self.settings.in_spreads:
            baselines = {text: scores.get(function(text).fingerprint, ()) for text in self.settings.baselines}
        scale = Scale.of(reference, baselines)
        task = self.proxies[member.rates[0]].settings.task
        linear = scores.get(IDENTITY.fingerprint, ())
        if linear and reference_function != IDENTITY and statistics.fmean(linear) > scale.reference - scale.noise:
            _LOGGER.warning(
                "%s cannot tell activations apart: a linear network scores %s there, and one with %s %s",
                member.title,
                task.score_text(statistics.fmean(linear)),
                name,
                task.score_text(scale.reference),
            )
        elif self.settings.in_spreads and scale.spread <= scale.noise:
            _LOGGER.warning(
                "%s cannot tell the baselines apart: they lie within %s of each other, no more than one function's "
                "seeds; train for longer, or take another learning rate",
                member.title,
                task.in_words(scale.spread),
            )
        return scale

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
        populations = train_populations(self.proxies, fit, self.pool)
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

    def _counted(self, scores: Mapping[str, Sequence[float]]) -> int:
        """The highest fidelity at which there is a score on every proxy."""
        for fidelity in reversed(range(len(self._panels))):
            if all(_best_rate(member, scores) for member in self._panels[fidelity]):
                return fidelity
        return 0

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """The reward of ``formula``, in this spelling, from all its evaluations.

        Where there are scores of a higher fidelity they alone count, relative to the reference at that fidelity.
        """
        evaluations = list(evaluations)
        latency = self.costs.ratio(formula)
        scores = _scores_by_proxy(evaluations)
        failed = self._failed(evaluations, scores)
        if failed is not None:
            value = self.status_values.of(failed.status)
            return RewardResult(value, failed.status, latency=latency, message=failed.result.message)
        fidelity = self._counted(scores)
        panel, scales = self._panels[fidelity], self._scales[fidelity]
        by_seed = [_best_rate(member, scores) for member in panel]
        means = [_mean(of_member) for of_member in by_seed]
        gains = [self._gain(score, scale) for score, scale in zip(means, scales, strict=True)]
        gain = combined(gains, self.settings.combine)
        cost = self.settings.price_of_doubling * math.log2(latency)
        titles = [member.title for member in panel]
        return RewardResult(
            gain - cost,
            Status.OK,
            gain if self.settings.in_spreads else means[0],
            latency,
            standard_error=self._standard_error(by_seed, scales),
            scores=dict(zip(titles, means, strict=True)) | _outside(panel, evaluations),
            gains=dict(zip(titles, gains, strict=True)),
        )

    def _failed(self, evaluations: Sequence[Evaluation], scores: Mapping[str, Sequence[float]]) -> Evaluation | None:
        """The first evaluation that leaves a function without a score, if there is one.

        A function that diverges at one of several learning rates has the score of the others.
        """
        for evaluation in evaluations:
            if evaluation.status is Status.OK:
                continue
            name = evaluation.training.proxy
            rates = next(m.rates for panel in self._panels for m in panel if name in m.rates)
            if evaluation.status is not Status.DIVERGED or not any(scores.get(rate) for rate in rates):
                return evaluation
        return None

    def _gain(self, score: float, scale: Scale) -> float:
        return scale.gain(score) if self.settings.in_spreads else score - scale.reference

    def _standard_error(self, by_seed: Sequence[Sequence[float]], scales: Sequence[Scale]) -> float | None:
        """Of the score over seeds, each seed's being combined over proxies; None for fewer than two seeds."""
        if not self.settings.in_spreads:
            combinations = list(by_seed[0])
        else:
            of_proxies = [
                [self._gain(score, scale) for score in scores] for scores, scale in zip(by_seed, scales, strict=True)
            ]
            # A population that is not done yet may leave one proxy with fewer seeds.
            combinations = [combined(gains, self.settings.combine) for gains in zip(*of_proxies, strict=False)]
        if len(combinations) < 2:
            return None
        return statistics.stdev(combinations) / math.sqrt(len(combinations))

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        """Judges ``formulas`` without an archive."""
        if not self._scales:
            self.refer(self._trained(self.references))
        by_formula: dict[Formula, list[Evaluation]] = defaultdict(list)
        for evaluation in self._trained(self.trainings(formulas)):
            by_formula[evaluation.training.formula].append(evaluation)
        return [self.combine(formula, by_formula[formula]) for formula in formulas]

    def _trained(self, trainings: Sequence[Training]) -> Iterator[Evaluation]:
        for population in self.evaluate(trainings):
            yield from population


def _names(panel: Sequence[_Member]) -> tuple[str, ...]:
    names: list[str] = []
    for member in panel:
        names += member.rates
    return tuple(names)


def _trained_for(proxy: ProxySettings | OwnProxySettings, share: float) -> ProxySettings | OwnProxySettings:
    return proxy.check(proxy.model_dump() | {"epochs": epochs_at(proxy, share)})


def _scores_by_proxy(evaluations: Iterable[Evaluation]) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.score is not None:
            scores[evaluation.training.proxy].append(evaluation.score)
    return scores


def _best_rate(member: _Member, scores: Mapping[str, Sequence[float]]) -> Sequence[float]:
    """A function's scores, one per seed, at the learning rate at which their mean is the highest; none if it has none.

    The first rate wins a tie.
    """
    found = [scores[rate] for rate in member.rates if scores.get(rate)]
    return max(found, key=_mean, default=())


def _outside(panel: Sequence[_Member], evaluations: Iterable[Evaluation]) -> dict[str, float]:
    """The mean scores on inputs outside the range of training, by the name of the proxy, where there are such."""
    found: dict[str, list[float]] = defaultdict(list)
    titles = {name: member.title for member in panel for name in member.rates}
    for evaluation in evaluations:
        if evaluation.outside is not None and evaluation.training.proxy in titles:
            found[f"{titles[evaluation.training.proxy]} outside"].append(evaluation.outside)
    return {name: _mean(scores) for name, scores in found.items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
