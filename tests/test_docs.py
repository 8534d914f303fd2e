"""The pages: links lead somewhere, nothing is left out, and the examples on them run."""

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module, util
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import rlsearch
import rlsearch_envs
from rlsearch.common.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", EXAMPLES / "README.md"]
MOST_LINES, MOST_LINES_OF_README = 200, 150


@pytest.fixture(scope="module")
def hooks():
    """What makes the other pages when the site is built."""
    pytest.importorskip("mkdocs")
    spec = util.spec_from_file_location("hooks", DOCS / "hooks.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(text):
    """The anchors of a page's headings, as GitHub and mkdocs write them."""
    titles = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in headings(target.read_text()), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_can_be_read_at_once(page):
    lines = len(page.read_text().splitlines())
    assert lines <= (MOST_LINES_OF_README if page.name == "README.md" else MOST_LINES)


def test_every_page_is_in_the_navigation(hooks):
    def paths(entries):
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else paths(value)

    nav = list(paths(YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"]))
    written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert sorted(nav) == sorted(written | set(hooks.generated_pages()))


def public_names():
    """Where each public name is defined, as the pages of the Python API name it."""
    of_rlsearch = [f"{rlsearch._HOMES[name]}.{name}" for name in rlsearch._HOMES]
    classes = [value for value in vars(rlsearch_envs).values() if inspect.isclass(value)]
    return [*of_rlsearch, *(f"{cls.__module__}.{cls.__name__}" for cls in classes)]


@pytest.mark.parametrize("path", public_names())
def test_a_public_name_is_on_a_page(path):
    module, _, name = path.rpartition(".")
    # A package may hand on what one of its modules defines.
    home = getattr(getattr(import_module(module), name), "__module__", module)
    home = home if home.startswith("rlsearch") else module
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    assert f"::: {home}.{name}\n" in text, f"write '::: {home}.{name}' into a page of docs/api"


def test_generated_pages_hold_what_they_are_made_from(hooks):
    pages = hooks.generated_pages()
    for config in (ROOT / "configs").glob("*.yaml"):
        assert f"## {config.stem}\n\n```yaml\n{config.read_text()}```" in pages["configs.md"]
    for code in EXAMPLES.rglob("*.py"):
        assert code.read_text() in pages["examples.md"]
    assert "| `gate(a, b)` |" in pages["operators.md"]
    assert "](docs/" not in pages["contributing.md"] + pages["changelog.md"] + pages["examples.md"]


def test_links_out_of_the_folder_lead_to_pages_of_the_site(hooks):
    text = "[a](../configs/gpu.yaml) [b](../examples/README.md) [c](../CHANGELOG.md) [d](results.md)"
    assert hooks.on_page_markdown(text) == "[a](configs.md#gpu) [b](examples.md) [c](changelog.md) [d](results.md)"


def test_roles_of_docstrings_are_shown_as_names(hooks):
    shown = hooks.on_page_content("see :func:<code>train</code> and :class:<code>~rlsearch.Config</code>")
    assert shown == "see <code>train</code> and <code>rlsearch.Config</code>"


def python_on(page):
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["python.md", "tutorial.md"])
def test_the_examples_on_a_page_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    blocks = python_on(page)
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, example {number + 1}", "exec"), {})
    assert len(blocks) >= 3
    assert "Traceback" not in capsys.readouterr().out


def test_the_listeners_of_the_page_log_every_round(tmp_path, monkeypatch):
    """Weights & Biases and MLflow, with stand-ins that remember what they are told."""
    monkeypatch.chdir(tmp_path)
    block = next(block for block in python_on("python.md") if "class ToWandb" in block)
    names = {}
    exec(block, names)
    logged = {"wandb": [], "mlflow": []}

    class Wandb:
        def init(self, project):
            return self

        def log(self, values, step):
            logged["wandb"].append((values["best_reward"], step))

        def finish(self):
            logged["wandb"].append("end")

    class Mlflow:
        def start_run(self):
            pass

        def log_metrics(self, values, step):
            assert all(isinstance(value, float | int) for value in values.values())
            logged["mlflow"].append((values["best_reward"], step))

        def end_run(self):
            logged["mlflow"].append("end")

    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    monkeypatch.setitem(sys.modules, "mlflow", Mlflow())
    config = {"search": {"rounds": 2, "formulas_per_round": 8}, "reward": {"target": "rlsearch_envs:CurveReward"}}
    rlsearch.train(config, "told", events=[names["ToWandb"](), names["ToMlflow"]()])
    assert [entry if entry == "end" else entry[1] for entry in logged["wandb"]] == [8, 16, "end"]
    assert logged["mlflow"] == logged["wandb"]


def test_the_minimal_search_finds_better_functions_than_its_first(monkeypatch):
    """A round of eight, then a second one: the board is sorted, and nothing is trained twice."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    found = import_module("minimal_search").search(rounds=2, formulas_per_round=8)
    values = [value for value, _ in found]
    assert values == sorted(values, reverse=True)
    assert len({formula.fingerprint for _, formula in found}) == len(found) <= 16
    assert len((EXAMPLES / "minimal_search.py").read_text().splitlines()) <= 80


def test_symbolic_regression_knows_a_perfect_fit(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / "symbolic-regression"))
    fit = import_module("symbolic_regression").Fit()
    perfect, worse, unfit = map(
        rlsearch.Formula.parse, ("log(x + 1) + log(x * x + 1)", "x", "exp(exp(exp(exp(x + 2))))")
    )
    results = fit([perfect, worse, unfit])
    assert results[0].value == pytest.approx(1, abs=1e-9)
    assert 0 < results[1].value < 0.95
    assert results[2].status is rlsearch.Status.UNFIT


def cells():
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_was_run_and_is_small():
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    assert any(cell["outputs"] for cell in cells())
    assert (EXAMPLES / "quickstart.ipynb").stat().st_size < 100_000


def test_the_notebook_runs_as_a_script(tmp_path):
    """In a process of its own: its search for two rounds with the tiny proxy of the smoke config."""
    lines = "\n\n".join("".join(cell["source"]) for cell in cells() if not "".join(cell["source"]).startswith("%%"))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    script = lines.replace("quickstart.yaml", "smoke.yaml").replace("rounds=20", "rounds=2")
    assert "smoke.yaml" in script
    assert "rounds=2," in script
    (tmp_path / "cells.py").write_text(script)
    done = subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr


def test_settings_groups_have_a_sentence():
    """The reference begins a section with it."""

    def of(cls):
        for inner in cls.__subclasses__():
            # Tests have settings of their own.
            if inner.__module__.startswith("rlsearch"):
                yield inner
            yield from of(inner)

    assert all((cls.__doc__ or "").strip().splitlines()[0].endswith(".") for cls in of(Settings))
