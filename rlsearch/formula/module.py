"""A formula as a torch module, and a way to put it into an existing model."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from rlsearch.errors import FormulaError, InputError
from rlsearch.formula.backends import as_floats, torch_backend
from rlsearch.formula.program import Program, run


class Activation(nn.Module):
    """Applies a formula elementwise; a drop-in for ``nn.ReLU()`` and the like.

    Made of plain torch operations, so it can be compiled, exported, scripted by tracing, differentiated twice (but
    for hard_sigmoid, where torch cannot) and moved to any device. Tensors of whole numbers are taken as floats.

    Args:
        program: The formula as instructions.
        input_names: The formula's inputs, in the order in which the module takes them.
        text: The formula as it is shown.
    """

    def __init__(self, program: Program, input_names: Sequence[str], text: str) -> None:
        super().__init__()
        self.input_names = tuple(input_names)
        self.text = text
        self._program = program

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Computes the formula's values, of the shape of the inputs."""
        if len(inputs) != self._program.n_inputs:
            names = ", ".join(self.input_names)
            raise FormulaError(f"'{self.text}' takes ({names}), got {len(inputs)} tensor(s)")
        result: torch.Tensor = run(self._program, torch_backend(), [as_floats(tensor) for tensor in inputs])
        return result

    def extra_repr(self) -> str:
        """Shows the formula when the model is printed."""
        return self.text


def replace_activations(model: nn.Module, old: type[nn.Module], new: nn.Module) -> int:
    """Replaces every submodule of type ``old`` in ``model`` by a copy of ``new``, in place.

    Args:
        model: Any model; it is changed.
        old: The class to look for, for instance ``nn.ReLU``.
        new: What to put there, for instance ``formula.to_module()``.

    Returns:
        The number of replacements. A module that is used in several places is replaced in each of them.

    Raises:
        InputError: If the model contains no ``old``: functional calls such as ``F.relu(x)`` are not modules.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> replace_activations(model, nn.ReLU, Formula.parse("silu(x)").to_module())
        1
    """
    # _modules rather than named_children(), which lists a module that has two names in one parent only once.
    places = []
    for parent in model.modules():
        places += [(parent, name) for name, child in parent._modules.items() if isinstance(child, old)]
    if isinstance(model, old):
        raise InputError(f"the model itself is a {old.__name__}; use the new module in its place")
    if not places:
        kinds = sorted({type(m).__name__ for m in model.modules() if not list(m.children())})
        raise InputError(
            f"the model contains no {old.__name__} module; its leaf modules are {', '.join(kinds)}. "
            "Functional calls such as torch.nn.functional.relu cannot be replaced."
        )
    for parent, name in places:
        setattr(parent, name, copy.deepcopy(new))
    return len(places)
