"""The settings of the language, as they stand in a config under ``language``."""

from typing import Self

from pydantic import Field, model_validator

from rlsearch.common.settings import Settings
from rlsearch.errors import ConfigError, FormulaError
from rlsearch.formula.grammar import Grammar
from rlsearch.formula.rules import RULES
from rlsearch.formula.tokens import parameter_token
from rlsearch.formula.vocabulary import Vocabulary


class LanguageSettings(Settings):
    """Which formulas can be written."""

    inputs: tuple[str, ...] = Field(
        ("x",), description="single lower-case letters: x for an activation, x and g for a gated one"
    )
    operators: tuple[str, ...] = Field(
        (
            "neg", "abs", "square", "sqrt", "exp", "log", "sin", "tanh", "asinh", "atan", "sigmoid", "softplus",
            "relu", "min0", "erf", "gauss", "add", "sub", "mul", "div", "max", "min", "gate",
        ),
        description="names of operators; rlsearch operators lists them all",
    )  # fmt: skip
    constants: tuple[float, ...] = Field((0.5, 1.0, 2.0), description="numbers that a formula may contain")
    parameters: dict[str, float] = Field(
        {},
        description="trained parameters that a formula may contain, a to d, and where each starts, such as {a: 0.25}",
    )
    min_length: int = Field(3, ge=1, description="fewest tokens of a formula")
    max_length: int = Field(12, ge=1, le=64, description="most tokens of a formula")
    forbid_inverse_pairs: bool = Field(
        True, description="no operator directly inside its inverse, as in log(exp(x)) or --x"
    )
    forbid_nested_periodic: bool = Field(
        True, description="no periodic operator at any depth inside another, as in sin(x + cos(x))"
    )
    forbid_constant_subexpressions: bool = Field(True, description="no operator on constants alone, as in x + sin(1)")

    @model_validator(mode="after")
    def _is_a_grammar(self) -> Self:
        try:
            self.grammar()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def is_gated(self) -> bool:
        """Whether formulas of gated units can be written: those of several inputs."""
        return len(self.inputs) > 1

    def grammar(self) -> Grammar:
        """The grammar of these settings.

        Raises:
            ConfigError: If no formula can be written with them.
        """
        try:
            parameters = tuple(parameter_token(letter, start) for letter, start in self.parameters.items())
        except FormulaError as error:
            raise ConfigError(str(error)) from None
        vocabulary = Vocabulary(self.operators, self.inputs, self.constants, parameters)
        rules = tuple(rule for setting, rule in RULES.items() if getattr(self, setting))
        return Grammar(vocabulary, self.min_length, self.max_length, rules)
