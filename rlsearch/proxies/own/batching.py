"""Decides whether the members of a user's own network are trained together, which must be right, isolated and faster.

The two ways differ by rounding, so a choice must not change between two sittings: it is made once per machine and
kept in its cache folder, and a run writes it into its config.
"""

import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rlsearch.common.cache import cache_file, kept
from rlsearch.common.device import device_type, is_cpu
from rlsearch.common.threads import no_denormals, one_thread
from rlsearch.common.users_code import FAILURES, as_message, users_code, what_was_raised
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own.factories import check_network, source_digest
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.trainer import Networks, OwnTrainer
from rlsearch.proxies.trainers.population import current_device

_LOGGER = logging.getLogger(__name__)

POPULATION = {"cpu": 16, "cuda": 64}
"""Members that are trained together, by type of device."""

TOLERANCE = 1e-3
"""Relative difference up to which two results are equal: rounding gives 1e-5 or less, another computation far more."""

TIMED_ROUNDS = 5
"""Of which the fastest counts."""

TIMED_ALONE = 4
"""Members that are trained one by one in each round."""

# Without kinks, to whose other side rounding could lead.
_SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "x + sin(x)", "gelu(x)")]
_EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")


def completed(settings: OwnProxySettings, kernel: Kernel, device: str) -> OwnProxySettings:
    """Spells out what the settings leave open: the source's digest, ``batched`` and the population.

    Args:
        settings: The proxy. Network and data are built once and checked.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigError: If the factories are wrong, or were edited since the run began.
    """
    source = source_digest(settings)
    if settings.source is None or settings.batched == "auto":
        check_network(settings)
    population = settings.population or POPULATION[device_type(device)]
    together = settings.model_copy(update={"source": source, "batched": True, "population": population})
    batched = settings.batched
    if batched == "auto":
        batched = _choice(together, kernel, device)
    if batched:
        return together
    return together.model_copy(update={"batched": False, "population": settings.population or 1})


def _choice(settings: OwnProxySettings, kernel: Kernel, device: str) -> bool:
    """Whether this machine trains members together: from its cache folder, or found out now."""

    def choose() -> tuple[bool, str]:
        batched, reason = _choose(settings, kernel, device)
        way = "together" if batched else "one by one"
        _LOGGER.info("%s: members are trained %s: %s", settings.target, way, reason)
        return batched, reason

    batched, _ = kept(_file(settings, kernel, device), _read, choose, _write)
    return batched


def way_of(settings: OwnProxySettings, kernel: Kernel, device: str) -> str:
    """How members are trained, and why: ``"one by one: vmap has no rule for aten::gru.input"``.

    Args:
        settings: The proxy, with nothing left open.
        kernel: Computes the activations.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    """
    way = "together" if settings.batched else "one by one"
    population = settings.population
    if not settings.batched and population == 1:
        population = POPULATION[device_type(device)]
    asked = settings.model_copy(update={"batched": True, "population": population})
    try:
        batched, reason = _read(_file(asked, kernel, device))
    except (OSError, ValueError, KeyError, TypeError):
        batched, reason = not settings.batched, ""
    return f"{way}: {reason}" if batched == settings.batched else f"{way}, as the config says"


def _file(settings: OwnProxySettings, kernel: Kernel, device: str) -> Path:
    """Where the choice is kept."""
    machine = "cpu" if is_cpu(device) else torch.cuda.get_device_name(device)
    deciding = settings.model_dump_json(exclude={"data_seed", "learning_rate", "epochs"})
    return cache_file("batched", f"{deciding} {kernel.name} {machine} {torch.__version__}", ".json")


def _read(path: Path) -> tuple[bool, str]:
    choice = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(choice["batched"], bool):
        raise TypeError(f"expected true or false, got {choice['batched']!r}")
    return choice["batched"], choice["reason"]


def _write(choice: tuple[bool, str], path: Path) -> None:
    batched, reason = choice
    path.write_text(json.dumps({"batched": batched, "reason": reason}), encoding="utf-8")


def _choose(settings: OwnProxySettings, kernel: Kernel, device: str) -> tuple[bool, str]:
    """Whether to train members together, and why."""
    assert settings.population is not None
    if settings.population == 1:
        return False, "a population is one member"
    trainer = OwnTrainer(settings, kernel, device, settings.population)
    with one_thread(), no_denormals(), current_device(torch.device(device)), warnings.catch_warnings():
        # The warning goes on "... because we have not yet implemented the batching rule": vmap then loops over
        # members, which is slower than one by one.
        warnings.filterwarnings("error", message="There is a performance drop")
        try:
            problem = _difference(trainer) or _dependence(trainer)
        except FAILURES as error:  # whatever vmap or a user's network raises: it does not work
            problem = _in_words(error)
        if problem:
            return False, problem
        together, alone = _seconds(trainer)
    return together < alone, f"{together:.2e} s per member and step together, {alone:.2e} s alone"


def _in_words(error: BaseException) -> str:
    """What vmap could not do. Of an operator without a rule torch says much else, too."""
    text = as_message(error)
    found = re.search(r"batching rule (?:not implemented )?for ([\w:.]*\w)", text, re.IGNORECASE)
    return f"vmap has no rule for {found[1]}" if found else f"vmap raised {what_was_raised(error)}"


def _difference(trainer: OwnTrainer) -> str:
    """How the first step of members together differs from that of each alone; empty if by rounding."""
    members = _members(trainer, _SMOOTH)
    rows = trainer.orders(members)[0]
    together = trainer.together(members)
    logits = _first_step(trainer, together, rows)
    for k, member in enumerate(members):
        alone = trainer.alone(member)
        expected = _first_step(trainer, alone, rows[k : k + 1])
        gradients = {name: p.grad for name, p in alone.parameters.items() if p.grad is not None}
        # What is compared: a name, both results, and the size of a number that counts as large beside them.
        pairs = [(f"logits {i}", logits[i][k], expected[i][0], 0.0) for i in range(len(expected))]
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        for name, gradient in gradients.items():
            pairs.append((f"gradient of {name}", together.parameters[name].grad[k], gradient, largest))
        for name, buffer in alone.buffers.items():
            pairs.append((name, together.buffers[name][k], buffer, 0.0))

        for name, a, b, scale in pairs:
            apart = float((a.detach().double() - b.detach().double()).abs().max())
            # Written so that NaN differs.
            if not apart <= TOLERANCE * max(float(b.detach().abs().max()), 0.01 * scale, 1e-6):
                return f"{name} of '{member.formula}' differs by {apart:.1e} from that of one network"
    return ""


def _first_step(trainer: OwnTrainer, networks: Networks, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The logits in training, and after the step on the same examples."""
    with users_code(0, rows.device):
        training = trainer.backward(networks, rows)
    with networks.evaluating(), torch.no_grad():
        return training, networks(trainer.inputs(rows))


def _dependence(trainer: OwnTrainer) -> str:
    """What of a member depends on its place, or on neighbours that become NaN; empty if nothing."""
    formula = _SMOOTH[0]
    results = []
    for formulas in ([formula], [formula, _EXPLODING]):
        members = _members(trainer, formulas)
        networks = trainer.together(members)
        optimiser = trainer.optimiser(networks)
        with users_code(0, trainer.device):
            for rows in [trainer.orders(members)[0]] * 2:
                trainer.step(networks, optimiser, rows)
        results.append({**networks.parameters, **networks.buffers})
    for name in results[0]:
        first, among_others = results[0][name].detach(), results[1][name].detach()
        if not (torch.equal(first, first[:1].expand_as(first)) and torch.equal(first[::2], among_others[::2])):
            return f"{name} of a member depends on its place in the population or on its neighbours"
    return ""


def _members(trainer: OwnTrainer, formulas: Sequence[Formula]) -> list[Training]:
    return [Training(formulas[k % len(formulas)], "", 0) for k in range(trainer.size)]


def _seconds(trainer: OwnTrainer) -> tuple[float, float]:
    """Seconds of a step per member, together and alone: the fastest of some rounds, timed in turn."""
    members = _members(trainer, _SMOOTH)
    rows = trainer.orders(members)[0]
    together = trainer.together(members)
    singles = [trainer.alone(member) for member in members[:TIMED_ALONE]]
    all_networks: list[Networks] = [together, *singles]
    optimisers = [trainer.optimiser(networks) for networks in all_networks]

    def timed(what: Callable[[], None]) -> float:
        if not rows.is_cuda:
            # Of this process alone: others may disturb it.
            started = time.process_time()
            what()
            return time.process_time() - started
        started = time.perf_counter()
        what()
        torch.cuda.synchronize(rows.device)
        return time.perf_counter() - started

    def all_alone() -> None:
        for networks, optimiser in zip(singles, optimisers[1:], strict=True):
            trainer.step(networks, optimiser, rows[:1])

    of_together, of_alone = [], []
    for _ in range(TIMED_ROUNDS):
        of_together.append(timed(lambda: trainer.step(together, optimisers[0], rows)))
        of_alone.append(timed(all_alone))
    return min(of_together) / len(members), min(of_alone) / len(singles)
