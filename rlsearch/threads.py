"""One thread for torch: bits that do not depend on the machine's cores, and no waiting of threads for each other.

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
