"""One training, and what a trainer is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rlsearch.formula import Formula
from rlsearch.formula.tokens import PARAMETER_LETTERS

Kind = tuple[str, ...]
"""The inputs of a population's activations, in order, and the letters of their trained parameters. Formulas of one kind
can be trained together."""

_LETTERS_OF_KINDS = ("ab", "abcd")
"""Few, so that populations are full, and that kernels are compiled for few numbers of inputs."""


def kind_of(formula: Formula, *, gated: bool) -> Kind:
    """The kind of a formula in a network.

    A formula of an input that no network has gets a kind without it: the kernel refuses it by its name.

    Args:
        formula: The activation.
        gated: Whether the network has gated units, whose activations are functions of ``x`` and the gate ``g``.
    """
    inputs = ("x", "g") if gated and "g" in formula.inputs else ("x",)
    if not formula.parameters:
        return inputs
    letters = next(letters for letters in _LETTERS_OF_KINDS if set(formula.parameters) <= set(letters))
    return (*inputs, *letters)


def letters_of(kind: Kind) -> tuple[str, ...]:
    """The letters of the trained parameters in a kind."""
    return tuple(name for name in kind if name in PARAMETER_LETTERS)


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a proxy with a formula. Trainings of one proxy that are done together are a population.

    Attributes:
        formula: The activation.
        proxy: The proxy's name, which stands for all that decides a score but formula and seed; see
            :func:`~rlsearch.proxies.settings.proxy_name`.
        seed: Of the initial weights and the order of the examples.
        part: The part of the data set to score on, ``"validation"`` or ``"test"``. The key does not say it, so all
            trainings of one proxy name the same part.
    """

    formula: Formula
    proxy: str
    seed: int
    part: str = "validation"

    @property
    def key(self) -> tuple[str, str, int]:
        """Equal for trainings that give the same score: fingerprint, proxy name and seed."""
        return self.formula.fingerprint, self.proxy, self.seed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training that ended well gave.

    Attributes:
        score: What counts. Where inputs outside the range of training are scored too, it is a weighted mean of both.
        outside: The score on inputs outside the range of training; None where they are not scored.
        parameters: What the formula's parameters were at the end, by letter: the mean over channels at each place of
            the network that has numbers of its own.
    """

    score: float
    outside: float | None = None
    parameters: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands for what a training gave that came to no end: it raised, or took its process with it.

    Attributes:
        message: What happened, in words.
    """

    message: str


class Trainer(Protocol):
    """Trains populations of one proxy, one after the other.

    Members share nothing: a score depends on formula and seed only, and a member that becomes non-finite changes no
    bit of the others.
    """

    def train(self, population: Sequence[Training]) -> Sequence[Outcome | Failure | None]:
        """Trains one population.

        Args:
            population: At most as many as the trainer was made for, all of one part.

        Returns:
            What came of each member, or None where its training became non-finite.

        Raises:
            RewardError: If a user's own code raises. Whose member it was is found by training fewer.
        """
        ...
