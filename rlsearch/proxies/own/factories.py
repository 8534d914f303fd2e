"""A user's own network and data: found by their import paths, called, and checked."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlsearch.common.settings import TargetSettings
from rlsearch.common.targets import build_target, code_of, digest, find_target, refresh, source_of, takes_argument
from rlsearch.common.users_code import FAILURES, users_code, what_was_raised
from rlsearch.errors import ConfigError, RlsearchError
from rlsearch.proxies.data.parts import Part, Parts
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.tasks import BITS, CLASSIFICATION, REGRESSION

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
        """The values, of the shape and the dtype of ``x``; computed in float32, as kernels do."""
        return self.compute(x) if x.dtype == torch.float32 else self.compute(x.float()).to(x.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def source_digest(settings: OwnProxySettings | OwnTrainingSettings) -> str:
    """A digest of the code of the modules in which the targets are named and defined; not of what these import.

    Comments, docstrings and spacing are no part of it. Runs of earlier versions have a digest of the text, which stays
    theirs as long as the text does.

    Raises:
        ConfigError: If a factory or its source is not found, or is another than when the run began.
    """
    # Worker processes stay for the next run, whose code may be another.
    refresh(settings.targets)
    now = digest(code_of(target) for target in settings.targets)
    if settings.source in (None, now):
        return now
    if settings.source == digest(source_of(target) for target in settings.targets):
        return settings.source
    raise ConfigError(
        f"the source of {' or '.join(settings.targets)} was edited since its digest {settings.source} was taken, and "
        f"is {now} now: scores would not be comparable; begin a new run"
    )


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
        with users_code(0, torch.device("cpu")), precision_of(settings, torch.device("cpu"))():
            outputs = network(data.train.inputs[: settings.batch_size])
    except FAILURES as error:  # whatever a user's network raises
        raise ConfigError(f"the network of {settings.target} raised {what_was_raised(error)}") from error
    _check_outputs(settings, outputs, labels)
    if settings.labelled == CLASSIFICATION:
        parts = (data.train, data.validation, data.test)
        highest = max(int(_that_count(settings, part.labels).max()) for part in parts)
        if highest >= outputs.shape[-1]:
            raise ConfigError(
                f"the network of {settings.target} has {outputs.shape[-1]} classes; the highest label is {highest}"
            )
    if not calls:
        raise ConfigError(f"the network of {settings.target} does not use the activation that it was given")
    _check_functions(settings, outputs.float(), labels)


def _check_outputs(settings: OwnProxySettings, outputs: Any, labels: Tensor) -> None:
    """Raises a ConfigError if what a network returned for a batch does not go with the labels."""
    what: str = "outputs"
    expected: list[int | str] = [*labels.shape]
    if settings.labelled is None:
        expected = [len(labels), "..."]
        fits = isinstance(outputs, Tensor) and outputs.dim() > 0 and len(outputs) == len(labels)
    elif settings.labelled == CLASSIFICATION:
        what, expected = "logits", [*labels.shape, "classes"]
        fits = isinstance(outputs, Tensor) and outputs.shape[:-1] == labels.shape
    else:
        fits = isinstance(outputs, Tensor) and outputs.shape == labels.shape
    dtypes = [torch.float32] if settings.precision == "float32" else [torch.float32, torch.bfloat16]
    if not fits or outputs.dtype not in dtypes:
        got = f"{outputs.dtype} {list(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise ConfigError(f"the network of {settings.target} returned {got}; expected {what} torch.float32 {expected}")


def _check_functions(settings: OwnProxySettings, outputs: Tensor, labels: Tensor) -> None:
    """Calls a user's loss and score once, and raises a ConfigError if one does not return what it should."""
    for path, expected in ((settings.loss, "a tensor of one number with a gradient"), (settings.scored_by, "a number")):
        if ":" not in path:
            continue
        function = find_target(path)
        try:
            with users_code(0, torch.device("cpu")):
                if path == settings.scored_by:
                    float(function(outputs.detach(), labels))
                    continue
                found = function(outputs, labels)
        except FAILURES as error:  # whatever a user's function raises
            raise ConfigError(f"{path} raised {what_was_raised(error)}; expected {expected}") from error
        if not (isinstance(found, Tensor) and found.dim() == 0 and found.requires_grad):
            got = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ConfigError(f"{path} returned {got}; expected {expected}")


def precision_of(settings: OwnProxySettings, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context in which a network computes."""
    if settings.precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def load_own_dataset(settings: OwnProxySettings) -> Parts:
    """The data that the user's factory makes, on the CPU; made once per process and factory.

    Raises:
        ConfigError: If the factory cannot be found, raises, or makes something else.
    """
    seed = settings.data_seed if takes_argument(settings.data.target, "seed") else None
    # The method tells one factory from another of the same path, even if it has no hash itself.
    dataset = _load(settings.data.model_dump_json(), seed, find_target(settings.data.target).__call__)  # type: ignore[operator]
    for name, part in zip(_PARTS, (dataset.train, dataset.validation, dataset.test), strict=True):
        _check_labels(settings, part.labels, f"the {name} part of {settings.data.target}")
    examples = len(dataset.train.labels)
    if settings.batch_size > examples:
        raise ConfigError(f"batch_size {settings.batch_size} is larger than the training part of {examples}")
    return dataset


@lru_cache(maxsize=8)
def _load(data: str, seed: int | None, factory: Callable[..., Any]) -> Parts:
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
    if labels.dtype not in (torch.int64, torch.float32):
        raise ConfigError(f"labels of {name} are {labels.dtype}; expected torch.int64, or torch.float32 for numbers")
    if inputs.dim() < 1 or labels.dim() < 1 or len(inputs) != len(labels):
        shapes = f"inputs {list(inputs.shape)} and labels {list(labels.shape)}"
        raise ConfigError(f"{name} has {shapes}; expected [examples, ...], and as many labels as inputs")
    if not inputs.numel() or not labels.numel():
        raise ConfigError(f"{name} is empty")
    for what, tensor in (("inputs", inputs), ("labels", labels)):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ConfigError(f"{what} of {name} are not all finite")
    return Part(inputs.contiguous(), labels.contiguous())


def _check_labels(settings: OwnProxySettings, labels: Tensor, name: str) -> None:
    """Raises a ConfigError if the labels of a part are none of the task."""
    got = f"labels of {name} are {labels.dtype} {list(labels.shape)}"
    if settings.labelled == CLASSIFICATION:
        if labels.dtype != torch.int64 or labels.dim() > 2:
            raise ConfigError(f"{got}; expected torch.int64 [examples] or [examples, positions]")
        counted = _that_count(settings, labels)
        if not counted.numel():
            raise ConfigError(f"all labels of {name} are {settings.ignore_index}, the ignore_index: none counts")
        lowest = int(counted.min())
        if lowest < 0:
            raise ConfigError(
                f"the lowest label of {name} is {lowest}; expected labels from 0 on, or ignore_index: {lowest}"
            )
    elif settings.labelled is not None:
        if labels.dtype != torch.float32 or labels.dim() != 2:
            raise ConfigError(f"{got}; expected torch.float32 [examples, targets]")
        if settings.labelled == BITS and not ((labels == 0) | (labels == 1)).all():
            raise ConfigError(f"labels of {name} hold other numbers than 0 and 1")
        if settings.labelled == REGRESSION and (labels == labels[:1]).all(dim=0).any():
            raise ConfigError(f"a target of {name} is the same for all examples; expected different numbers")


def _that_count(settings: OwnProxySettings, labels: Tensor) -> Tensor:
    return labels if settings.ignore_index is None else labels[labels != settings.ignore_index]
