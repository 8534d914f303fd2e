"""How a thread computes in training.

One thread for torch: bits that do not depend on the machine's cores, and no waiting of threads for each other.

The products of a proxy or a policy are small: a second thread gains a fifth at best, and where another process wants
the core, threads that wait for each other made training thirty times slower. Cores are used by processes instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs its body with one torch thread and puts the number back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def no_denormals() -> Iterator[None]:
    """Flushes denormal numbers to zero: a saturated activation full of them costs half as much again otherwise.

    The processor's mode of this thread is set, whatever library computes in it.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
