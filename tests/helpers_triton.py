"""The Triton kernel as the tests call it; only to be imported where triton is installed."""

from contextlib import contextmanager

import numpy as np
import pytest
from triton.runtime import interpreter

from rlsearch.kernels.triton_kernel import TritonKernel


class Device:
    """A kernel and where its tensors lie; what comes back lies on the CPU."""

    def __init__(self, name):
        self.name, self.kernel = name, TritonKernel()

    def population(self, members, inputs=("x",)):
        activation = self.kernel.population(members, inputs)

        def call(*tensors):
            result = activation(*(t.to(self.name) for t in tensors))
            assert result.device.type == self.name
            return result.cpu()

        call.load = activation.load
        return call


def fused(builder, x, y, z):
    """An fma rounds once, as on a GPU; the interpreter of Triton before 3.9 multiplies and then adds, rounding twice.

    A product of two float32 numbers is exact in float64.
    """
    exact = x.data.astype(np.float64) * y.data.astype(np.float64) + z.data.astype(np.float64)
    return interpreter.TensorHandle(exact.astype(z.data.dtype), z.dtype.scalar)


@contextmanager
def device_named(name):
    """On the CPU by Triton's interpreter, or on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1" if name == "cpu" else "0")
        patch.setattr(interpreter.InterpreterBuilder, "create_fma", fused)
        yield Device(name)
