"""A confirmation from its functions to its files: everything is trained, compared, and written.

The best of thousands is partly luck, and a baseline at another function's learning rate is a weak one. So every
function, baselines included, gets the best of several learning rates, chosen on data of its own, and is then trained
from many seeds, each with new weights, a new order of examples and a new data set. Every training is stored and never
repeated.

Scores of several proxies are of different kinds. They are compared on each proxy in its own unit, and all together as
gains in spreads of the baselines.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

from rlsearch.common.files import write_text
from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.threads import one_thread
from rlsearch.errors import StorageError, why
from rlsearch.formula import Formula
from rlsearch.judging.archive import Archive
from rlsearch.kernels import Kernel
from rlsearch.kernels.latency import Latency, label, measure
from rlsearch.rewards.trainable import check_trainable
from rlsearch.runs.build import kernel_of, pool_of, proxies_of, resolve
from rlsearch.runs.config import Config
from rlsearch.runs.events import StopRequests
from rlsearch.runs.folder import Run
from rlsearch.studies.findings import Findings
from rlsearch.studies.functions import Function
from rlsearch.studies.gains import Gains, is_panel
from rlsearch.studies.measurements import Measurements
from rlsearch.studies.rates import chosen_rates
from rlsearch.studies.retrain import Options, Retraining, final_scores
from rlsearch.studies.written import write_confirmation


@dataclass(frozen=True, eq=False, slots=True)
class Confirmation:
    """How a confirmation ended.

    Attributes:
        findings: On the config's single proxy, or on its panel by the combined gains; None where it was interrupted,
            and what was trained until then is stored.
        folder: Where the files are; None if none were wanted.
        trained: Trainings done now, not counting those that were stored before.
        proxies: Of a panel, the findings on each proxy in its own unit.
        spread: What one spread of the config's baselines is, in the unit of the findings' scores; NaN where they were
            not all trained.
    """

    findings: Findings | None
    folder: Path | None
    trained: int
    proxies: Mapping[str, Findings] = field(default_factory=dict)
    spread: float = math.nan

    def __repr__(self) -> str:
        said = "interrupted" if self.findings is None else self.findings.verdict_on_strongest
        return f"<confirmation: {said}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdicts."""
        verdicts = ["interrupted; what was trained is stored"] if self.findings is None else self.findings.verdicts
        return f"<ul>{''.join(f'<li>{escape(verdict)}</li>' for verdict in verdicts)}</ul>"


def with_proxies(config: Config) -> Config:
    """The config with what it leaves open decided.

    Raises:
        ConfigError: If its reward has no proxies.
    """
    config = resolve(config)
    proxies_of(config)
    return config


def study(
    functions: Sequence[Function],
    config: Config,
    folder: Path,
    run: Run | None,
    options: Options,
    events: Events,
    source: str,
    *,
    with_spread: bool = False,
) -> Confirmation:
    """Trains the functions, compares them, and writes what was found.

    Args:
        functions: Formulas and baselines.
        config: The config whose proxies are trained, from :func:`with_proxies`.
        folder: For files and trainings.
        run: In whose TensorBoard it is shown.
        options: How much is trained.
        events: Told of progress.
        source: Where the formulas come from, as a text goes on after "no formula ".
        with_spread: Whether the spread of the config's baselines is wanted where the findings do not need it.

    Raises:
        InputError: If a proxy cannot train a formula.
        RewardError: If the reference diverges, and gains cannot be counted.
        StorageError: If the folder cannot be written.
    """
    reward, kernel = config.proxy_reward, kernel_of(config)
    assert reward is not None, "the config has proxies"
    formulas = [function.formula for function in functions]
    # What makes the unit of gains is trained too, though it need not be among what is compared.
    with_scale = is_panel(reward) or with_spread
    if with_scale:
        there = {formula.fingerprint for formula in formulas}
        formulas += [formula for formula in reward.scale_functions if formula.fingerprint not in there]
    check_trainable(formulas, config.proxies)

    retraining: Retraining | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "evaluations.sqlite"
        with stop_requests() as stop, one_thread(), Archive(path, create=not path.exists()) as archive:
            told = AllOf([events, StopRequests(stop)])
            retraining = Retraining(archive, kernel, config.device, pool_of(config), told, reward.time_limit)
            chosen = [chosen_rates(formulas, proxy, config.seed, options, retraining) for proxy in config.proxies]
            rates = [[each.rate for each in of_proxy] for of_proxy in chosen]
            pairs = list(zip(config.proxies, rates, strict=True))
            fresh = final_scores(formulas, pairs, config.seed, options.seeds, retraining)
            compared = formulas[: len(functions)]
            latencies = _latencies(compared, kernel, config.device, folder / "latencies.json", events)
            stop()
        counted = Gains.of(fresh.scores, formulas, reward) if with_scale else None
        measured_on = label(kernel, config.device, gated=any(formula.is_gated for formula in compared))
        measured = Measurements(functions, reward, chosen, fresh, counted, latencies, measured_on, source)
        findings, proxies = measured.findings(), measured.on_each_proxy()
        write_confirmation(findings, proxies, folder, run, config, options)
    except KeyboardInterrupt:
        # All trainings are stored, so a stop while they are compared loses nothing either.
        return Confirmation(None, folder, retraining.trained if retraining else 0)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {why(error)}") from error
    return Confirmation(findings, folder, retraining.trained, proxies, measured.spread)


def _latencies(formulas: Sequence[Formula], kernel: Kernel, device: str, store: Path, events: Events) -> list[Latency]:
    """What was measured before and kept in ``store``, or is measured now."""
    measured_on = label(kernel, device)
    known: dict[str, Latency] = {}
    # Where the file is missing or damaged, everything is measured anew.
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(store.read_text(encoding="utf-8"))
        if kept["label"] == measured_on:
            known = {text: Latency(**fields) for text, fields in kept["functions"].items()}
    missing = [formula for formula in formulas if formula.spelling not in known]
    if missing:
        events.on_progress("latency", 0, len(missing))
        known |= dict(zip([f.spelling for f in missing], measure(missing, kernel, device), strict=True))
        # What was measured on a busy machine is measured again the next time.
        functions = {text: asdict(latency) for text, latency in known.items() if not latency.is_rough}
        write_text(store, json.dumps({"label": measured_on, "functions": functions}, indent=1) + "\n")
        events.on_progress("latency", len(missing), len(missing))
    return [known[formula.spelling] for formula in formulas]
