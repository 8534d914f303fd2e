"""A formula as a torch module that is computed in one pass and keeps its inputs alone for the backward pass.

It stands here and not in ``Formula.to_module``, because the language knows nothing of the kernels that compute it.
"""

import importlib.util
import logging
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rlsearch.formula import Formula
from rlsearch.formula.module import Activation
from rlsearch.kernels.base import wants_gradient
from rlsearch.kernels.choice import DEVICES, INSTALL, kernel_named

_LOGGER = logging.getLogger(__name__)

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class FusedActivation(nn.Module):
    """Applies a formula elementwise in one pass over memory; made by :func:`fused_module`.

    Tensors of float32, float16 and bfloat16 go through numba's kernel on a CPU, on one thread, and through Triton's on
    a GPU. The backward pass computes value and slope again from the inputs, which are all that is kept: 4 bytes per
    number of a float32 input, where autograd keeps several tensors. float16 and bfloat16 are computed in float32 and
    rounded once. Values differ from those of the plain module by a few units in the last place of a float32.

    All else is computed by the plain module: other dtypes and devices, second derivatives, ``torch.func`` transforms,
    and whatever compiles, exports or scripts, which fuses by itself. Forward-mode derivatives are refused by torch.

    Attributes:
        plain: The module of plain torch operations.
    """

    def __init__(self, plain: Activation) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, *inputs: Tensor) -> Tensor:
        """Computes the formula's values, of the inputs' common shape."""
        compiled = self._compiled(inputs)
        if compiled is None:
            result: Tensor = self.plain(*inputs)
            return result
        if len(inputs) > 1:
            inputs = torch.broadcast_tensors(*inputs)  # type: ignore[no-untyped-call]
        arguments = (*inputs, *self.plain.parameters())
        if not wants_gradient(arguments):
            return _values(compiled, arguments)
        result = _Fused.apply(compiled, self.plain, *arguments)  # type: ignore[no-untyped-call]
        return result

    def _compiled(self, inputs: Sequence[Tensor]) -> "_Compiled | None":
        """What computes the inputs in one pass; None where the plain module does."""
        if len(inputs) != len(self.plain.input_names) or _is_traced(inputs):
            return None
        kinds = {(x.dtype, x.device) for x in inputs}
        if len(kinds) > 1 or inputs[0].dtype not in _DTYPES:
            return None
        if any(parameter.device != inputs[0].device for parameter in self.plain.parameters()):
            return None
        return _population(self.plain.text, inputs[0].device.type)

    def __prepare_scriptable__(self) -> Activation:
        # What torch.jit.script takes in the place of a module.
        return self.plain


def fused_module(formula: Formula) -> FusedActivation:
    """Makes a module of the formula that is faster and keeps less memory than :meth:`Formula.to_module`'s.

    Under ``torch.compile`` both are the same.

    Example:
        >>> silu = fused_module(Formula.parse("silu(x)"))
        >>> silu(torch.zeros(3))
        tensor([0., 0., 0.])
    """
    return FusedActivation(formula.to_module())


class _Compiled(Protocol):
    """What the activations of numba's and Triton's kernels have in common, for tensors ``[1, ...]``."""

    def values(self, tensors: Sequence[Tensor]) -> Tensor: ...

    def gradients(self, tensors: Sequence[Tensor], outer: Tensor) -> list[Tensor]: ...


@lru_cache(maxsize=4096)
def _population(text: str, device: str) -> _Compiled | None:
    """The formula ``text`` on a type of device; None if no kernel is for it."""
    kernel = _kernel(device)
    if kernel is None:
        return None
    formula = Formula.parse(text)
    compiled: _Compiled = kernel.population([formula], formula.arguments)
    return compiled


@cache
def _kernel(device: str) -> Any:
    """The compiled kernel for a type of device, if there is one and it is installed."""
    for name, kind in DEVICES.items():
        if kind == device:
            if importlib.util.find_spec(name) is not None:
                return kernel_named(name, device)
            _LOGGER.warning(
                "%s is not installed, so fused modules compute operation by operation: %s", name, INSTALL[name]
            )
    return None


def _is_traced(inputs: Sequence[Tensor]) -> bool:
    """Whether somebody looks for the operations, or the tensors are no ordinary ones."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._are_functorch_transforms_active()
        or any(type(x) not in (Tensor, nn.Parameter) for x in inputs)
    )


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compiled: _Compiled, plain: Activation, *inputs: Tensor) -> Tensor:
        ctx.compiled, ctx.plain = compiled, plain
        ctx.save_for_backward(*inputs)
        return _values(compiled, inputs)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        # Somebody will differentiate the gradient: it must be a graph, which the kernels do not have.
        if torch.is_grad_enabled():
            given = inputs[: len(ctx.plain.input_names)]
            sources = (*given, *ctx.plain.parameters())
            wanted = [x for x, needed in zip(sources, ctx.needs_input_grad[2:], strict=True) if needed]
            found = iter(torch.autograd.grad(ctx.plain(*given), wanted, outer, create_graph=True, allow_unused=True))
            return None, None, *(next(found) if needed else None for needed in ctx.needs_input_grad[2:])
        return None, None, *_gradients(ctx.compiled, inputs, outer[0])


def _values(compiled: _Compiled, inputs: Sequence[Tensor]) -> Tensor:
    """The values, in the layout of the first input."""
    order = _order(inputs[0])
    return _restored(compiled.values(_rows(inputs, order)), inputs[0].dtype, order)


def _gradients(compiled: _Compiled, inputs: Sequence[Tensor], outer: Tensor) -> list[Tensor]:
    """The gradient by each input; that by a parameter is summed over all places where it was used."""
    order = _order(inputs[0])
    gradients = compiled.gradients(_rows(inputs, order), _row(outer, order))
    return [
        _restored(gradient, x.dtype, order) if x.dim() == len(order) else gradient.reshape(x.shape).to(x.dtype)
        for x, gradient in zip(inputs, gradients, strict=True)
    ]


def _rows(inputs: Sequence[Tensor], order: list[int]) -> list[Tensor]:
    """All inputs as populations of one; a parameter is one number, in as many dimensions."""
    return [_row(x.reshape([1] * len(order)) if x.dim() < len(order) else x, order) for x in inputs]


def _row(x: Tensor, order: list[int]) -> Tensor:
    """A population of one: contiguous, shape ``[1, ...]``, in a dtype that the kernel computes."""
    is_computed = x.dtype == torch.bfloat16 and x.is_cuda
    return x.detach().permute(order).to(x.dtype if is_computed else torch.float32).contiguous()[None]


def _order(x: Tensor) -> list[int]:
    """The dimensions from the widest step in memory to the narrowest, so that channels_last stays what it is."""
    return sorted(range(x.dim()), key=x.stride, reverse=True)


def _restored(row: Tensor, dtype: torch.dtype, order: list[int]) -> Tensor:
    """What :func:`_row` undid of dtype, shape and layout."""
    # Detached, because autograd lets nobody change in place what is a view that a Function made.
    return row[0].to(dtype).permute(sorted(range(len(order)), key=order.__getitem__)).detach()
