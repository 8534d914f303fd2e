"""Kernels: value and slope of many formulas over many numbers, in one pass.

``rlsearch.kernels.numba_kernel`` is imported only where it is used, because numba is optional.
"""

from rlsearch.kernels.base import Kernel as Kernel
from rlsearch.kernels.choice import default_kernel as default_kernel
from rlsearch.kernels.choice import kernel_named as kernel_named
from rlsearch.kernels.torch_kernel import TorchKernel as TorchKernel
