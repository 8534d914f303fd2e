"""A user's own network and data: found by their import paths, called, and checked."""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.common.settings import TargetSettings
from rlsearch.common.targets import build_target, code_of, find_target, source_of, takes_argument
from rlsearch.common.users_code import FAILURES, users_code, what_was_raised
from rlsearch.errors import ConfigError, RlsearchError
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.settings import OwnProxySettings

_PARTS = ("training", "validation", "test")


class SharedActivation(nn.Module):
    """The activation that a factory is handed: elementwise, without parameters, the same in every place and copy.

    Attributes:
        compute: What it does, set anew for every member or population.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        """The values, of the shape of ``x``."""
        return self.compute(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def source_digest(settings: OwnProxySettings) -> str:
    """A digest of the code of the modules in which the targets are named and defined; not of what these import.

    Comments, docstrings and spacing are no part of it. Runs of earlier versions have a digest of the text, which stays
    theirs as long as the text does.

    Raises:
        ConfigError: If a factory or its source is not found, or is another than when the run began.
    """
    digest = _digest(code_of(target) for target in settings.targets)
    if settings.source in (None, digest):
        return digest
    if settings.source == _digest(source_of(target) for target in settings.targets):
        return settings.source
    raise ConfigError(
        f"the source of {' or '.join(settings.targets)} was edited since its digest {settings.source} was taken, and "
        f"is {digest} now: scores would not be comparable; begin a new run"
    )


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


def build_network(settings: OwnProxySettings, seed: int, activation: SharedActivation) -> nn.Module:
    """Builds the network with its initial weights from ``seed``, on the CPU and ready to be trained.

    Raises:
        ConfigError: If the factory cannot be found, raises, or makes something else.
    """
    build = find_target(settings.target)
    try:
        with users_code(seed, torch.device("cpu")):
            network = build(activation, **settings.arguments)
    except RlsearchError:
        raise
    except FAILURES as error:  # whatever a user's factory raises
        called = f"{settings.target} called with the activation and {settings.arguments}"
        raise ConfigError(f"{called} raised {what_was_raised(error)}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{settings.target} made a {type(network).__name__}; expected a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"the network of {settings.target} has no parameters to train")
    return network.train()


def check_network(settings: OwnProxySettings) -> None:
    """Runs the network once on its data, on the CPU, where errors are plain.

    Raises:
        ConfigError: If anything about it or its data is wrong.
    """
    data = load_own_dataset(settings)
    calls = []

    def counting(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return functional.silu(x)

    network = build_network(settings, 0, SharedActivation(counting))
    labels = data.train.labels[: settings.batch_size]
    try:
        with users_code(0, torch.device("cpu")):
            logits = network(data.train.inputs[: settings.batch_size])
    except FAILURES as error:  # whatever a user's network raises
        raise ConfigError(f"the network of {settings.target} raised {what_was_raised(error)}") from error
    if not isinstance(logits, Tensor) or logits.dtype != torch.float32 or logits.shape[:-1] != labels.shape:
        got = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        expected = f"torch.float32 {[*labels.shape, 'classes']}"
        raise ConfigError(f"the network of {settings.target} returned {got}; expected logits {expected}")
    highest = max(int(part.labels.max()) for part in (data.train, data.validation, data.test))
    if highest >= logits.shape[-1]:
        raise ConfigError(
            f"the network of {settings.target} has {logits.shape[-1]} classes; the highest label is {highest}"
        )
    if not calls:
        raise ConfigError(f"the network of {settings.target} does not use the activation that it was given")


def load_own_dataset(settings: OwnProxySettings) -> Parts:
    """The data that the user's factory makes, on the CPU; made once per process.

    Raises:
        ConfigError: If the factory cannot be found, raises, or makes something else.
    """
    seed = settings.data_seed if takes_argument(settings.data.target, "seed") else None
    dataset = _load(settings.data.model_dump_json(), seed)
    examples = len(dataset.train.labels)
    if settings.batch_size > examples:
        raise ConfigError(f"batch_size {settings.batch_size} is larger than the training part of {examples}")
    return dataset


@lru_cache(maxsize=8)
def _load(data: str, seed: int | None) -> Parts:
    settings = TargetSettings.model_validate_json(data)
    arguments = settings.model_dump()
    if seed is not None:
        if "seed" in arguments:
            raise ConfigError(f"the seed of {settings.target} is data_seed; expected no 'seed' beside the target")
        arguments["seed"] = seed
    with users_code(seed or 0, torch.device("cpu")):
        made = build_target(arguments)
    if not isinstance(made, tuple | list) or len(made) != len(_PARTS):
        count = f" of {len(made)}" if isinstance(made, tuple | list) else ""
        raise ConfigError(
            f"{settings.target} made a {type(made).__name__}{count}; expected (training, validation, test), each "
            "(inputs, labels)"
        )
    parts = [_part(pair, f"the {name} part of {settings.target}") for name, pair in zip(_PARTS, made, strict=True)]
    for name, part in zip(_PARTS[1:], parts[1:], strict=True):
        for what in ("inputs", "labels"):
            own, first = getattr(part, what), getattr(parts[0], what)
            if own.shape[1:] != first.shape[1:] or own.dtype != first.dtype:
                raise ConfigError(
                    f"{what} of the {name} part of {settings.target} are {own.dtype} {list(own.shape)}, and of the "
                    f"training part {first.dtype} {list(first.shape)}; expected them to differ in length alone"
                )
    return Parts(*parts)


def _part(pair: Any, name: str) -> Part:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(t, Tensor) for t in pair):
        kinds = ", ".join(type(t).__name__ for t in pair) if isinstance(pair, tuple | list) else type(pair).__name__
        raise ConfigError(f"{name} is ({kinds}); expected a pair of tensors (inputs, labels)")
    inputs, labels = (tensor.detach().cpu() for tensor in pair)
    if inputs.dtype != torch.float32 and (inputs.is_floating_point() or inputs.is_complex()):
        raise ConfigError(f"inputs of {name} are {inputs.dtype}; expected torch.float32 or integers")
    if labels.dtype != torch.int64:
        raise ConfigError(f"labels of {name} are {labels.dtype}; expected torch.int64")
    if inputs.dim() < 1 or labels.dim() not in (1, 2) or len(inputs) != len(labels):
        shapes = f"inputs {list(inputs.shape)} and labels {list(labels.shape)}"
        raise ConfigError(
            f"{name} has {shapes}; expected labels [examples] or [examples, positions], and as many inputs"
        )
    if not inputs.numel() or not labels.numel():
        raise ConfigError(f"{name} is empty")
    if inputs.is_floating_point() and not inputs.isfinite().all():
        raise ConfigError(f"inputs of {name} are not all finite")
    if labels.min() < 0:
        raise ConfigError(f"the lowest label of {name} is {int(labels.min())}; expected labels from 0 on")
    return Part(inputs.contiguous(), labels.contiguous())
