"""The settings of the search: its method, its budget, and what the methods other than PPO have to set."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from rlsearch.common.settings import Settings
from rlsearch.errors import FormulaError
from rlsearch.formula import Formula


def _is_formula(text: str) -> str:
    """Spells a formula exactly: one spelled out for people may need operators that a language lacks."""
    try:
        return Formula.parse(text).spelling
    except FormulaError as error:
        raise ValueError(str(error)) from None


class SearchSettings(Settings):
    """How formulas are found, and for how long; a run ends with what comes first, ``rounds`` or ``candidates``."""

    method: str = Field("ppo", description="search method: ppo, random, evolution, exhaustive or mining")
    rounds: int = Field(40, ge=1, description="rounds after which the run ends")
    formulas_per_round: int = Field(
        256, ge=2, description="formulas that are judged together, after which the method learns"
    )
    candidates: int | None = Field(None, ge=1, description="trained functions after which the run ends")
    warm_start: tuple[Annotated[str, AfterValidator(_is_formula)], ...] = Field(
        (), description="formulas of yours that open the search"
    )


class EvolutionSettings(Settings):
    """Regularised evolution."""

    population: int = Field(100, ge=2, description="how many of the functions judged last may become parents")
    tournament: int = Field(10, ge=1, description="functions that compete to be a parent; more is greedier")


Template = Annotated[
    tuple[str, ...] | None,
    Field(
        description="the form in prefix order, such as [binary, unary, x, unary, x]; None for every form up to "
        "language.max_length"
    ),
]


class ExhaustiveSettings(Settings):
    """Exhaustive search."""

    template: Template = None


class RungSettings(Settings):
    """One stage of successive halving."""

    functions: int = Field(
        ge=1, description="functions that are trained: the cheapest on the first rung, then the best of the rung before"
    )
    epochs: float = Field(1.0, gt=0, le=1, description="share of the proxy's epochs that they are trained for")
    seeds: int = Field(1, ge=1, le=1000, description="seeds of each function, those of earlier rungs included")


class MiningSettings(Settings):
    """Mining: every formula screened, the cheapest fit functions trained by successive halving.

    The rungs say all: ``search.rounds``, ``reward.seeds`` and ``rescoring`` do not apply.

    The default rungs train for all epochs, and differ in seeds. A shorter training orders functions otherwise: with
    three of the default panel's eight epochs the rank correlation with the whole is 0.76 on MNIST-1D and physics, and
    0.22 on the teacher (1,024 functions).
    """

    template: Template = None
    rungs: tuple[RungSettings, ...] = Field(
        (
            RungSettings(functions=4096),
            RungSettings(functions=512, seeds=2),
            RungSettings(functions=64, seeds=4),
            RungSettings(functions=16, seeds=12),
        ),
        min_length=1,
        description="the stages of successive halving, each for fewer functions and a longer training or more seeds",
    )
    memory_gib: float = Field(
        4.0, ge=0.1, description="memory for screening, in GiB; screening ends where it is used up"
    )

    @model_validator(mode="after")
    def _narrows(self) -> Self:
        for before, after in pairwise(self.rungs):
            if after.functions >= before.functions:
                raise ValueError(
                    f"a rung of {after.functions} functions after one of {before.functions}; expected fewer"
                )
            if after.epochs < before.epochs or (after.epochs, after.seeds) <= (before.epochs, before.seeds):
                raise ValueError(
                    f"a rung of {after.epochs:g} of the epochs and {after.seeds} seed(s) after one of "
                    f"{before.epochs:g} and {before.seeds}; expected a longer training or more seeds"
                )
        if self.rungs[-1].epochs != 1:
            raise ValueError(f"the last rung trains for {self.rungs[-1].epochs:g} of the epochs; expected 1")
        return self

    def rounds(self, formulas_per_round: int) -> int:
        """How many rounds the rungs take at most."""
        return sum(-(-rung.functions // formulas_per_round) for rung in self.rungs)
