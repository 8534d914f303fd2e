"""Decides whether the members of a user's own network are trained together, which must be right, isolated and faster.

The two ways differ by rounding, so a choice must not change between two sittings: it is made once per machine and
kept in its cache folder, and a run writes it into its config.
"""

import hashlib
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from rlsearch.common.cache import cache_folder
from rlsearch.common.threads import no_denormals, one_thread
from rlsearch.formula import Formula
from rlsearch.kernels import Kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own.factories import check_network, random_numbers_of, source_digest
from rlsearch.proxies.own.trainer import Networks, OwnTrainer
from rlsearch.proxies.settings import OwnProxySettings
from rlsearch.proxies.trainers.population import current_device

_LOGGER = logging.getLogger(__name__)

_MEMBERS = {"cpu": 16, "cuda": 64}  # of a population
_SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "x + sin(x)", "gelu(x)")]  # no kinks to fall beside
_EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
_TOLERANCE = 1e-3  # relative; rounding gives 1e-5 or less, another computation far more
_ROUNDS = 5  # of the measurement, of which the fastest counts
_MEASURED_ALONE = 4


def decided(settings: OwnProxySettings, kernel: Kernel, device: str) -> OwnProxySettings:
    """Returns the settings with source, ``batched`` and population spelled out, and everything checked.

    Raises:
        ConfigError: If the factories are wrong, or were edited since the run began.
    """
    source = source_digest(settings)
    if settings.source is None or settings.batched == "auto":
        check_network(settings)
    population = settings.population or _MEMBERS[torch.device(device).type]
    together = settings.model_copy(update={"source": source, "batched": True, "population": population})
    batched = settings.batched
    if batched == "auto":
        batched = _kept(together, kernel, device)
    if batched:
        return together
    return together.model_copy(update={"batched": False, "population": settings.population or 1})


def _kept(settings: OwnProxySettings, kernel: Kernel, device: str) -> bool:
    """Returns this machine's choice from the cache folder, made now if it is not there."""
    machine = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
    deciding = settings.model_dump_json(exclude={"data_seed", "learning_rate", "epochs"})
    text = f"{deciding} {kernel.name} {machine} {torch.__version__}"
    path = cache_folder() / f"batched-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))["batched"]
        if isinstance(kept, bool):
            return kept
    batched, reason = _chosen(settings, kernel, device)
    _LOGGER.info("%s: members are trained %s: %s", settings.target, "together" if batched else "one by one", reason)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):  # a cache that fails is ignored
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"batched": batched, "reason": reason}), encoding="utf-8")
        partial.replace(path)
    return batched


def _chosen(settings: OwnProxySettings, kernel: Kernel, device: str) -> tuple[bool, str]:
    """Returns whether to train members together, and why."""
    assert settings.population is not None
    if settings.population == 1:
        return False, "a population is one member"
    trainer = OwnTrainer(settings, kernel, device, settings.population)
    with one_thread(), no_denormals(), current_device(torch.device(device)), warnings.catch_warnings():
        # "...because we have not yet implemented the batching rule": it loops over members, slower than one by one.
        warnings.filterwarnings("error", message="There is a performance drop")
        try:
            problem = _difference(trainer) or _leak(trainer)
        except Exception as error:  # whatever vmap or a user's network raises: it does not work
            problem = f"vmap raised {type(error).__name__}: {error}"
        if problem:
            return False, problem
        together, alone = _seconds(trainer)
    return together < alone, f"{together:.2e} s per member and step together, {alone:.2e} s alone"


def _difference(trainer: OwnTrainer) -> str:
    """Returns how the first step of members trained together differs from that of each alone; empty if by rounding."""
    members = _members(trainer, _SMOOTH)
    rows = trainer.orders(members)[0]
    together = trainer.together(members)
    logits = _first_step(trainer, together, rows)
    for k, member in enumerate(members):
        alone = trainer.alone(member)
        expected = _first_step(trainer, alone, rows[k : k + 1])
        gradients = {name: p.grad for name, p in alone.parameters.items() if p.grad is not None}
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        pairs = [
            *((f"logits {i}", a[k], b[0], 0.0) for i, (a, b) in enumerate(zip(logits, expected, strict=True))),
            *((f"gradient of {n}", together.parameters[n].grad[k], g, largest) for n, g in gradients.items()),
            *((name, together.buffers[name][k], buffer, 0.0) for name, buffer in alone.buffers.items()),
        ]
        for name, a, b, scale in pairs:
            apart = float((a.detach().double() - b.detach().double()).abs().max())
            if not apart <= _TOLERANCE * max(float(b.detach().abs().max()), 0.01 * scale, 1e-6):
                return f"{name} of '{member.formula}' differs by {apart:.1e} from that of one network"
    return ""


def _first_step(trainer: OwnTrainer, networks: Networks, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the logits in training, and after it on the same examples."""
    with random_numbers_of(0, rows.device):
        training = trainer.backward(networks, rows)
    networks.evaluate()
    with torch.no_grad():
        return training, networks(trainer.inputs(rows))


def _leak(trainer: OwnTrainer) -> str:
    """Returns whether a member's bits depend on its place, or on neighbours that become NaN; empty if not."""
    formula = _SMOOTH[0]
    results = []
    for formulas in ([formula], [formula, _EXPLODING]):
        members = _members(trainer, formulas)
        networks = trainer.together(members)
        optimiser = trainer.optimiser(networks)
        with random_numbers_of(0, trainer.device):
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
    """Returns the fastest step per member, together and alone, measured in turn."""
    members = _members(trainer, _SMOOTH)
    rows = trainer.orders(members)[0]
    together = trainer.together(members)
    singles = [trainer.alone(member) for member in members[:_MEASURED_ALONE]]
    all_networks: list[Networks] = [together, *singles]
    optimisers = [trainer.optimiser(networks) for networks in all_networks]

    def timed(what: Callable[[], None]) -> float:
        if not rows.is_cuda:
            started = time.process_time()  # of one thread, which other processes may disturb
            what()
            return time.process_time() - started
        started = time.perf_counter()
        what()
        torch.cuda.synchronize(rows.device)
        return time.perf_counter() - started

    def all_alone() -> None:
        for networks, optimiser in zip(singles, optimisers[1:], strict=True):
            trainer.step(networks, optimiser, rows[:1])

    pairs = [(timed(lambda: trainer.step(together, optimisers[0], rows)), timed(all_alone)) for _ in range(_ROUNDS)]
    return min(a for a, _ in pairs) / len(members), min(b for _, b in pairs) / len(singles)
