"""Kernels: value and slope of many formulas over many numbers, in one pass.

``numba_kernel`` and ``triton_kernel`` are imported only where they are used, because numba and triton are optional.
"""

from rlsearch.kernels.base import Kernel as Kernel
from rlsearch.kernels.choice import default_kernel as default_kernel
from rlsearch.kernels.choice import kernel_named as kernel_named
from rlsearch.kernels.torch_kernel import TorchKernel as TorchKernel
