"""What kind of device a name such as ``"cuda:1"`` means."""


def device_type(device: str) -> str:
    """The part before the number: ``"cpu"`` or ``"cuda"``."""
    return device.partition(":")[0]


def is_cpu(device: str) -> bool:
    """Whether the device is the CPU."""
    return device_type(device) == "cpu"
