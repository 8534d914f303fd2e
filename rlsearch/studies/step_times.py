"""The time of a training step of a whole network, with one function and with another, measured side by side.

Latency is of the activation alone. A network spends most of its time on other things, so what a slower activation costs
there is less.
"""

from collections.abc import Callable, Sequence

import numpy as np

from rlsearch.common.device import device_type
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import clock_of, ratios_in_turn
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings, TrainingSettings
from rlsearch.studies.paired import Floats
from rlsearch.studies.retrain import MIN_PART_SIZE

ROUNDS = 9

TIMED_STEPS = 32
"""Of one timed training; in fewer its beginning and its score would count for too much."""

TIMED_MEMBERS = {"cpu": 4, "cuda": 16}
"""Of the population that is timed, all with one function; by device type."""


def step_times(
    formulas: Sequence[Formula],
    baseline: Formula,
    proxy: TrainingSettings,
    kernel: Kernel,
    device: str,
    rounds: int = ROUNDS,
) -> Floats:
    """The time of a training step with each formula, as ratios to the baseline's, each measured right after it.

    A step is forward pass, loss, backward pass and optimiser, by the trainer and the kernel that scores come from.
    What is timed are short trainings. One of a user's own network has one epoch of all of its data, and one by a user's
    own code is whole.

    Args:
        formulas: What is timed.
        baseline: What each is compared with.
        proxy: The proxy.
        kernel: Computes the activations.
        device: Where.
        rounds: How often.

    Returns:
        Shape ``[formulas, rounds]``.
    """
    timed = Proxy(_short(proxy, device), kernel, device)
    members = TIMED_MEMBERS[device_type(device)]

    def training(formula: Formula) -> Callable[[], object]:
        population = [Training(formula, timed.name, seed, "test") for seed in range(members)]
        return lambda: timed.train(population)

    ways = {place: training(formula) for place, formula in enumerate(formulas)}
    with one_thread():
        ratios = ratios_in_turn(ways, training(baseline), rounds, clock_of(device))
    return np.array([ratios[place] for place in ways])


def _short(proxy: TrainingSettings, device: str) -> TrainingSettings:
    """The proxy trained for some steps, and scored on next to nothing."""
    changes: dict[str, object] = {"epochs": 1, "evaluations": 1, "learning_rates": ()}
    if isinstance(proxy, ProxySettings):
        changes |= {
            "train_size": min(proxy.sizes[0], TIMED_STEPS * proxy.batch_size),
            "validation_size": MIN_PART_SIZE,
            "test_size": MIN_PART_SIZE,
            "population": TIMED_MEMBERS[device_type(device)],
        }
    return proxy.check(proxy.model_dump() | changes)
