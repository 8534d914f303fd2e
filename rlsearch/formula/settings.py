"""The settings of the language, as they stand in a config under ``language``."""

from typing import Self

from pydantic import Field, model_validator

from rlsearch.common.settings import Settings
from rlsearch.errors import ConfigError
from rlsearch.formula.grammar import Grammar
from rlsearch.formula.vocabulary import Vocabulary


class LanguageSettings(Settings):
    """Which formulas can be written."""

    inputs: tuple[str, ...] = ("x",)
    operators: tuple[str, ...] = (
        "neg", "abs", "square", "sqrt", "exp", "log", "sin", "tanh", "asinh", "atan", "sigmoid", "softplus",
        "relu", "min0", "erf", "gauss", "add", "sub", "mul", "div", "max", "min", "gate",
    )  # fmt: skip
    constants: tuple[float, ...] = (0.5, 1.0, 2.0)
    min_length: int = Field(3, ge=1)
    max_length: int = Field(12, ge=1, le=64)
    forbid_inverse_pairs: bool = True
    forbid_nested_periodic: bool = True
    forbid_constant_subexpressions: bool = True

    @model_validator(mode="after")
    def _is_a_grammar(self) -> Self:
        try:
            self.grammar()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def grammar(self) -> Grammar:
        """Returns the grammar of these settings."""
        return Grammar(
            Vocabulary(self.operators, self.inputs, self.constants),
            self.min_length,
            self.max_length,
            self.forbid_inverse_pairs,
            self.forbid_nested_periodic,
            self.forbid_constant_subexpressions,
        )
