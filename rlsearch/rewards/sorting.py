"""Evaluations sorted: by function, by proxy, and at the learning rate that suits a function best."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from rlsearch.rewards.base import Status
from rlsearch.rewards.staged import Evaluation

ByFunction = Mapping[str, Mapping[str, list[Evaluation]]]
"""Evaluations by the fingerprint of their function, and then by the name of the proxy."""


@dataclass(frozen=True, slots=True)
class Member:
    """A proxy of the panel at one fidelity.

    Attributes:
        title: What people call it.
        rates: Its names, one for each of its learning rates; the best of them counts.
    """

    title: str
    rates: tuple[str, ...]


def by_function_of(evaluations: Iterable[Evaluation]) -> dict[str, dict[str, list[Evaluation]]]:
    """Evaluations by fingerprint, and then by proxy."""
    by_function: dict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        by_function[evaluation.training.formula.fingerprint].append(evaluation)
    return {fingerprint: by_proxy_of(found) for fingerprint, found in by_function.items()}


def why_it_failed(by_proxy: Mapping[str, Sequence[Evaluation]]) -> str:
    """The message of the first training that failed; empty if none did."""
    for evaluation in chain(*by_proxy.values()):
        if evaluation.status is Status.FAILED:
            return evaluation.result.message
    return ""


def scores_on(member: Member, by_function: ByFunction) -> dict[str, list[float]]:
    """The scores of each function on a proxy at the learning rate that suits it best, by fingerprint."""
    return {fingerprint: scores_of(at_best_rate(member, found)) for fingerprint, found in by_function.items()}


def by_proxy_of(evaluations: Iterable[Evaluation]) -> dict[str, list[Evaluation]]:
    """Evaluations by the name of their proxy."""
    by_proxy: dict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        by_proxy[evaluation.training.proxy].append(evaluation)
    return by_proxy


def scores_of(evaluations: Iterable[Evaluation]) -> list[float]:
    """The scores of those that have one."""
    return [evaluation.score for evaluation in evaluations if evaluation.score is not None]


def at_best_rate(member: Member, by_proxy: Mapping[str, Sequence[Evaluation]]) -> Sequence[Evaluation]:
    """A function's evaluations at the learning rate that suits it best; none if it has none.

    That is the one at which the fewest fail, and of those the one with the highest mean score; at a tie the first.
    """

    def suits(evaluations: Sequence[Evaluation]) -> tuple[int, float]:
        scores = scores_of(evaluations)
        return len(scores) - len(evaluations), mean_of(scores) if scores else -math.inf

    found = [by_proxy[rate] for rate in member.rates if rate in by_proxy]
    return max(found, key=suits, default=())


def at_best_rates(panel: Sequence[Member], by_proxy: Mapping[str, Sequence[Evaluation]]) -> list[Sequence[Evaluation]]:
    """A function's evaluations on each proxy of a panel; see :func:`at_best_rate`."""
    return [at_best_rate(member, by_proxy) for member in panel]


def first_failed(chosen: Iterable[Iterable[Sequence[Evaluation]]]) -> Evaluation | None:
    """The first evaluation without a score, by fidelity and proxy; None if all have one."""
    for of_panel in chosen:
        for of_member in of_panel:
            for evaluation in of_member:
                if evaluation.status is not Status.OK:
                    return evaluation
    return None


def mean_of(values: Sequence[float]) -> float:
    """The mean of at least one number."""
    return math.fsum(values) / len(values)
