"""The default reward: scores of trained proxies minus latency cost, relative to ReLU."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rlsearch.common.pool import InProcess, Pool
from rlsearch.common.seeds import search_seed
from rlsearch.errors import RewardError
from rlsearch.formula import RELU, Formula
from rlsearch.kernels import Kernel
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.schedule import train_populations
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings
from rlsearch.rewards.base import RewardResult, Status, StatusValues
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import RewardSettings, epochs_at
from rlsearch.rewards.staged import Evaluation


class AccuracyReward:
    """``mean over proxies of (score - ReLU's score) - latency_weight * log2(latency)``; 0 is as good as ReLU.

    A score is that of the proxy's task on the validation part, such as an accuracy, averaged over the seeds. Usable as
    a plain reward (it is a callable of formulas), and in stages by judging, which stores every training.

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

        # The same proxies once per fidelity, trained for that share of their epochs.
        self.proxies: dict[str, Proxy] = {}
        names_by_fidelity = []
        for share in fidelities:
            trained_for = [Proxy(_trained_for(proxy, share), kernel, device) for proxy in settings.proxies]
            self.proxies |= {proxy.name: proxy for proxy in trained_for}
            names_by_fidelity.append(tuple(proxy.name for proxy in trained_for))
        self.fidelities = tuple(names_by_fidelity)
        self.proxy_names, self.rescoring_proxy_names = self.fidelities[0], self.fidelities[-1]
        if len(set(self.proxy_names)) < len(self.proxy_names):
            raise RewardError("two proxies of the reward are the same; expected different ones")
        self.run_seed = run_seed
        self.baseline: dict[str, float] = {}

    @property
    def references(self) -> list[Training]:
        """The trainings of ReLU that every reward is relative to."""
        seeds = [search_seed(self.run_seed, i) for i in range(self.settings.baseline_seeds)]
        references = []
        for name in self.proxies:
            references += [Training(RELU, name, seed) for seed in seeds]
        return references

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes the evaluations of :attr:`references`.

        Raises:
            RewardError: If ReLU itself does not train on a proxy.
        """
        scores = _scores_by_proxy(evaluations)
        for name in self.proxies:
            if not scores[name]:
                raise RewardError(f"ReLU has no score on {name}: it diverges there; lower its learning_rate")
            self.baseline[name] = _mean(scores[name])

    def evaluate(self, trainings: Sequence[Training]) -> Iterator[list[Evaluation]]:
        """Screens and trains; yields what is unfit, and then each population as soon as it is done."""
        reasons = {t.formula: why_unfit(t.formula, self.settings.screening) for t in trainings}
        latencies = {formula: self.costs.ratio(formula) for formula in reasons}
        unfit: list[Evaluation] = []
        fit: list[Training] = []
        for training in trainings:
            formula = training.formula
            if reasons[formula]:
                result = RewardResult(math.nan, Status.UNFIT, None, latencies[formula], reasons[formula])
                unfit.append(Evaluation(training, result))
            else:
                fit.append(training)
        populations = train_populations(self.proxies, fit, self.pool)
        try:
            # By now the workers have begun.
            yield unfit
            for done in populations:
                seconds = done.seconds / len(done.scores)
                yield [
                    Evaluation.of_score(training, score, latencies[training.formula], seconds)
                    for training, score in zip(done.trainings, done.scores, strict=True)
                ]
        finally:
            # Ends what workers do for a caller that stops early.
            populations.close()

    def counted(self, evaluations: Iterable[Evaluation]) -> tuple[str, ...]:
        """The names of the proxies whose scores count: those of the highest fidelity that is complete."""
        scores = _scores_by_proxy(evaluations)
        for names in reversed(self.fidelities):
            if all(scores[name] for name in names):
                return names
        return self.proxy_names

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """The reward of ``formula``, in this spelling, from all its evaluations.

        Where there are scores of a higher fidelity they alone count, relative to ReLU at that fidelity.
        """
        evaluations = list(evaluations)
        latency = self.costs.ratio(formula)
        for evaluation in evaluations:
            if evaluation.status is not Status.OK:
                value = self.status_values.of(evaluation.status)
                return RewardResult(value, evaluation.status, latency=latency, message=evaluation.result.message)
        scores = _scores_by_proxy(evaluations)
        counted = self.counted(evaluations)
        means = {name: _mean(scores[name]) for name in counted}
        gain = _mean([means[name] - self.baseline[name] for name in counted])
        cost = self.settings.latency_weight * math.log2(latency)
        error = _standard_error(evaluations, counted)
        return RewardResult(gain - cost, Status.OK, _mean(list(means.values())), latency, standard_error=error)

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        """Judges ``formulas`` without an archive."""
        if not self.baseline:
            self.refer(self._trained(self.references))
        seeds = [search_seed(self.run_seed, i) for i in range(self.settings.seeds)]
        wanted: list[Training] = []
        for formula in dict.fromkeys(formulas):
            for name in self.proxy_names:
                wanted += [Training(formula, name, seed) for seed in seeds]
        by_formula: dict[Formula, list[Evaluation]] = defaultdict(list)
        for evaluation in self._trained(wanted):
            by_formula[evaluation.training.formula].append(evaluation)
        return [self.combine(formula, by_formula[formula]) for formula in formulas]

    def _trained(self, trainings: Sequence[Training]) -> Iterator[Evaluation]:
        for population in self.evaluate(trainings):
            yield from population


def _trained_for(proxy: ProxySettings | OwnProxySettings, share: float) -> ProxySettings | OwnProxySettings:
    return proxy.check(proxy.model_dump() | {"epochs": epochs_at(proxy, share)})


def _scores_by_proxy(evaluations: Iterable[Evaluation]) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.score is not None:
            scores[evaluation.training.proxy].append(evaluation.score)
    return scores


def _standard_error(evaluations: Iterable[Evaluation], counted: Sequence[str]) -> float | None:
    """Of the score over seeds, each seed's score being the mean over proxies; None for fewer than two seeds."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.score is not None and evaluation.training.proxy in counted:
            by_seed[evaluation.training.seed].append(evaluation.score)
    means = [_mean(scores) for scores in by_seed.values()]
    return statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
