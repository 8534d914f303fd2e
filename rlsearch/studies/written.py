"""Writes a confirmation: as JSON, as a table, as figures, and into a run's TensorBoard; and other studies as JSON."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rlsearch.common.files import write_text
from rlsearch.errors import StorageError, why
from rlsearch.judging.archive import Archive
from rlsearch.rewards.settings import AnyProxy
from rlsearch.runs.config import Config
from rlsearch.runs.folder import Run
from rlsearch.studies.figures import forest_figure, pareto_figure
from rlsearch.studies.files import to_csv, to_json
from rlsearch.studies.findings import Findings
from rlsearch.studies.holds import where_they_hold
from rlsearch.studies.retrain import Options


def write_confirmation(
    findings: Findings,
    proxies: Mapping[str, Findings],
    folder: Path,
    run: Run | None,
    config: Config,
    options: Options,
) -> None:
    """Writes what follows from the trainings; files of an earlier confirmation are replaced.

    Args:
        findings: Of a single proxy, or of a panel as a whole.
        proxies: Of a panel, on each of its proxies; each gets its own figures, ``forest-NAME.png`` and so on.
        folder: Where to.
        run: In whose TensorBoard it is shown.
        config: The config whose proxies were trained.
        options: How much was trained.

    Raises:
        StorageError: If the folder cannot be written.
    """
    more = {**_origin(config, config.proxies, options), "source": findings.source}
    figures = {"forest": forest_figure(findings), "pareto": pareto_figure(findings)}
    for name, found in proxies.items():
        ending = _file_name(name)
        figures |= {f"forest-{ending}": forest_figure(found), f"pareto-{ending}": pareto_figure(found)}
    try:
        write_text(folder / "confirm.json", to_json(findings, proxies, more))
        write_text(folder / "confirm.csv", to_csv(findings, proxies))
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=150)
        if run is not None:
            lines = [*findings.verdicts, *(where_they_hold(proxies) if proxies else ())]
            _show_in_tensorboard(lines, figures, folder.name, run)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {why(error)}") from error


def write_json(
    path: Path, tree: Mapping[str, Any], config: Config, proxies: Sequence[AnyProxy], options: Options
) -> None:
    """Writes what a study found, after what it was found with.

    Args:
        path: The file; an earlier one is replaced.
        tree: What was found: values that JSON has, without NaN and infinity.
        config: The config.
        proxies: Those that were trained.
        options: How much was trained.

    Raises:
        StorageError: If the file cannot be written.
    """
    text = json.dumps({**_origin(config, proxies, options), **tree}, indent=1, allow_nan=False) + "\n"
    try:
        write_text(path, text)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _origin(config: Config, proxies: Sequence[AnyProxy], options: Options) -> dict[str, Any]:
    """What findings were made with."""
    return {
        "rlsearch": version("rlsearch"),
        "options": asdict(options),
        "config_seed": config.seed,
        "proxies": [proxy.model_dump(mode="json") for proxy in proxies],
    }


def _file_name(proxy: str) -> str:
    """The name of a proxy as a part of a file's: ``"digits-mlp (2)"`` is ``"digits-mlp-2"``."""
    return re.sub(r"[^\w.]+", "-", proxy).strip("-")


def _show_in_tensorboard(lines: list[str], figures: Mapping[str, Figure], tag: str, run: Run) -> None:
    from torch.utils.tensorboard import SummaryWriter

    # The x-axis of everything else there.
    with Archive(run.archive, read_only=True) as archive:
        step = archive.proposals(before_round=archive.rounds())
    with closing(SummaryWriter(log_dir=str(run.folder))) as writer:
        writer.add_text(f"{tag}/verdicts", "\n".join(f"- {line}" for line in lines), step)
        for name, figure in figures.items():
            writer.add_figure(f"{tag}/{name}", figure, step, close=False)
