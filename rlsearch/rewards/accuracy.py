"""The default reward: accuracy of trained proxies minus latency cost, relative to ReLU."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rlsearch.common.seeds import search_seed
from rlsearch.errors import RewardError
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.kernels.latency import LatencyCosts
from rlsearch.proxies.base import Member
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import OwnProxySettings, ProxySettings
from rlsearch.rewards.base import Evaluation, Request, RewardResult, Status, StatusValues
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import RewardSettings, epochs_at

RELU = Formula.parse("relu(x)")


class ProxyReward:
    """``mean over proxies of (score - ReLU's score) - latency_weight * log2(latency)``; 0 is as good as ReLU.

    A score is a validation accuracy, averaged over the seeds it was trained from. Usable as a plain reward (it is a
    callable of formulas), and in stages by judging, which stores every training.

    Args:
        settings: Proxies, weights and screening.
        costs: The latency of formulas.
        kernel: Computes the activations.
        device: Where the proxies are trained.
        run_seed: Seeds belong to the run: all trainings use :func:`search_seed` of it.
        workers: Processes that train side by side.
        status_values: The reward of formulas without a score.
        fidelities: How long the proxies are trained, in shares of their epochs: first what a new function gets, last
            what the best get.
        leaves_caller_free: Whether :meth:`evaluate` trains in workers alone, so that the caller can do something else
            after its first evaluations.

    Attributes:
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
        workers: int = 1,
        status_values: StatusValues = StatusValues(),
        fidelities: Sequence[float] = (1.0,),
        leaves_caller_free: bool = False,
    ) -> None:
        self.settings = settings
        self.costs = costs
        self.status_values = status_values
        at = [
            [Proxy(_trained_for(s, share), kernel, device, workers, leaves_caller_free) for s in settings.proxies]
            for share in fidelities
        ]
        self.proxies = {proxy.protocol: proxy for proxies in at for proxy in proxies}
        self.fidelities = tuple(tuple(proxy.protocol for proxy in proxies) for proxies in at)
        self.protocols, self.rescoring_protocols = self.fidelities[0], self.fidelities[-1]
        if len(set(self.protocols)) < len(self.protocols):
            raise RewardError("two proxies of the reward are the same; expected different ones")
        self.run_seed = run_seed
        self.baseline: dict[str, float] = {}

    @property
    def references(self) -> list[Request]:
        """The trainings of ReLU that every reward is relative to."""
        seeds = [search_seed(self.run_seed, i) for i in range(self.settings.baseline_seeds)]
        return [Request(RELU, protocol, seed) for protocol in self.proxies for seed in seeds]

    def refer(self, evaluations: Iterable[Evaluation]) -> None:
        """Takes the evaluations of :attr:`references`.

        Raises:
            RewardError: If ReLU itself does not train on a proxy.
        """
        scores = _scores_by_protocol(evaluations)
        for protocol in self.proxies:
            if not scores[protocol]:
                raise RewardError(f"ReLU has no score on {protocol}: it diverges there; lower its learning_rate")
            self.baseline[protocol] = _mean(scores[protocol])

    def evaluate(self, requests: Sequence[Request]) -> Iterator[list[Evaluation]]:
        """Screens and trains; yields what is unfit, and then each population as soon as it is done."""
        reasons = {r.formula: why_unfit(r.formula, self.settings.screening) for r in requests}
        latencies = {formula: self.costs.ratio(formula) for formula in reasons}
        unfit = [
            Evaluation(r, Status.UNFIT, latency=latencies[r.formula], message=reasons[r.formula])
            for r in requests
            if reasons[r.formula]
        ]
        trainings = []
        for protocol, proxy in self.proxies.items():
            wanted = [r for r in requests if r.protocol == protocol and not reasons[r.formula]]
            trainings.append((wanted, proxy.train([Member(r.formula, r.seed) for r in wanted])))
        yield unfit  # what workers train is under way
        for wanted, populations in trainings:
            done, started = 0, time.perf_counter()
            for scores in populations:
                seconds = (time.perf_counter() - started) / len(scores)
                yield [
                    Evaluation(
                        request,
                        Status.DIVERGED if score is None else Status.OK,
                        score,
                        latencies[request.formula],
                        seconds,
                        message="training became non-finite" if score is None else "",
                    )
                    for request, score in zip(wanted[done : done + len(scores)], scores, strict=True)
                ]
                done, started = done + len(scores), time.perf_counter()

    def counted(self, evaluations: Iterable[Evaluation]) -> tuple[str, ...]:
        """Returns the names of the proxies whose scores count: those of the highest fidelity that is complete."""
        scores = _scores_by_protocol(evaluations)
        return next((f for f in reversed(self.fidelities) if all(scores[p] for p in f)), self.protocols)

    def combine(self, formula: Formula, evaluations: Iterable[Evaluation]) -> RewardResult:
        """Returns the reward of ``formula``, in this spelling, from all its evaluations.

        Where there are scores of a higher fidelity they alone count, relative to ReLU at that fidelity.
        """
        evaluations = list(evaluations)
        latency = self.costs.ratio(formula)
        for evaluation in evaluations:
            if evaluation.status is not Status.OK:
                value = self.status_values.of(evaluation.status)
                return RewardResult(value, evaluation.status, latency=latency, message=evaluation.message)
        scores = _scores_by_protocol(evaluations)
        counted = self.counted(evaluations)
        means = {protocol: _mean(scores[protocol]) for protocol in counted}
        gain = _mean([means[protocol] - self.baseline[protocol] for protocol in counted])
        cost = self.settings.latency_weight * math.log2(latency)
        return RewardResult(gain - cost, Status.OK, _mean(list(means.values())), latency)

    def __call__(self, formulas: Sequence[Formula]) -> list[RewardResult]:
        """Judges ``formulas`` without an archive."""
        if not self.baseline:
            self.refer(e for part in self.evaluate(self.references) for e in part)
        seeds = [search_seed(self.run_seed, i) for i in range(self.settings.seeds)]
        requests = [Request(f, p, s) for f in dict.fromkeys(formulas) for p in self.protocols for s in seeds]
        by_formula: dict[Formula, list[Evaluation]] = defaultdict(list)
        for part in self.evaluate(requests):
            for evaluation in part:
                by_formula[evaluation.request.formula].append(evaluation)
        return [self.combine(formula, by_formula[formula]) for formula in formulas]


def _trained_for(proxy: ProxySettings | OwnProxySettings, share: float) -> ProxySettings | OwnProxySettings:
    return proxy.check(proxy.model_dump() | {"epochs": epochs_at(proxy, share)})


def _scores_by_protocol(evaluations: Iterable[Evaluation]) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.score is not None:
            scores[evaluation.request.protocol].append(evaluation.score)
    return scores


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
