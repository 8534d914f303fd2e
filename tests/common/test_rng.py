import random

import numpy as np
import pytest
import torch

from rlsearch.common.rng import random_numbers_kept, random_numbers_of

CPU = torch.device("cpu")


def draw():
    return random.random(), np.random.random(), torch.rand(1).item()


def seeded(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("block", [random_numbers_kept, lambda: random_numbers_of(9, CPU)], ids=["kept", "seeded"])
def test_the_callers_numbers_go_on_as_if_nothing_had_been_drawn(block, fails):
    seeded(3)
    expected = draw()
    seeded(3)
    try:
        with block():
            seeded(5)
            draw()
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert draw() == expected


def test_a_seed_decides_all_of_them():
    found = []
    for outside, seed in ((1, 7), (2, 7), (1, 8)):
        seeded(outside)
        with random_numbers_of(seed, CPU):
            found.append(draw())
    assert found[0] == found[1]
    assert all(a != b for a, b in zip(found[0], found[2], strict=True))


def test_a_seed_beyond_numpys_is_taken():
    with random_numbers_of(2**40 + 3, CPU):
        assert np.random.randint(10) >= 0
