"""What kind of device a name such as ``"cuda:1"`` stands for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device_type(device: "str | torch.device") -> str:
    """``"cpu"`` or ``"cuda"``, whichever of several GPUs is meant."""
    return str(device).partition(":")[0]


def is_cpu(device: "str | torch.device") -> bool:
    """Whether the device is the processor."""
    return device_type(device) == "cpu"
