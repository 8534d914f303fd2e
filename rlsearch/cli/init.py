"""The verb ``init``: a commented config to begin with, so that an installed package is enough."""

import re
from pathlib import Path
from typing import Annotated

import typer

from rlsearch.cli.tables import print_out
from rlsearch.errors import InputError, nearest

_PACKAGE = Path(__file__).parents[1]


def init(
    template: Annotated[
        str | None,
        typer.Argument(
            help="A name such as quickstart or my-network; without one they are listed.", metavar="TEMPLATE"
        ),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder to write into; it is made if it is missing.")] = Path("."),
) -> None:
    """Write a commented config to begin with, and its code.

    Example: rlsearch init my-network
    """
    templates = find_templates()
    if template is None:
        print_out("Templates, each for rlsearch init NAME:\n")
        width = max(map(len, templates))
        for name, files in templates.items():
            print_out(f"  {name:{width}}  {_purpose(files)}")
        return
    if template not in templates:
        known = ", ".join(templates)
        raise InputError(f"there is no template {template!r}{nearest(template, templates)} (known: {known})")
    files = templates[template]
    taken = [folder / file.name for file in files if (folder / file.name).exists()]
    if taken:
        raise InputError(f"{taken[0]} exists already; it is not overwritten (--folder writes elsewhere)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file.name).write_bytes(file.read_bytes())
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    written = [folder / file.name for file in files]
    print_out(f"wrote {' and '.join(map(str, written))}. Next:\n  rlsearch train {written[0]}")


def find_templates() -> dict[str, list[Path]]:
    """The files of each template by its name, the config first.

    They are the folders ``configs`` and ``examples`` of the project, which an installed package has within itself.
    """
    home = _PACKAGE if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent
    templates = {file.stem: [file] for file in sorted((home / "configs").glob("*.yaml"))}
    # An example with a config is a template: its config, and the code that the config names.
    for config in sorted((home / "examples").glob("*/*.yaml")):
        code = sorted(config.parent.glob("*.py"))
        templates[config.parent.name] = [config, *code]
    first = [name for name in ("quickstart", "my-network", "language-model") if name in templates]
    return {name: templates[name] for name in [*first, *(name for name in templates if name not in first)]}


def _purpose(files: list[Path]) -> str:
    """The beginning of a config's comment, up to the first colon or full stop."""
    lines = []
    for line in files[0].read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return re.split(r"[.:] ", " ".join(lines), maxsplit=1)[0].rstrip(".:")
