"""What the site has besides the files of this folder: pages made from the code, configs, examples and the root's pages.

mkdocs calls the functions ``on_...`` of this module; mkdocs.yml names it.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from rlsearch.formula.reference import as_markdown as operators_as_markdown
from rlsearch.runs.reference import settings_as_markdown, tags_as_markdown

ROOT = Path(__file__).parents[1]


def generated_pages() -> dict[str, str]:
    """The pages that are made when the site is built, by their path in it."""
    return {
        "settings.md": settings_as_markdown(),
        "tensorboard.md": tags_as_markdown(),
        "operators.md": operators_as_markdown(),
        "configs.md": configs_as_markdown(),
        "examples.md": examples_as_markdown(),
        "contributing.md": of_root("CONTRIBUTING.md"),
        "changelog.md": of_root("CHANGELOG.md"),
    }


def configs_as_markdown() -> str:
    """The configs that come with the package; ``rlsearch init NAME`` writes them."""
    lines = ["# Configs", "", "`rlsearch init NAME` writes one of them into the current folder.", ""]
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        lines += [f"## {path.stem}", "", f"```yaml\n{path.read_text()}```", ""]
    return "\n".join(lines)


def examples_as_markdown() -> str:
    """What lies in the folder of examples: its README, then every file."""
    home = ROOT / "examples"
    lines = [of_root("examples/README.md")]
    for path in sorted(home.rglob("*")):
        if path.suffix in _LANGUAGES:
            name = path.relative_to(home).as_posix()
            lines += [f"## {name}", "", f"```{_LANGUAGES[path.suffix]}\n{path.read_text()}```", ""]
    return "\n".join(lines)


_LANGUAGES = {".py": "python", ".yaml": "yaml"}


def of_root(path: str) -> str:
    """A page from outside of this folder, whose links lead to where its targets are on the site."""
    text = (ROOT / path).read_text()
    return re.sub(r"\]\((?:\.\./)?docs/", "](", text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for path, text in generated_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **more: object) -> str:
    """Links to files outside of this folder, which work where it is read as it is, lead to their pages on the site."""
    markdown = re.sub(r"\]\((?:\.\./)?configs/(\w+)\.yaml\)", r"](configs.md#\1)", markdown)
    markdown = re.sub(r"\]\(\.\./examples/[^)]*\)", "](examples.md)", markdown)
    return re.sub(r"\]\(\.\./(CONTRIBUTING|CHANGELOG)\.md\)", lambda found: f"]({found[1].lower()}.md)", markdown)


def on_page_content(html: str, **more: object) -> str:
    """Docstrings name functions by Sphinx's roles; on the site their names alone are shown."""
    return re.sub(r":(?:func|class|meth|mod|attr|data):<code>~?([^<]*)</code>", r"<code>\1</code>", html)
