"""Where formulas hold: on which proxies of a panel, or on which targets of a transfer, they win and lose."""

from collections.abc import Mapping

from rlsearch.studies.findings import Findings


def where_they_hold(findings: Mapping[str, Findings]) -> list[str]:
    """One sentence per formula: where it beats how many baselines, and where it loses; the most widely good first.

    Args:
        findings: Of the same formulas, by the name of the place.
    """
    beaten: dict[str, dict[str, int]] = {}
    lost: dict[str, dict[str, int]] = {}
    for place, found in findings.items():
        for row, formula in enumerate(found.compared):
            beaten.setdefault(formula.formula, {})[place] = len(found.beaten(row))
            lost.setdefault(formula.formula, {})[place] = len(found.lost_to(row))

    sentences = []
    order = sorted(beaten, key=lambda text: (-sum(beaten[text].values()), sum(lost[text].values())))
    for text in order:
        wins, losses = beaten[text], lost[text]
        if not any(wins.values()) and not any(losses.values()):
            continue
        parts = [_how_many(wins.get(place), len(found.compared_with), place) for place, found in findings.items()]
        sentence = f"`{text}` beats {', '.join(parts)}"
        worse = [_how_many(n, len(findings[place].compared_with), place) for place, n in losses.items() if n]
        sentences.append(f"{sentence}; loses to {', '.join(worse)}" if worse else sentence)
    return sentences or ["no formula is better or worse than any baseline anywhere, as far as the evidence goes"]


def _how_many(count: int | None, of: int, place: str) -> str:
    if count is None:
        return f"nothing on {place} (it diverged there)"
    if not of:
        return f"nothing on {place} (every baseline diverged there)"
    amount = {0: "none", of: "every baseline"}.get(count, f"{count} of {of}")
    return f"{amount} on {place}"
