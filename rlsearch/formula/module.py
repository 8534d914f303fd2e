"""A formula as a torch module: the class that its exported source defines."""

import linecache
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from rlsearch.formula.formula import Formula


class Activation(torch.nn.Module):
    """Applies a formula elementwise; a drop-in for ``nn.ReLU()`` and the like. Made by :meth:`Formula.to_module`.

    The class of an instance is the one that :meth:`Formula.source` defines, with this one as a second base. So it can
    be compiled with ``fullgraph=True``, exported, scripted, traced symbolically, mapped by ``vmap``, differentiated
    twice, and moved to any device. The rules of dtypes are those of a call of the formula.

    The parameters of a formula are parameters of one number each, by their letter: ``module.a``. A formula without
    them leaves the ``state_dict`` of a model as it was with ``nn.ReLU``: there are no buffers. A pickle of it holds the
    formula's text and the name of :func:`restored`, which must be added to torch's safe globals for ``torch.load`` with
    ``weights_only=True``.

    Attributes:
        text: The formula as it is shown.
        spelling: Its exact text, from which a pickled module is made again.
        input_names: The formula's inputs, in the order in which the module takes them.
    """

    text: str
    spelling: str
    input_names: tuple[str, ...]

    def __reduce__(self) -> tuple[Callable[..., "Activation"], tuple[str, dict[str, Any]]]:
        # The class itself cannot be pickled: it has no place in a module. The state is an argument rather than a third
        # entry, since torch.load with weights_only=True sets the state of named classes alone.
        return restored, (self.spelling, self.__dict__)


def restored(text: str, state: dict[str, Any]) -> Activation:
    """The module of the formula ``text`` with the state of one that was pickled."""
    module = activation(Formula.parse(text))
    module.__dict__.update(state)
    return module


def activation(formula: Formula) -> Activation:
    """A new module of the formula; see :meth:`Formula.to_module`."""
    module: Activation = _class_of(formula)()
    return module


@lru_cache(maxsize=4096)
def _class_of(formula: Formula) -> type[Activation]:
    """The class of a formula's modules, compiled once."""
    source, file = formula.source(Activation.__name__), f"<source of {formula}>"
    # torch.jit.script reads the source, and tracebacks show it.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    # Strict export imports the module that the code says it is of, and looks for torch there.
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    written = namespace[Activation.__name__]
    attributes = {
        "__module__": __name__,
        "text": str(formula),
        "spelling": formula.spelling,
        "input_names": formula.inputs,
    }
    return type(Activation.__name__, (written, Activation), attributes)
