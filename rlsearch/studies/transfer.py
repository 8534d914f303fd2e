"""Whether what a search found holds elsewhere: its best formulas on the proxies of other configs, called targets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from rlsearch.common.progress import Events, Prefixed
from rlsearch.formula import Formula
from rlsearch.formula.named import CONFIRMED_AGAINST
from rlsearch.rewards.settings import function
from rlsearch.rewards.trainable import check_trainable
from rlsearch.runs.config import Config
from rlsearch.runs.folder import Run, opened
from rlsearch.studies.findings import Findings
from rlsearch.studies.functions import baselines_of, functions_of, usual_baselines
from rlsearch.studies.retrain import Options
from rlsearch.studies.study import Confirmation, study, with_proxies

RIVALS = ("gelu", "silu")
"""What a formula must beat on many targets to be worth a change. Gains are told over the first of them."""


def transfer(
    run: Run | Path | str,
    configs: Mapping[str, Config],
    *,
    best: int = 10,
    mirrors: bool = False,
    baselines: Sequence[str] | None = None,
    options: Options = Options(),
    events: Events = Events(),
) -> dict[str, Confirmation]:
    """Confirms the best functions of a run on the proxies of other configs; files go to ``transfer-NAME`` in the run.

    Args:
        run: The run folder; nobody else may be writing to it.
        configs: By name.
        best: How many functions, baselines not counted.
        mirrors: Whether mirror images, such as ``f(x)`` and ``-f(x)``, are all taken; else only the best of them.
        baselines: Names or formulas, as for :func:`~rlsearch.studies.confirm.confirm`; :data:`RIVALS` are always among
            them.
        options: How much is trained.
        events: Told of progress.

    Returns:
        The outcomes by name; an interrupted one is the last.

    Raises:
        ConfigError: If a config's reward has no proxies.
        InputError: If there is nothing to confirm, or a proxy cannot train a function.
        RunError: If the folder is not a run, is in use, or has no formula with a score.
        RewardError: If a reward's reference diverges, and gains cannot be counted.
    """
    run = opened(run)
    asked = usual_baselines(run.config, CONFIRMED_AGAINST) if baselines is None else baselines
    named = baselines_of([*asked, *RIVALS])
    ready = {name: with_proxies(config) for name, config in configs.items()}
    outcomes: dict[str, Confirmation] = {}
    with functions_of(run, best, named, mirrors=mirrors) as found:
        # What the search saw was on other proxies.
        functions = [replace(function, searched=None) for function in found]
        # Before anything is trained for the first of them.
        for config in ready.values():
            check_trainable([function.formula for function in functions], config.proxies)
        for name, config in ready.items():
            folder = run.folder / f"transfer-{name}"
            told = Prefixed(f"{name}: ", events)
            outcomes[name] = study(functions, config, folder, run, options, told, "of this run", with_spread=True)
            if outcomes[name].findings is None:
                break
    return outcomes


@dataclass(frozen=True, slots=True)
class Hold:
    """How a formula does over all targets.

    Attributes:
        formula: The formula.
        gains: Over GELU, in spreads of the target's baselines, by target; NaN where one of the two diverged.
        better: The targets on which it is significantly better than GELU, among all pairs compared there.
        worse: Those on which it is significantly worse.
        beaten: On how many targets it is significantly better than each of :data:`RIVALS`.
    """

    formula: str
    gains: Mapping[str, float]
    better: frozenset[str]
    worse: frozenset[str]
    beaten: Mapping[str, int]

    @property
    def worst(self) -> str:
        """The target with the lowest gain; first of all one where there is none."""
        return min(self.gains, key=lambda target: _or_lowest(self.gains[target]))


def holds(outcomes: Mapping[str, Confirmation]) -> list[Hold]:
    """How each formula does over all targets that were finished, the highest mean gain first.

    Args:
        outcomes: Of :func:`transfer`.
    """
    finished = {name: (o.findings, o.spread) for name, o in outcomes.items() if o.findings is not None}
    formulas = chain.from_iterable(findings.formulas for findings, _ in finished.values())
    found = [_hold(text, finished) for text in dict.fromkeys(finding.formula for finding in formulas)]
    return sorted(found, key=lambda hold: sum(map(_or_lowest, hold.gains.values())), reverse=True)


def _hold(formula: str, finished: Mapping[str, tuple[Findings, float]]) -> Hold:
    beside = {rival: _beside(formula, rival, finished) for rival in RIVALS}
    first = beside[RIVALS[0]]
    return Hold(
        formula,
        {target: gain for target, (gain, _, _) in first.items()},
        frozenset(target for target, (_, better, _) in first.items() if better),
        frozenset(target for target, (_, _, worse) in first.items() if worse),
        {rival: sum(better for _, better, _ in on_targets.values()) for rival, on_targets in beside.items()},
    )


def _beside(
    formula: str, rival: str, finished: Mapping[str, tuple[Findings, float]]
) -> dict[str, tuple[float, bool, bool]]:
    """A formula's gain over a rival on each target, in spreads, and whether it is surely better, or worse."""
    fingerprint = function(rival).fingerprint
    found = {}
    for target, (findings, spread) in finished.items():
        rows = [f.formula for f in findings.compared]
        columns = [Formula.parse(baseline.formula).fingerprint for baseline in findings.compared_with]
        if formula not in rows or fingerprint not in columns:
            found[target] = math.nan, False, False
            continue
        place, d = (rows.index(formula), columns.index(fingerprint)), findings.differences
        gain = float(d.mean[place]) / spread if spread else 0.0
        found[target] = gain, bool(d.better[place]), bool(d.worse[place])
    return found


def _or_lowest(gain: float) -> float:
    return -math.inf if math.isnan(gain) else gain
