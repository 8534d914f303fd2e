"""Which kernel a run takes: the fastest that this machine has, or one by name."""

import importlib.util
import logging
from functools import cache

from rlsearch.common.device import device_type
from rlsearch.errors import ConfigError, nearest
from rlsearch.kernels.base import Kernel
from rlsearch.kernels.torch_kernel import TorchKernel

NAMES = ("auto", "torch", "numba", "triton")
"""The kernels that a config may name."""

DEVICES = {"numba": "cpu", "triton": "cuda"}
"""The type of device that each compiled kernel is for."""

INSTALL = {
    "numba": "pip install 'rlsearch[numba]'",
    "triton": "pip install triton (on Linux it comes with torch's CUDA builds)",
}

ADVICE = {
    "numba": "candidates train several times as fast with it",
    "triton": "without it a GPU computes formulas operator by operator",
}

_LOGGER = logging.getLogger(__name__)


def kernel_named(name: str, device: str) -> Kernel:
    """The kernel of a name in ``NAMES`` for ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigError: If there is no kernel of that name, or what it needs is not installed, or it is not for the device.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown kernel {name!r}; expected one of {', '.join(NAMES)}{nearest(name, NAMES)}")
    if name == "auto":
        return default_kernel(device)
    if name == "torch":
        return TorchKernel()
    if not _has(name):
        raise ConfigError(
            f"the kernel {name!r} needs {name}, which is not installed: {INSTALL[name]}, or take kernel 'auto'"
        )
    if device_type(device) != DEVICES[name]:
        kind = {"cpu": "the CPU", "cuda": "CUDA devices"}[DEVICES[name]]
        raise ConfigError(f"the kernel {name!r} is for {kind}, and the device is {device!r}; take kernel 'auto'")
    return _compiled(name)


def default_kernel(device: str) -> Kernel:
    """The fastest kernel for a device: numba's on a CPU and triton's on a GPU where installed, else torch's."""
    for name, kind in DEVICES.items():
        if kind == device_type(device):
            if _has(name):
                return _compiled(name)
            _advise(name)
    return TorchKernel()


def _compiled(name: str) -> Kernel:
    # Both are optional, and take a while to import.
    if name == "numba":
        from rlsearch.kernels.numba_kernel import NumbaKernel

        return NumbaKernel()
    from rlsearch.kernels.triton_kernel import TritonKernel

    return TritonKernel()


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@cache
def _advise(name: str) -> None:
    _LOGGER.warning("%s is not installed; %s: %s", name, ADVICE[name], INSTALL[name])
