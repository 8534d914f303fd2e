"""Kernels: value and slope of many formulas over many numbers, in one pass."""

from rlsearch.kernels.base import Kernel as Kernel
from rlsearch.kernels.torch_kernel import TorchKernel as TorchKernel
