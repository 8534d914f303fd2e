"""The global random numbers of Python, numpy and torch, which belong to the caller."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_numbers_kept(gpus: Sequence[int] = ()) -> Iterator[None]:
    """Restores all global generators after the block, which may seed them and draw from them.

    Args:
        gpus: Those GPUs whose generators are restored too.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=list(gpus)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def random_numbers_of(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seeds the global generators inside the block and restores them after.

    Args:
        seed: Of all of them.
        device: A GPU's own generator is among them; None: those of all GPUs that this process uses.
    """
    gpus = _gpus(device)
    with random_numbers_kept(gpus):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        # torch.manual_seed would seed every GPU too.
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield


def _gpus(device: torch.device | None) -> list[int]:
    if device is None:
        return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return [device.index or 0] if device.type == "cuda" else []
