"""The page: what its template is filled with, and how it is written."""

import json
import re
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rlsearch.common.files import write_text
from rlsearch.errors import InputError, StorageError, why
from rlsearch.formula.simplify import shown
from rlsearch.judging.history import Judged
from rlsearch.reports.drawing import Picture
from rlsearch.reports.front import confirmed_front, searched_front
from rlsearch.reports.material import Kind, Material, material_of, text_of
from rlsearch.reports.progress import progress_picture
from rlsearch.reports.rows import baseline_forests, seeds_picture, winner_forest
from rlsearch.reports.shape import shape_pictures
from rlsearch.reports.tables import (
    leaders,
    operator_uses,
    parts_seen_earlier,
    proxy_gains,
    searched_gains,
    transfer_gains,
)
from rlsearch.runs.folder import Run
from rlsearch.studies.comparison import MethodComparison
from rlsearch.studies.findings import Findings
from rlsearch.studies.gains import searched_score
from rlsearch.studies.holds import where_they_hold

NAME = "report.html"
"""Of the page in the folder that it is of, unless told otherwise."""

_MARK = b'<meta name="generator" content="rlsearch">'
"""In the head of every page, so that a page is told from what must not be overwritten."""

_MARKED_BYTES = 200
"""The mark stands within so many bytes of the page's beginning."""


def report(what: Run | MethodComparison | Path | str, output: Path | str | None = None) -> Path:
    """Writes one page of HTML that shows a run, a comparison of methods, or a confirmation.

    The page stands by itself: it asks nothing of any network. Nothing is built or imported that the folder names. A run
    may still be going on.

    Args:
        what: Its folder.
        output: The file; by default ``report.html`` in that folder. That file is replaced, and so is another page.

    Returns:
        The file.

    Raises:
        InputError: If the folder is none of these, or ``output`` exists and is no page.
        RunError: If a file there is damaged.
        StorageError: If the page cannot be written.
    """
    folder = what.folder if isinstance(what, Run | MethodComparison) else Path(what)
    html = page_of(material_of(folder))
    path = Path(output) if output is not None else folder / NAME
    try:
        if output is not None and path.exists() and not _is_page(path):
            raise InputError(f"{path} exists already; it is not overwritten")
        write_text(path, html)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {why(error)}") from error
    return path


def _is_page(path: Path) -> bool:
    """Whether a file begins as pages do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK in file.read(_MARKED_BYTES)


def page_of(material: Material) -> str:
    """The page as text."""
    # Everything that comes from a folder is escaped. A name that the page has not been given is an error, not a blank.
    environment = Environment(
        loader=PackageLoader("rlsearch.reports"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.globals["shown"] = shown
    templates = files("rlsearch.reports") / "templates"
    own = {name: Markup((templates / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js")}
    template = environment.get_template("report.html.j2")
    return template.render(style=own["style.css"], script=own["script.js"], **_content(material)) + "\n"


def prose(sentence: str) -> Markup:
    """A sentence whose formulas stand between backticks, escaped, the formulas as code; it begins with a capital."""
    parts = re.split(r"`([^`]*)`", sentence[:1].upper() + sentence[1:])
    shown = [Markup("<code>{}</code>" if i % 2 else "{}").format(part) for i, part in enumerate(parts)]
    return Markup("").join(shown)


def _content(material: Material) -> dict[str, Any]:
    """Everything that the template asks for; what there is nothing of is None or empty."""
    confirmation, history = material.confirmation, material.history
    findings = confirmation.findings if confirmation else None
    proxies = confirmation.proxies if confirmation else {}
    winner = material.winner
    order = (*findings.formulas, *findings.baselines) if findings else ()
    transfers = {name: outcome.findings for name, outcome in material.transfers.items() if outcome.findings}
    return {
        "name": material.name,
        "kind": material.kind.value,
        "state": material.state,
        "version": version("rlsearch"),
        "winner": winner,
        "findings": findings,
        "commands": _commands(material),
        "best_seen": _best_seen(material) if findings is None else None,
        "comparison": material.comparison,
        "shape": shape_pictures(winner) if winner else [],
        "forest": winner_forest(findings) if findings else None,
        "forests": baseline_forests(findings) if findings else [],
        "front": _front(material, findings),
        "progress": _progress(material),
        "seeds": seeds_picture(findings) if findings else None,
        "gains": proxy_gains(proxies, order) if proxies else searched_gains(history),
        "gains_are_confirmed": bool(proxies),
        "on_proxies": where_they_hold(proxies) if proxies else [],
        "transfer": transfer_gains(material.transfers) if transfers else None,
        "on_targets": where_they_hold(transfers) if transfers else [],
        "leaders": leaders(history),
        "uses": operator_uses(history),
        "parts": parts_seen_earlier(winner, history) if winner and material.kind is Kind.RUN else [],
        "counts": _counts(material),
        "config": text_of(material.run.config_path) if material.run else None,
        "facts": _facts(material),
    }


def _best_seen(material: Material) -> Judged | None:
    found = material.history.found(1)
    return found[0] if found else None


def _commands(material: Material) -> dict[str, str]:
    """The commands that say more than the page does yet, each with what it shows."""
    if material.kind is not Kind.RUN or material.run is None or material.run.config.proxy_reward is None:
        return {}
    run, commands = shlex.quote(str(material.folder)), {}
    if material.confirmation is None:
        commands[f"rlsearch confirm {run}"] = "what can be claimed: fresh seeds and data, intervals, tests"
    # The tasks that come with rlsearch train formulas of x alone.
    if not material.transfers and not material.run.config.language.is_gated:
        commands[f"rlsearch transfer {run}"] = "whether it holds on tasks of other kinds"
    return commands


def _front(material: Material, findings: Findings | None) -> Picture | None:
    reward = material.run.config.proxy_reward if material.run else None

    def score_of(judged: Judged) -> float | None:
        return searched_score(judged.result, reward)[0] if reward else None

    if findings is not None and findings.compared_with:
        return confirmed_front(findings, material.history, score_of)
    return searched_front(material.history)


def _progress(material: Material) -> Picture | None:
    rivals = material.comparison.curves if material.comparison else {}
    return progress_picture(material.history if material.kind is Kind.RUN else None, rivals)


def _counts(material: Material) -> dict[str, int]:
    """How much was tried, by what it is."""
    found = [judged for judged in material.history.known.values() if not judged.is_reference]
    if not found:
        return {}
    return {
        "functions": len(found),
        "trained": sum(judged.result.status.is_trained for judged in found),
        "unfit": sum(judged.result.status.value == "unfit" for judged in found),
        "diverged": sum(judged.result.status.value == "diverged" for judged in found),
    }


def _facts(material: Material) -> dict[str, str]:
    """Machine, versions and times, as far as they are known."""
    if material.run is None:
        return {}
    return {key: _said(value) for key, value in material.run.read_meta().items()}


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return value if isinstance(value, str) else json.dumps(value)
