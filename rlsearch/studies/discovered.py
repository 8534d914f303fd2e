"""Functions that searches with this project have found, and that hold on tasks that those searches never saw.

What is listed here beats GELU and SiLU, after correction, on at least three tasks outside of the panel that it was
found by, and loses to them on none by more than 0.3 of the baselines' spread. ``docs/results.md`` has the tables, and
what has not been measured: among other things, language models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rlsearch.formula import Formula


@dataclass(frozen=True, slots=True)
class Discovered:
    """A function and what is known of it.

    Attributes:
        name: Under which the formula language knows it: ``Formula.parse("atanline(x)")``.
        formula: Its definition.
        evidence: What was measured, in a sentence or two.
        command: What makes the evidence again, after the search of ``search``.
        search: The search that found it.
    """

    name: str
    formula: Formula
    evidence: str
    command: str
    search: str


_ATANLINE = Discovered(
    name="atanline",
    formula=Formula.parse("atan(x) * (0.5 * x + 1)"),
    evidence=(
        "On its panel it gains 0.22 spreads over GELU (95 % interval 0.15 to 0.29). Of five tasks outside of the panel "
        "it is better than GELU on three and than SiLU on four, after correction for 90 pairs on each, and worse than "
        "neither on any. Searches from three seeds ended with it, up to its sign and that of x."
    ),
    command="rlsearch confirm RUN; rlsearch transfer RUN",
    search="rlsearch train configs/quickstart.yaml --seed 2",
)

discovered: Mapping[str, Discovered] = MappingProxyType({found.name: found for found in (_ATANLINE,)})
"""By name. Immutable."""
