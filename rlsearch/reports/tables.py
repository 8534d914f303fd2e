"""What the page shows as tables: gains by proxy, where formulas hold, the leaderboard, operators, and parts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.printing import to_infix
from rlsearch.formula.simplify import shown, simplified, titled
from rlsearch.formula.tokens import Token, arity, is_input
from rlsearch.judging.history import History, Judged
from rlsearch.judging.mirrors import best_groups
from rlsearch.studies.findings import Finding, Findings
from rlsearch.studies.study import Confirmation
from rlsearch.studies.transfer import holds

HEAT_STEPS = 4
"""Shades in each direction; a gain of :data:`HEAT_GAIN` spreads or more has the deepest."""

HEAT_GAIN = 1.0

LEADERS = 30
"""Rows of the leaderboard; each carries its source, and the page is to stay small."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A gain in a table.

    Attributes:
        text: The gain, with a mark where it is significant.
        shade: From -``HEAT_STEPS`` to ``HEAT_STEPS``; 0 where nothing is known.
        said: What the mark means; empty without one.
    """

    text: str
    shade: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class GainTable:
    """Gains of functions, in spreads of the baselines.

    Attributes:
        places: Names of the columns.
        under: What stands below each of them.
        rows: For each function its name, whether it is a baseline, and its cells.
    """

    places: tuple[str, ...]
    under: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[Cell, ...]], ...]


def cell(gain: float, *, better: bool = False, worse: bool = False, unknown: str = "diverged") -> Cell:
    """A gain as a cell; one that is not known says why."""
    if math.isnan(gain):
        return Cell(unknown)
    sign = {(True, False): " ▲", (False, True): " ▼"}.get((better, worse), "")
    said = {" ▲": "significantly better", " ▼": "significantly worse"}.get(sign, "")
    share = min(abs(gain) / HEAT_GAIN, 1.0)
    shade = int(math.copysign(math.ceil(HEAT_STEPS * share - 0.5), gain))
    return Cell(f"{gain + 0.0:+.2f}{sign}".replace("-", "\N{MINUS SIGN}"), shade, said)


def proxy_gains(proxies: Mapping[str, Findings], order: Sequence[Finding]) -> GainTable:
    """Gains on each proxy of a panel, beside the strongest baseline there.

    Args:
        proxies: The findings on each proxy.
        order: The functions, in the order of the rows.
    """
    under = [f"beside {found.compared_with[0].title}" if found.compared_with else "" for found in proxies.values()]
    rows = []
    for finding in order:
        cells = [_proxy_cell(finding.formula, found) for found in proxies.values()]
        rows.append((finding.title, bool(finding.name), tuple(cells)))
    return GainTable(tuple(proxies), tuple(under), tuple(rows))


def _proxy_cell(formula: str, found: Findings) -> Cell:
    gains = {f.formula: f.gain for f in (*found.formulas, *found.baselines)}
    rows = [f.formula for f in found.compared]
    if formula not in rows or not found.compared_with:
        return cell(gains.get(formula, math.nan))
    place = rows.index(formula), 0
    d = found.differences
    return cell(gains[formula], better=bool(d.better[place]), worse=bool(d.worse[place]))


def searched_gains(history: History, count: int = 10) -> GainTable | None:
    """Gains as the search saw them, of its best and of the references; None where it saw a single proxy.

    Of mirror images the best one has a row, as on the leaderboard.
    """
    references = [judged for judged in history.known.values() if judged.is_reference]
    best = [group.best for group in best_groups(history.found, count)]
    known = [judged for judged in (*best, *references) if judged.result.gains]
    places = tuple(known[0].result.gains) if known else ()
    if len(places) < 2:
        return None
    rows = []
    for judged in known:
        cells = [cell(judged.result.gains.get(place, math.nan), unknown="-") for place in places]
        rows.append((_title(judged), judged.is_reference, tuple(cells)))
    return GainTable(places, tuple("" for _ in places), tuple(rows))


def transfer_gains(transfers: Mapping[str, Confirmation]) -> GainTable:
    """Gains over GELU on other tasks, the formula with the highest mean first."""
    rows = []
    for hold in holds(transfers):
        cells = [
            cell(gain, better=target in hold.better, worse=target in hold.worse) for target, gain in hold.gains.items()
        ]
        rows.append((hold.formula, False, tuple(cells)))
    under = [o.findings.words.score if o.findings else "" for o in transfers.values()]
    return GainTable(tuple(transfers), tuple(under), tuple(rows))


@dataclass(frozen=True, slots=True)
class Leader:
    """A row of the leaderboard.

    Attributes:
        rank: From 1.
        judged: The function.
        formula: Its simplified spelling, which everything below is of.
        title: Its name, or its formula.
        latex: As LaTeX.
        source: As a standalone torch module.
    """

    rank: int
    judged: Judged
    formula: Formula
    title: str
    latex: str
    source: str


def leaders(history: History) -> list[Leader]:
    """The best functions of the search, references among them; of mirror images the best one."""
    rows = []
    for rank, group in enumerate(best_groups(history.leaderboard, LEADERS), start=1):
        formula = simplified(group.best.formula)
        rows.append(Leader(rank, group.best, formula, _title(group.best), formula.latex(), formula.source()))
    return rows


def _title(judged: Judged) -> str:
    """The name of a reference, or the formula."""
    return titled(judged.formula) if judged.is_reference else shown(judged.formula)


@dataclass(frozen=True, slots=True)
class Use:
    """How often an operator is used: shares of the best tenth, and of all functions with a score."""

    operator: str
    best: float
    all: float


def operator_uses(history: History) -> list[Use]:
    """The operators of the search's functions, those that the best use most first."""
    scored = [judged.formula for judged in history.leaderboard(len(history.known)) if not judged.is_reference]
    best = scored[: math.ceil(len(scored) / 10)]
    of_best, of_all = _shares(best), _shares(scored)
    uses = [Use(name, of_best.get(name, 0.0), share) for name, share in of_all.items()]
    return sorted(uses, key=lambda use: (-use.best, -use.all, use.operator))


def _shares(formulas: Sequence[Formula]) -> dict[str, float]:
    """The share of formulas that use each operator."""
    counts: Counter[str] = Counter()
    for formula in formulas:
        counts.update({str(token) for token in formula.tokens if token in OPERATORS})
    return {name: count / len(formulas) for name, count in counts.items()}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the winner, and where it was seen first.

    Attributes:
        text: The part.
        number: The function that had it first, counted from 1 in the order in which they came.
        first: That function.
        is_whole: Whether the part is the winner itself.
    """

    text: str
    number: int
    first: Judged
    is_whole: bool


def parts_seen_earlier(winner: Formula, history: History) -> list[Part]:
    """The first functions of a run with the parts that the winner has, the smallest part first.

    A run does not note the parents of a function, so this is no ancestry: the search may have written a part anew.
    Parts are compared as they are spelled.
    """
    known = history.known.get(winner.fingerprint)
    # Shown may be a simpler spelling than the search's own.
    spelled = known.formula if known else winner
    missing = {tokens for tokens in _subtrees(spelled.tokens) if len(tokens) > 1 and any(map(is_input, tokens))}
    parts = []
    for number, judged in enumerate(history.known.values(), start=1):
        there = missing.intersection(_subtrees(judged.formula.tokens)) if not judged.is_reference else set()
        parts += [Part(to_infix(tokens), number, judged, tokens == spelled.tokens) for tokens in there]
        missing -= there
        if not missing:
            break
    return sorted(parts, key=lambda part: (len(part.text), part.text))


def _subtrees(tokens: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """All subexpressions, each as its tokens."""
    found: list[tuple[Token, ...]] = []
    stack: list[tuple[Token, ...]] = []
    for token in reversed(tokens):
        operands = [stack.pop() for _ in range(arity(token))]
        subtree: tuple[Token, ...] = (token,)
        for operand in operands:
            subtree += operand
        stack.append(subtree)
        found.append(subtree)
    return found
