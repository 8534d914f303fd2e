"""Which kernel a run takes: the fastest that this machine has, or one by name."""

import importlib.util
import logging
from functools import cache

from rlsearch.errors import ConfigError, nearest
from rlsearch.kernels.base import Kernel
from rlsearch.kernels.torch_kernel import TorchKernel

NAMES = ("auto", "torch", "numba")
"""The kernels that a config may name."""

INSTALL = "pip install 'rlsearch[numba]'"

_LOGGER = logging.getLogger(__name__)


def kernel_named(name: str, device: str) -> Kernel:
    """Returns the kernel of a name in ``NAMES`` for ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigError: If there is no kernel of that name, or numba is not installed, or the device is no CPU for it.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown kernel {name!r}; expected one of {', '.join(NAMES)}{nearest(name, NAMES)}")
    if name == "auto":
        return default_kernel(device)
    if name == "torch":
        return TorchKernel()
    if not _has_numba():
        raise ConfigError(f"the kernel 'numba' needs numba, which is not installed: {INSTALL}, or take kernel 'auto'")
    if not _is_cpu(device):
        raise ConfigError(f"the kernel 'numba' is for the CPU, and the device is {device!r}; take kernel 'auto'")
    return _numba_kernel()


def default_kernel(device: str) -> Kernel:
    """Returns the fastest kernel for a device: numba's on a CPU where numba is installed, torch's elsewhere."""
    if not _is_cpu(device):
        return TorchKernel()
    if _has_numba():
        return _numba_kernel()
    _advise()
    return TorchKernel()


def _numba_kernel() -> Kernel:
    from rlsearch.kernels.numba_kernel import NumbaKernel  # numba is optional, and takes a while to import

    return NumbaKernel()


def _is_cpu(device: str) -> bool:
    return device.split(":")[0] == "cpu"


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


@cache
def _advise() -> None:
    _LOGGER.warning("numba is not installed; candidates train about twice as fast with it: %s", INSTALL)
