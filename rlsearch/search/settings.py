"""The settings of the search: its method, its budget, and what the methods other than PPO have to set."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from rlsearch.errors import FormulaError
from rlsearch.formula import Formula
from rlsearch.settings import Settings


def _is_formula(text: str) -> str:
    try:
        return str(Formula.parse(text))
    except FormulaError as error:
        raise ValueError(str(error)) from None


Method = Literal["ppo", "random", "evolution", "exhaustive"]
METHODS: tuple[str, ...] = get_args(Method)


class SearchSettings(Settings):
    """How formulas are found, and for how long; a run ends with what comes first, ``rounds`` or ``candidates``."""

    method: Method = "ppo"
    rounds: int = Field(40, ge=1)
    formulas_per_round: int = Field(256, ge=2)
    candidates: int | None = Field(None, ge=1, description="trained functions after which the run ends")
    warm_start: tuple[Annotated[str, AfterValidator(_is_formula)], ...] = Field(
        (), description="formulas that open the search; none, so that rediscovery is honest"
    )


class EvolutionSettings(Settings):
    """Regularised evolution."""

    population: int = Field(100, ge=2, description="functions that may become parents: those judged last")
    tournament: int = Field(10, ge=1, description="functions that compete to be a parent; more is greedier")


class ExhaustiveSettings(Settings):
    """Exhaustive search."""

    template: tuple[str, ...] | None = Field(
        None,
        description="the form in prefix order, such as [binary, unary, x, unary, x]; None for every form up to "
        "language.max_length",
    )
