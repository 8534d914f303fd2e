"""The latency model, a sum of operator costs, against latency as measured."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from rlsearch.formula import FormulaBuilder
from rlsearch.formula.settings import LanguageSettings
from rlsearch.kernels import TorchKernel
from rlsearch.rewards.latency import calibrate, measure
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import ScreeningSettings

pytestmark = pytest.mark.benchmark

COUNT = 40


def random_fit_formulas(count, seed=0):
    """Formulas of the default language by uniform choice of legal tokens, of at least two operators."""
    rng, grammar, found = np.random.default_rng(seed), LanguageSettings().grammar(), {}
    while len(found) < count:
        builder = FormulaBuilder(grammar, 256)
        while not builder.finished.all():
            mask = builder.mask()
            builder.advance(np.where(mask, rng.random(mask.shape), -1.0).argmax(axis=1))
        for formula in map(builder.formula, range(256)):
            if len(formula.program.instructions) >= 2 and not why_unfit(formula, ScreeningSettings()):
                found.setdefault(formula.fingerprint, formula)
    return list(found.values())[:count]


def test_the_model_ranks_like_the_measurement():
    kernel = TorchKernel()
    costs = calibrate(kernel, "cpu")
    formulas = random_fit_formulas(COUNT)
    measured, again = (measure(formulas, kernel, "cpu") for _ in range(2))
    ratios = [m.ratio for m in measured]
    estimates = [costs.ratio(formula) for formula in formulas]
    sizes = [formula.size for formula in formulas]
    errors = [abs(e / r - 1) for e, r in zip(estimates, ratios, strict=True)]
    rank = spearmanr(estimates, ratios).statistic
    print(f"\n{COUNT} random fit formulas, {costs.label}")
    for formula, estimate, m in sorted(zip(formulas, estimates, measured, strict=True), key=lambda t: t[2].ratio)[::8]:
        print(f"  estimated {estimate:5.2f}  measured {m.ratio:5.2f} [{m.low:.2f}, {m.high:.2f}]  {formula}")
    print(f"Spearman of model and measurement {rank:.3f}; median error {np.median(errors):.0%}")
    print(f"Spearman of two measurements      {spearmanr(ratios, [m.ratio for m in again]).statistic:.3f}")
    print(f"Spearman of size and measurement  {spearmanr(sizes, ratios).statistic:.3f}")
    assert rank > 0.8
