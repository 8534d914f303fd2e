"""Formulas as activations of Hugging Face's transformers: ``hidden_act="atanline"`` in a config.

The library looks a name up in one table, ``transformers.activations.ACT2FN``, when it builds a model. A saved model
holds the name alone, so a name is registered before the model is built, and again before it is loaded elsewhere.

Only a formula of ``x`` has a place there: the gated models of the library compute ``act(gate) * up``, whatever ``act``
is. Another gated formula takes the place of the whole product by :func:`replace_gated_mlps`, after a model is built.
"""

from torch import Tensor, nn

from rlsearch.errors import InputError, nearest
from rlsearch.formula import Formula
from rlsearch.formula.module import Activation
from rlsearch.formula.named import NAMED, applied
from rlsearch.formula.typed import GATED
from rlsearch.integrations.modules import module_class

try:
    from transformers.activations import ACT2FN
except ImportError as error:
    raise InputError("this needs the package transformers: pip install 'rlsearch[transformers]'") from error


def register(name: str, formula: Formula | str | None = None) -> None:
    """Makes a formula an activation of transformers.

    Args:
        name: For configs. One that was registered before is replaced; one of the library's own is refused.
        formula: A formula of ``x``, or its text; by default the named function ``name``.

    Raises:
        FormulaError: If the text is no formula.
        InputError: If there is no named function of that name, the name is one of the library's own, or the formula has
            another input than ``x``; see :func:`replace_gated_mlps` for gated ones.

    Example:
        >>> register("atanline")
        >>> register("mine", "x * sigmoid(x) + 0.1 * sin(x)")
        >>> config = LlamaConfig(hidden_act="mine")
    """
    if formula is None:
        if name not in NAMED:
            raise InputError(f"there is no named function {name!r}; expected one, or a formula{nearest(name, NAMED)}")
        formula = Formula.parse(applied(name))
    if _is_librarys(name):
        raise InputError(f"{name!r} is an activation of transformers itself; expected a name that is free")
    formula = formula if isinstance(formula, Formula) else Formula.parse(formula)
    if formula.inputs == GATED:
        raise InputError(
            f"'{formula}' has the inputs x, g; expected a function of x alone, since transformers itself multiplies by "
            "the other input: replace_gated_mlps(model, formula) takes the place of the whole product"
        )
    ACT2FN[name] = module_class(formula)


def register_all() -> list[str]:
    """Registers every named function of ``x`` whose name is free; returns the names."""
    names = [name for name, named in NAMED.items() if named.parameters == ("x",) and not _is_librarys(name)]
    for name in names:
        register(name)
    return names


class GatedMlp(nn.Module):
    """``down_proj(f(up_proj(x), gate_proj(x)))``, with the layers of the module that it replaces.

    They keep their names, so the ``state_dict`` of the model is what it was.
    """

    def __init__(self, replaced: nn.Module, formula: Formula) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (getattr(replaced, name) for name in _LAYERS)
        self.activation = formula.to_module()

    def forward(self, x: Tensor) -> Tensor:
        """Computes the feed-forward part, ``[..., width]`` to ``[..., width]``."""
        result: Tensor = self.down_proj(self.activation(self.up_proj(x), self.gate_proj(x)))
        return result


def replace_gated_mlps(model: nn.Module, formula: Formula | str) -> list[str]:
    """Puts a gated formula into the place of ``act(gate) * up``, in place.

    These are all modules with the layers ``gate_proj``, ``up_proj`` and ``down_proj``, as those of Llama, Mistral,
    Qwen and Gemma are; ``x`` is what ``up_proj`` gives, ``g`` what ``gate_proj`` gives. It is done again after a saved
    model is loaded. Experts that share one tensor of weights are none of these.

    Args:
        model: Any model; it is changed.
        formula: A formula of ``x`` and ``g``, or its text.

    Returns:
        The places, such as ``"model.layers.0.mlp"``.

    Raises:
        FormulaError: If the text is no formula.
        InputError: If the formula has other inputs, or the model has no such module.

    Example:
        >>> replace_gated_mlps(LlamaForCausalLM(config), "x * relu(g)**2")
        ['model.layers.0.mlp', 'model.layers.1.mlp']
    """
    formula = formula if isinstance(formula, Formula) else Formula.parse(formula)
    if formula.inputs != GATED:
        raise InputError(f"'{formula}' has the inputs {', '.join(formula.inputs)}; expected a function of x and g")
    places = [path for path, module in model.named_modules() if path and all(hasattr(module, name) for name in _LAYERS)]
    if not places:
        raise InputError(f"a {type(model).__name__} has no module with the layers {', '.join(_LAYERS)}")
    for place in places:
        parent, _, name = place.rpartition(".")
        setattr(model.get_submodule(parent), name, GatedMlp(model.get_submodule(place), formula))
    return places


_LAYERS = ("gate_proj", "up_proj", "down_proj")


def _is_librarys(name: str) -> bool:
    # By get, since [] makes a module.
    there = ACT2FN.get(name)
    return there is not None and not (isinstance(there, type) and issubclass(there, Activation))
