"""From what was trained to what was found: of a single proxy, or of a panel as a whole and on each of its proxies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlsearch.kernels.latency import Latency
from rlsearch.rewards.settings import RewardSettings
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.functions import Function
from rlsearch.studies.gains import Gains, in_spreads, is_panel, words_of_scores
from rlsearch.studies.paired import Floats
from rlsearch.studies.rates import ChosenRate
from rlsearch.studies.retrain import FreshScores


@dataclass(frozen=True, eq=False, slots=True)
class Measurements:
    """Everything that was trained and measured. What was trained besides the functions comes after them.

    Attributes:
        functions: What is compared: formulas and baselines.
        reward: The reward whose proxies were trained.
        chosen: The learning rates, ``[proxies][functions]``.
        fresh: The scores.
        gains: Made from them; None where the unit is not known, which a panel needs.
        latencies: Of the functions.
        latency_label: What they hold for.
        source: Of the formulas, as a text goes on after "no formula ".
    """

    functions: Sequence[Function]
    reward: RewardSettings
    chosen: Sequence[Sequence[ChosenRate]]
    fresh: FreshScores
    gains: Gains | None
    latencies: Sequence[Latency]
    latency_label: str
    source: str

    @property
    def spread(self) -> float:
        """One spread of the reward's baselines in the unit of :meth:`findings`; NaN where it is not known."""
        if is_panel(self.reward):
            return 1.0
        return math.nan if self.gains is None else float(self.gains.spreads[0])

    def findings(self) -> Findings:
        """By the score of the single proxy, or by the gains combined over the panel."""
        caveats = tuple(sorted({proxy.caveat for proxy in self.reward.proxies if proxy.caveat}))
        found = []
        if not is_panel(self.reward):
            for i, function in enumerate(self.functions):
                scores, drops = self.fresh.scores[i, 0], self.chosen[0][i].drops
                outside = float(self.fresh.outside[i, 0].mean())
                found.append(self._finding(i, scores, drops, searched=function.searched, outside=outside))
            return self._findings(found, caveats)
        assert self.gains is not None
        for i, function in enumerate(self.functions):
            of_proxies = np.array([chosen[i].drops for chosen in self.chosen])
            lower, higher = in_spreads(of_proxies, self.gains.spreads[:, None]).mean(axis=0).tolist()
            found.append(self._finding(i, self.gains.combined[i], (lower, higher), searched=function.searched))
        return self._findings(found, (*caveats, *self._blunt_proxies()))

    def on_each_proxy(self) -> dict[str, Findings]:
        """Of a panel, by the score on each proxy, in the proxy's own unit; nothing of a single proxy."""
        if not is_panel(self.reward):
            return {}
        assert self.gains is not None
        findings = {}
        for place, (name, proxy) in enumerate(zip(self.reward.names, self.reward.proxies, strict=True)):
            found = []
            for i in range(len(self.functions)):
                finding = self._finding(
                    i,
                    self.fresh.scores[i, place],
                    self.chosen[place][i].drops,
                    place,
                    gain=float(self.gains.of_proxies[i, place].mean()),
                    outside=float(self.fresh.outside[i, place].mean()),
                )
                found.append(finding)
            caveats = (proxy.caveat,) if proxy.caveat else ()
            findings[name] = self._findings(found, caveats, place)
        return findings

    def _finding(
        self,
        i: int,
        scores: Floats,
        drops: tuple[float, float],
        place: int | None = None,
        *,
        searched: float | None = None,
        gain: float = math.nan,
        outside: float = math.nan,
    ) -> Finding:
        """One function on all proxies, or on one of them."""
        function, latency = self.functions[i], self.latencies[i]
        chosen = self.chosen if place is None else [self.chosen[place]]
        return Finding(
            name=function.name,
            title=function.title,
            formula=str(function.formula),
            scores=scores,
            searched=searched,
            rates=tuple(of_proxy[i] for of_proxy in chosen),
            drops=drops,
            latency=latency.ratio,
            latency_low=latency.low,
            latency_high=latency.high,
            gain=gain,
            outside=outside,
        )

    def _findings(self, found: Sequence[Finding], caveats: tuple[str, ...], place: int | None = None) -> Findings:
        """Formulas beside baselines, on all proxies or on one of them."""
        words, proxy, spread = words_of_scores(self.reward), "", self.spread
        if place is not None:
            assert self.gains is not None
            words, proxy = self.reward.proxies[place].task, self.reward.names[place]
            spread = float(self.gains.spreads[place])
        return Findings.of(
            [f for f in found if not f.name],
            [f for f in found if f.name],
            latency_label=self.latency_label,
            source=self.source,
            caveats=caveats,
            words=words,
            proxy=proxy,
            spread=spread,
        )

    def _blunt_proxies(self) -> list[str]:
        """Warnings of proxies whose unit is no larger than what luck does to one training."""
        assert self.gains is not None
        warnings = []
        for place, (name, proxy) in enumerate(zip(self.reward.names, self.reward.proxies, strict=True)):
            spread, noise = float(self.gains.spreads[place]), float(self.gains.noise[place])
            if spread <= noise:
                warnings.append(
                    f"{name} cannot tell the baselines apart: their means lie within {proxy.task.number(spread)} "
                    f"{proxy.task.unit}, and one function's seeds vary by {proxy.task.number(noise)}; gains on it are "
                    "mostly luck"
                )
        return warnings
