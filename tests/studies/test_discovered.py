"""What is shipped as found is what its name means, and no baseline."""

import numpy as np

from rlsearch import Formula, discovered
from rlsearch.formula.named import CONFIRMED_AGAINST


def test_a_discovered_function_is_known_by_its_name():
    assert discovered
    baselines = {Formula.parse(f"{name}(x)").fingerprint for name in CONFIRMED_AGAINST}
    for name, found in discovered.items():
        assert found.name == name
        assert Formula.parse(f"{name}(x)").fingerprint == found.formula.fingerprint
        assert found.formula.fingerprint not in baselines
        assert found.evidence.endswith(".")
        assert found.command.startswith("rlsearch ")
        assert found.search.startswith("rlsearch train configs/")


def test_atanline_by_hand():
    """arctan(1) is pi / 4, and the line is 1.5 there; at -2 the line is 0."""
    f = discovered["atanline"].formula
    np.testing.assert_allclose(f(x=np.array([0.0, 1.0, -2.0])), [0, 1.5 * np.pi / 4, 0], atol=1e-12)
