"""Screening: formulas told fit or unfit, and apart, per second on one core."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from rlsearch.bench.formulas import random_formulas
from rlsearch.bench.limits import multiplication_rate
from rlsearch.bench.report import Limit, Report, rate_rows
from rlsearch.common.threads import one_thread
from rlsearch.common.timing import PROCESS, in_turn
from rlsearch.formula import OPERATORS, Formula
from rlsearch.formula.backends import torch_backend
from rlsearch.formula.program import compile_program, run
from rlsearch.formula.settings import LanguageSettings
from rlsearch.kernels.latency import LatencyCosts, machine
from rlsearch.rewards.screening import why_unfit
from rlsearch.rewards.settings import ScreeningSettings
from rlsearch.search.mining.engine import mine

POINTS = 256
"""Of the grid."""

VALUE_DECIMALS = 3
"""Of the values that tell functions apart, in the ordinary way."""


def bench_screening(formulas: int = 1000, rounds: int = 15, mined_length: int = 6) -> Report:
    """Measures formulas screened per second: values, slopes, and what tells a function from others.

    Mining is measured with all it does, where numba is installed: it writes the formulas itself, tells functions apart
    and orders them.

    Args:
        formulas: Different random formulas per round, new ones each time: nothing is remembered of them.
        rounds: How often everything is timed.
        mined_length: Tokens of the longest formula that is mined.
    """
    settings = ScreeningSettings(points=POINTS)
    drawn = random_formulas(formulas * (rounds + 1), LanguageSettings(), fit=False)
    batches = [drawn[start : start + formulas] for start in range(0, len(drawn), formulas)]
    x = torch.linspace(-settings.reach, settings.reach, POINTS)
    by_numpy, by_torch = iter(batches), iter(batches)

    # Every call takes the next batch: nothing that is remembered of a formula is of use to a later one.
    def project() -> None:
        for formula in next(by_numpy):
            if not why_unfit(formula, settings):
                formula.fingerprint  # noqa: B018  (computed and remembered)

    def plain() -> None:
        for formula in next(by_torch):
            screen_by_autograd(formula, x, settings)

    ways: dict[str, Callable[[], object]] = {"numpy": project, "torch autograd": plain}
    done = dict.fromkeys(ways, formulas)
    if find_spec("numba") is not None:
        mined = LanguageSettings(min_length=1, max_length=mined_length).grammar()
        costs = LatencyCosts("the number of operators", 0.5, dict.fromkeys(OPERATORS, 1.0))
        ways = {"mining": lambda: mine(mined, None, settings, costs, 1), **ways}
        done["mining"] = mine(mined, None, settings, costs, 1).tested
    with one_thread():
        times = in_turn(ways, rounds, PROCESS)
        rate = multiplication_rate(PROCESS)
    rates = {way: done[way] / seconds for way, seconds in times.items()}

    # An operator takes at least a multiplication for its value and one for its slope.
    operations = float(np.mean([len(compile_program(f.tokens, f.inputs).instructions) for f in drawn]))
    limit = rate / (2 * POINTS * operations)
    rows = rate_rows("screening", f"{POINTS} points", "formulas/s", rates, "torch autograd", limit)
    limits = (Limit("multiplications of float32 in cache", rate / 1e9, "G/s"),)
    return Report("screening", machine("cpu"), None, PROCESS.name, rounds, limits, tuple(rows))


def screen_by_autograd(formula: Formula, x: Tensor, settings: ScreeningSettings) -> int | None:
    """Screens a formula as one would by hand: a hash of its rounded values, or None where it is unfit."""
    x = x.detach().requires_grad_()
    inputs = formula.inputs
    y = run(compile_program(formula.tokens, inputs), torch_backend(), [x] * len(inputs))
    (slope,) = torch.autograd.grad(y.sum(), x)
    if not (y.isfinite().all() and slope.isfinite().all()):
        return None
    if y.max() - y.min() <= settings.min_spread or slope.abs().max() > settings.max_slope:
        return None
    return hash(y.detach().mul(10**VALUE_DECIMALS).round().numpy().tobytes())
