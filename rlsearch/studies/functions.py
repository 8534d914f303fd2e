"""What a study trains: the best functions of a run, or formulas that were given, and the baselines beside them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rlsearch.errors import InputError, RunError
from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.mirrors import MOST_IMAGES
from rlsearch.formula.named import GATED_SHOWN, NAMED, title_of
from rlsearch.formula.simplify import simplified
from rlsearch.judging.mirrors import grouped
from rlsearch.rewards.settings import function
from rlsearch.runs.config import Config
from rlsearch.runs.folder import Run
from rlsearch.runs.read import read_history
from rlsearch.studies.gains import searched_score


@dataclass(frozen=True, slots=True)
class Function:
    """A function of ``x``, or a gated one.

    Attributes:
        name: Of a baseline: a name such as ``"gelu"``, or its formula; else empty.
        formula: The function.
        searched: The score that a search saw of it; None if none did.
    """

    name: str
    formula: Formula
    searched: float | None = None

    @property
    def title(self) -> str:
        """How a text calls it: ``"GELU"``, or the formula."""
        return title_of(self.name) if self.name else str(self.formula)


def usual_baselines(config: Config, pointwise: Sequence[str]) -> Sequence[str]:
    """The baselines where none are asked for: ``pointwise``, or those of gated units if the language has such."""
    return GATED_SHOWN if config.language.is_gated else pointwise


def baselines_of(texts: Sequence[str]) -> list[Function]:
    """The baselines that were asked for, each function once.

    Args:
        texts: Names of published functions or of operators, or formulas of ``x``, or of ``x`` and ``g``.

    Raises:
        FormulaError: If one is none of these.
        InputError: If there is none.
    """
    if not texts:
        raise InputError("expected at least one baseline, such as gelu")
    baselines: dict[str, Function] = {}
    for text in texts:
        formula = function(text)
        name = text if text in NAMED or text in OPERATORS else str(formula)
        baselines.setdefault(formula.fingerprint, Function(name, formula))
    return list(baselines.values())


def beside_baselines(
    formulas: Mapping[str, Formula], searched: Mapping[str, float | None], baselines: Sequence[Function]
) -> list[Function]:
    """Formulas and baselines; a formula that is a baseline is listed as that baseline.

    Args:
        formulas: By fingerprint.
        searched: The scores that a search saw, by fingerprint.
        baselines: The baselines.
    """
    names = {baseline.formula.fingerprint: baseline.name for baseline in baselines}
    found = [Function("", f, searched.get(key)) for key, f in formulas.items() if key not in names]
    return found + [Function(b.name, b.formula, searched.get(b.formula.fingerprint)) for b in baselines]


@contextmanager
def functions_of(
    run: Run, best: int, baselines: Sequence[Function], *, mirrors: bool = False
) -> Iterator[list[Function]]:
    """Yields a run's best functions, simplified, and the baselines, and keeps others from writing to the run.

    Args:
        run: The run.
        best: How many, baselines not counted.
        baselines: The baselines.
        mirrors: Whether mirror images are functions of their own; else only the best of them is taken.

    Raises:
        InputError: If none is asked for.
        RunError: If the run is in use, or has no formula with a score.
    """
    if best < 1:
        raise InputError(f"expected at least one function to confirm, got {best}")
    with run.lock():
        history = read_history(run)
        names = {baseline.formula.fingerprint for baseline in baselines}
        found = history.found(best * (1 if mirrors else MOST_IMAGES) + len(names))
        found = [judged for judged in found if judged.formula.fingerprint not in names]
        if not mirrors:
            found = [group.best for group in grouped(found)]
        chosen = [simplified(judged.formula) for judged in found[:best]]
        if not chosen:
            raise RunError(f"the run {run.folder} has no formula with a score yet")
        # The scores of a reward of the user's own are of another kind.
        reward = run.config.proxy_reward
        known = {f: searched_score(judged.result, reward)[0] for f, judged in history.known.items()} if reward else {}
        yield beside_baselines({formula.fingerprint: formula for formula in chosen}, known, baselines)
