"""Trains by a user's own function, one candidate after the other."""

import math
from collections.abc import Sequence

import torch

from rlsearch.common.targets import find_target
from rlsearch.common.threads import no_denormals, one_thread
from rlsearch.common.users_code import FAILURES, as_message, users_code, what_was_raised
from rlsearch.errors import RewardError, RlsearchError
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Outcome, Training
from rlsearch.proxies.own.factories import source_digest
from rlsearch.proxies.own.settings import OwnTrainingSettings
from rlsearch.proxies.own.trainer import activation_alone
from rlsearch.proxies.trainers.population import current_device


def completed_training(settings: OwnTrainingSettings) -> OwnTrainingSettings:
    """Spells out what the settings leave open: the source's digest, and that each candidate is trained by itself.

    Raises:
        ConfigError: If the function cannot be found or called, or was edited since the run began.
    """
    checked = settings if settings.source is not None else settings.checked()
    return checked.model_copy(update={"source": source_digest(settings), "population": 1})


class OwnTraining:
    """Calls a user's training; a :class:`~rlsearch.proxies.base.Trainer`.

    Global random numbers come from a member's seed, and the process is left as it was.

    Args:
        settings: The proxy.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigError: If the function was edited since the run began.
    """

    def __init__(self, settings: OwnTrainingSettings, kernel: Kernel, device: str) -> None:
        source_digest(settings)
        self.settings = settings
        self._kernel = kernel
        self._device = torch.device(device)

    def train(self, population: Sequence[Training]) -> list[Outcome | None]:
        """Trains members one after the other; see :class:`~rlsearch.proxies.base.Trainer`.

        Raises:
            RewardError: If the function raises, or returns something else than a number.
        """
        return [self._trained(member) for member in population]

    def _trained(self, member: Training) -> Outcome | None:
        target = self.settings.target
        train = find_target(target)
        activation = activation_alone(member.formula, self._kernel)
        given = self.settings.given(member.part)
        try:
            with (
                one_thread(), no_denormals(), current_device(self._device), torch.enable_grad(),
                users_code(member.seed, self._device),
            ):  # fmt: skip
                returned = train(activation, seed=member.seed, device=self._device, **given)
        except (RlsearchError, torch.OutOfMemoryError):
            raise
        except FAILURES as error:  # whatever a user's code raises
            raise RewardError(f"{target} with '{member.formula}' raised {what_was_raised(error)}") from error
        try:
            score = float(returned)
        except FAILURES as error:
            got = f"{type(returned).__name__}: {as_message(returned)}"
            raise RewardError(f"{target} returned a {got}; expected a number, the score") from error
        return Outcome(score) if math.isfinite(score) else None
