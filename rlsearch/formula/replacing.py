"""Puts a new activation into an existing model, and says where it could not."""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from torch import nn

from rlsearch.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Kind:
    """What one function is called in the libraries that models come from.

    Attributes:
        modules: Names of classes in torch, transformers (``activations.py``) and timm (``layers/activations.py`` and
            ``layers/activations_me.py``).
        functions: Names of functions there, without the last underscore of one that works in place.
    """

    modules: tuple[str, ...]
    functions: tuple[str, ...]


_GELUS = (
    *("GELU", "GELUActivation", "NewGELUActivation", "FastGELUActivation", "QuickGELUActivation"),
    *("AccurateGELUActivation", "PytorchGELUTanh", "GELUTanh", "QuickGELU"),
)
_SILU = Kind(("SiLU", "SiLUActivation", "Swish", "SwishMe"), ("silu", "swish"))

KINDS: Mapping[str, Kind] = {
    "relu": Kind(("ReLU",), ("relu",)),
    "relu6": Kind(("ReLU6",), ("relu6",)),
    "leaky_relu": Kind(("LeakyReLU",), ("leaky_relu",)),
    "elu": Kind(("ELU",), ("elu",)),
    "gelu": Kind(_GELUS, ("gelu", "gelu_new", "gelu_fast", "gelu_tanh", "gelu_python", "quick_gelu")),
    "silu": _SILU,
    "swish": _SILU,
    "mish": Kind(("Mish", "MishActivation", "MishMe"), ("mish",)),
    "hard_swish": Kind(("Hardswish", "HardSwish", "HardSwishMe"), ("hardswish", "hard_swish")),
    "tanh": Kind(("Tanh",), ("tanh",)),
}
"""The functions that may be given by name."""

Old = type[nn.Module] | str


class Replacements(int):
    """How many activations were replaced, as an ordinary number, and where.

    Attributes:
        places: Names of the new modules in the model, such as ``"blocks.0.act"``.
        unreached: What is of the same kind and was left as it is, such as ``"blocks.0.act (the function relu)"``.
    """

    places: tuple[str, ...]
    unreached: tuple[str, ...]

    def __new__(cls, places: Sequence[str], unreached: Sequence[str]) -> Self:
        """Counts the places."""
        self = super().__new__(cls, len(places))
        self.places, self.unreached = tuple(places), tuple(unreached)
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[str, ...], tuple[str, ...]]]:
        return type(self), (self.places, self.unreached)


def replace_activations(model: nn.Module, old: Old | Sequence[Old], new: nn.Module) -> Replacements:
    """Replaces every submodule of the kind ``old`` in ``model`` by a copy of ``new``, in place.

    Forward and backward hooks of a replaced module go over to the new one. A ``nn.TransformerEncoderLayer`` no longer
    takes its fast path in evaluation, which computes ReLU or GELU whatever its activation is.

    Args:
        model: Any model; it is changed.
        old: The class to look for, such as ``nn.ReLU``; or a name of ``KINDS``, such as ``"gelu"``, which stands for
            all classes that torch, transformers and timm have for it; or several of these.
        new: What to put there, for instance ``formula.to_module()``.

    Returns:
        The number of replacements, with their places. A module that is used in several places is replaced in each.

    Raises:
        InputError: If the model contains nothing of the kind, or an argument is none of what is expected.

    Warns:
        UserWarning: If something of the kind cannot be replaced: a function that is kept as an attribute, or what is
            kept in a plain list, tuple or dict. Calls such as ``F.relu(x)`` within a ``forward`` are not seen at all.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> replace_activations(model, "relu", Formula.parse("silu(x)").to_module())
        1
    """
    wanted = _wanted(old)
    if not isinstance(new, nn.Module):
        raise InputError(f"the new activation is {new!r}; expected a torch module, such as formula.to_module()")
    if wanted.has(model):
        raise InputError(f"the model itself is a {type(model).__name__}; use the new module in its place")
    # _modules rather than named_children(), which lists a module that has two names in one parent only once.
    found: list[tuple[str, nn.Module, str]] = []
    for path, parent in model.named_modules():
        found += [(path, parent, name) for name, child in parent._modules.items() if child and wanted.has(child)]
    for _, parent, name in found:
        setattr(parent, name, _with_hooks_of(parent._modules[name], copy.deepcopy(new)))
    _leave_fast_paths(model, [parent for _, parent, _ in found])

    unreached = tuple(_unreached(model, wanted))
    if not found:
        raise InputError(_nothing_found(model, wanted, unreached))
    if unreached:
        warnings.warn(f"not replaced: {', '.join(unreached)}; make them modules of the model", stacklevel=2)
    return Replacements([f"{path}.{name}".lstrip(".") for path, _, name in found], unreached)


@dataclass(slots=True)
class _Wanted:
    """What is looked for."""

    classes: tuple[type[nn.Module], ...] = ()
    names: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    shown: str = ""

    def has(self, module: nn.Module) -> bool:
        """Whether a module is of the kind, by its class or the name of its class."""
        return isinstance(module, self.classes) or any(base.__name__ in self.names for base in type(module).__mro__)

    def has_function(self, value: Any) -> str:
        """The name of a function of the kind; empty if ``value`` is none."""
        function = value.func if isinstance(value, partial) else value
        name = str(getattr(function, "__name__", ""))
        return name if callable(value) and name.rstrip("_") in self.functions else ""


def _wanted(old: Old | Sequence[Old]) -> _Wanted:
    wanted, shown = _Wanted(), []
    for each in old if isinstance(old, list | tuple) else (old,):
        if isinstance(each, str):
            if each not in KINDS:
                raise InputError(
                    f"unknown activation {each!r}; expected one of {', '.join(KINDS)}{nearest(each, KINDS)}, "
                    "or a class such as torch.nn.ReLU"
                )
            wanted.names |= set(KINDS[each].modules)
            wanted.functions |= set(KINDS[each].functions)
            shown.append(each)
        elif isinstance(each, type) and issubclass(each, nn.Module):
            wanted.classes += (each,)
            for kind in KINDS.values():
                wanted.functions |= set(kind.functions if each.__name__ in kind.modules else ())
            shown.append(each.__name__)
        else:
            raise InputError(f"the old activation is {each!r}; expected a class such as torch.nn.ReLU or its name")
    wanted.shown = " or ".join(shown)
    return wanted


_HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_backward_hooks", "_backward_pre_hooks"),
)


def _with_hooks_of(old: nn.Module | None, new: nn.Module) -> nn.Module:
    """The new module, with the hooks and the mode of the old one."""
    assert old is not None
    for name in _HOOKS:
        # The dicts themselves, because the handles by which hooks are removed point to them.
        hooks = getattr(old, name)
        hooks.update(getattr(new, name))
        setattr(new, name, hooks)
    if old._is_full_backward_hook is not None:
        new._is_full_backward_hook = old._is_full_backward_hook
    return new.train(old.training)


def _leave_fast_paths(model: nn.Module, changed: Sequence[nn.Module]) -> None:
    """Makes torch's transformer layers compute their activation.

    A layer noted at its construction that it has ReLU or GELU, and its encoder that it may pass nested tensors.
    """
    layers = [module for module in changed if isinstance(module, nn.TransformerEncoderLayer)]
    for layer in layers:
        layer.activation_relu_or_gelu = 0
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(layer in layers for layer in module.layers):
            module.use_nested_tensor = False


def _unreached(model: nn.Module, wanted: _Wanted) -> Iterator[str]:
    """Names what is of the kind and no submodule."""
    ordinary = vars(nn.Module())
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in ordinary:
                place = f"{path}.{name}".lstrip(".")
                yield from (f"{place} ({what})" for what in dict.fromkeys(_held(value, wanted)))


def _held(value: Any, wanted: _Wanted) -> Iterator[str]:
    """What of the kind is in a plain attribute."""
    if isinstance(value, nn.Module):
        yield from (f"a {type(module).__name__} in a list or dict" for module in value.modules() if wanted.has(module))
    elif isinstance(value, list | tuple | set | dict):
        entries: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for entry in entries:
            yield from _held(entry, wanted)
    elif function := wanted.has_function(value):
        yield f"the function {function}"


def _nothing_found(model: nn.Module, wanted: _Wanted, unreached: Sequence[str]) -> str:
    if unreached:
        return f"nothing was replaced, for {', '.join(unreached)} cannot be; make it a module of the model"
    kinds = sorted({type(m).__name__ for m in model.modules() if not list(m.children())})
    return (
        f"the model contains no {wanted.shown} module; its leaf modules are {', '.join(kinds)}. "
        "Functional calls such as torch.nn.functional.relu cannot be replaced."
    )
