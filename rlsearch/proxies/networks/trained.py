"""The trained parameters of K activations, at every place of a network where there is one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlsearch.formula import Formula

NUMBERS_MULTIPLE = 4
"""A letter's numbers are filled up to a multiple of this, so that a member's bits do not depend on its place."""


class TrainedParameters:
    """One number per letter and place, per letter and channel, or per letter alone, of each member.

    It is no module: its numbers are no weights. They start where the formulas say, and not from a seed.

    Args:
        members: K.
        letters: Of the parameters; a formula may lack some.
        channels: Of the activation's input at each place.
        sharing: Among what a number is shared: the channels of a ``"layer"``, the whole ``"network"``, or a
            ``"channel"``, which has its own.
        device: Where the network is.

    Attributes:
        letters: The letters.
        values: All numbers, ``[K, letters, numbers]``.
    """

    def __init__(
        self, members: int, letters: Sequence[str], channels: Sequence[int], sharing: str, device: torch.device
    ) -> None:
        self.letters = tuple(letters)
        # Where the numbers of each place lie.
        widths = list(channels) if sharing == "channel" else [1] * (1 if sharing == "network" else len(channels))
        starts = [sum(widths[:i]) for i in range(len(widths))]
        self._used = sum(widths)
        spans = list(zip(starts, widths, strict=True))
        self._spans = spans * len(channels) if sharing == "network" else spans
        self._places = spans
        filled = -(-self._used // NUMBERS_MULTIPLE) * NUMBERS_MULTIPLE
        self.values = nn.Parameter(torch.ones(members, len(letters), filled, device=device))

    def at(self, place: int, like: Tensor) -> list[Tensor]:
        """The parameters at a place, as further inputs of the activation there.

        Args:
            place: Its number.
            like: The activation's input, ``[K, ..., channels]``.

        Returns:
            One tensor per letter, ``[K, 1, ..., 1]``, or with the channels last where each has its own.
        """
        start, width = self._spans[place]
        shape = (len(self.values), *[1] * (like.dim() - 2), width)
        return [numbers.reshape(shape) for numbers in self.values.narrow(2, start, width).unbind(dim=1)]

    @torch.no_grad()
    def load(self, formulas: Sequence[Formula]) -> None:
        """Sets the parameters of each member to the start values of its formula."""
        starts = [[formula.parameters.get(letter, 1.0) for letter in self.letters] for formula in formulas]
        self.values.copy_(torch.tensor(starts).unsqueeze(2).expand_as(self.values))

    def learned(self, formulas: Sequence[Formula]) -> list[dict[str, tuple[float, ...]]]:
        """What each member's parameters are: a number per place, the mean over channels. Here the host waits."""
        of_places = [self.values[..., start : start + width].double().mean(dim=2) for start, width in self._places]
        found = torch.stack(of_places, dim=2).tolist()  # [K, letters, places]
        return [
            {letter: tuple(of_member[self.letters.index(letter)]) for letter in formula.parameters}
            for formula, of_member in zip(formulas, found, strict=True)
        ]
