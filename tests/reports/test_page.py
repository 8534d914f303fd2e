import json
import math
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest
from helpers import make_config, proxies
from helpers_findings import baseline, finding, findings_of, noisy, panel, typical
from helpers_report import Page, change_meta, comparison_in, confirm_into, free_run, whole_run

import rlsearch.api
from rlsearch import train
from rlsearch.errors import InputError, RunError, StorageError
from rlsearch.reports.material import material_of
from rlsearch.reports.page import page_of, prose, report
from rlsearch.runs.folder import Run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def page(whole):
    return Page(page_of(material_of(whole)))


def test_a_run_has_every_part_in_order(page):
    assert page.headings == [
        "What can be said",
        "The function",
        "Differences to the baselines",
        "Cost and progress",
        "Confirmed functions",
        "Where it wins",
        "Where it holds",
        "Leaderboard of the search",
        "What functions are made of",
        "How it was made",
    ]


def test_the_verdicts_are_those_of_the_confirmation(page):
    verdict = panel()[0].verdict_on_strongest.replace("`", "")
    assert page.words.count(f"{verdict}.") == 1
    for other in panel()[0].verdicts:
        assert other[:1].upper() + other[1:].replace("`", "") in page.words or other.replace("`", "") in page.words
    assert not [text for text in page.values("data-copy") if text.startswith("rlsearch ")]


def test_what_is_not_confirmed_is_told_with_a_caveat_and_the_command(tmp_path):
    """The run has proxies, so that it could be confirmed."""
    run = train(make_config(proxies(tmp_path), 1, 6, search={"method": "random"}), "my run", runs=tmp_path).run.folder
    page = Page(page_of(material_of(run)))
    assert "Nothing is confirmed yet" in page.words
    assert "the best of many is partly luck" in page.words
    assert f"rlsearch confirm '{run}'" in page.values("data-copy")
    assert f"rlsearch transfer '{run}'" in page.values("data-copy")
    assert "Score against latency" in page.words
    # A panel of two proxies: the gains that the search saw.
    assert "Where it wins" in page.headings
    assert "as the search saw it" in page.words
    assert "Confirmed functions" not in page.headings


def test_a_run_without_proxies_is_not_told_to_be_confirmed(tmp_path):
    page = Page(page_of(material_of(free_run(tmp_path))))
    assert not [text for text in page.values("data-copy") if text.startswith("rlsearch ")]
    assert page.headings[:3] == ["What can be said", "The function", "Cost and progress"]


def test_a_run_that_has_only_begun_has_no_score(tmp_path):
    run = free_run(tmp_path)
    with sqlite3.connect(run / "archive.sqlite") as connection:
        connection.execute("DELETE FROM functions")
        connection.execute("DELETE FROM proposals")
    connection.close()
    page = Page(page_of(material_of(run)))
    assert "Nothing has a score yet." in page.words
    assert page.headings == ["What can be said", "How it was made"]


def test_a_run_under_way_is_reported_and_says_so(tmp_path):
    run = free_run(tmp_path)
    with Run(run).lock():
        # Locked by this process, the run cannot be locked again.
        path = report(run)
    assert "rlsearch: run, running" in Page(path.read_text(encoding="utf-8")).words


def test_a_comparison_has_its_methods(tmp_path):
    page = Page(page_of(material_of(comparison_in(tmp_path))))
    assert "A run of ppo ends better than one of random with probability 1.00" in page.words
    labels = page.values("aria-label")
    assert "The best reward so far of ppo, random" in labels
    assert "What functions are made of" in page.headings
    # Functions of several runs have no common order.
    assert "Parts seen earlier" not in page.words


def test_a_run_of_a_comparison_stands_beside_its_rivals(tmp_path):
    page = Page(page_of(material_of(comparison_in(tmp_path) / "ppo-0")))
    assert "The best reward so far of this run, ppo, random" in page.values("aria-label")


def test_a_confirmation_stands_alone(tmp_path):
    page = Page(page_of(material_of(confirm_into(tmp_path / "alone", typical()))))
    assert page.headings == [
        "What can be said",
        "The function",
        "Differences to the baselines",
        "Cost and progress",
        "Confirmed functions",
        "How it was made",
    ]
    # exp(x) diverged from one seed.
    assert "1/20 diverged" in page.words


def test_nothing_compared_is_said(tmp_path):
    only = findings_of([finding("exp(x)", [math.nan, *noisy(0.5)[1:]])], [baseline("relu", noisy(0.5))])
    page = Page(page_of(material_of(confirm_into(tmp_path / "alone", only))))
    assert "Nothing could be compared." in page.words
    assert "Differences to the baselines" not in page.headings


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'&"


def test_everything_from_a_run_is_escaped(tmp_path):
    run = whole_run(tmp_path, "a<script>alert(1)<b>")
    change_meta(run, device=EVIL, platform={EVIL: EVIL})
    with (run / "config.yaml").open("a") as file:
        file.write(f"# {EVIL}\n")
    confirmed = json.loads((run / "confirm" / "confirm.json").read_text())
    confirmed["latency_label"] = confirmed["source"] = EVIL
    confirmed["verdicts"].append(f"`{EVIL}` {EVIL}")
    for part in (confirmed, *confirmed["by_proxy"].values()):
        part["words"] = dict.fromkeys(("name", "score", "unit", "gain", "scale"), EVIL)
        for function in part["functions"]:
            if function["name"]:
                function["name"] = EVIL
    confirmed["by_proxy"] = {f"{EVIL}{i}": part for i, part in enumerate(confirmed["by_proxy"].values())}
    (run / "confirm" / "confirm.json").write_text(json.dumps(confirmed))
    (run / "transfer-apples").rename(run / "transfer-<script>apples")
    html = page_of(material_of(run))
    page = Page(html)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    # It is there, as text.
    assert page.words.count("<script>alert(1)</script>") > 10
    assert "a<script>alert(1)<b>" in page.words


def test_a_formula_that_is_none_is_refused(tmp_path):
    run = whole_run(tmp_path)
    path = run / "confirm" / "confirm.json"
    path.write_text(path.read_text().replace("x * x", "x * <script>"))
    with pytest.raises(InputError, match="<"):
        report(run)


def test_the_page_names_no_address(page, whole):
    html = page_of(material_of(whole))
    assert not re.findall(r"https?://|//[a-z]|url\(|@import|<iframe|<object", html)
    assert set(page.values("src")) == set()
    assert page.values("href") == ["data:,"]
    assert "default-src 'none'" in "".join(page.values("content"))


def test_every_picture_says_what_it_shows(page):
    pictures = [(tag, name) for tag, name, _ in page.attributes if name in ("aria-label", "aria-hidden")]
    assert pictures.count(("svg", "aria-label")) + pictures.count(("svg", "aria-hidden")) == page.tags.count("svg") > 8
    assert page.tags.count("h1") == 1
    assert len(set(page.values("id"))) == len(page.values("id"))


def test_the_same_run_gives_the_same_page_and_is_left_as_it_is(whole):
    def files():
        # Who reads an archive in WAL mode touches the memory that SQLite shares between processes.
        return {path: path.read_bytes() for path in whole.rglob("*") if path.is_file() and path.suffix != ".sqlite-shm"}

    before = files()
    assert page_of(material_of(whole)) == page_of(material_of(whole))
    assert files() == before


def test_the_page_is_written_beside_the_run_or_where_it_is_wanted(tmp_path):
    run = free_run(tmp_path)
    assert rlsearch.api.report(run) == run / "report.html"
    wanted = tmp_path / "page.html"
    assert rlsearch.api.report(Run(run), wanted) == wanted
    assert wanted.read_text() == (run / "report.html").read_text()
    assert wanted.read_text().startswith("<!doctype html>")


def test_a_reward_that_the_run_names_is_not_imported(tmp_path):
    """The reward's module is gone, and would fail if it were imported."""
    run = free_run(tmp_path)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("rlsearch_envs:CurveReward", "no_such_module:Reward"))
    assert "no_such_module:Reward" in Page(report(run).read_text()).text


@pytest.mark.parametrize(
    ("folder", "error", "message"),
    [
        ("nowhere", RunError, "there is no run"),
        ("empty", InputError, "there is nothing to report in .*empty: expected a run, the folder of a comparison"),
    ],
)
def test_what_cannot_be_reported_is_refused(folder, error, message, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        report(tmp_path / folder)


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"no/page.html cannot be written"):
        report(free_run(tmp_path), tmp_path / "no" / "page.html")


@pytest.mark.parametrize("name", ["config.yaml", "archive.sqlite", "notes.html", "confirm"])
def test_only_pages_are_replaced(name, run, tmp_path):
    folder = free_run(tmp_path)
    (folder / "notes.html").write_text("<!doctype html>\n<html>\n<p>My notes.</p>\n</html>\n")
    (folder / "confirm").mkdir()
    before = (folder / name).read_bytes() if name != "confirm" else None
    with pytest.raises(InputError, match=rf"{name} exists already; it is not overwritten"):
        report(folder, folder / name)
    assert run("report", folder, "-o", folder / name)[0] == 2
    assert before is None or (folder / name).read_bytes() == before


def test_a_page_is_replaced(tmp_path):
    folder, wanted = free_run(tmp_path), tmp_path / "page.html"
    report(folder, wanted).write_text(wanted.read_text().replace("</html>", "old"))
    (folder / "report.html").write_text("old")
    assert report(folder, wanted).read_text() == report(folder).read_text() == page_of(material_of(folder))


def test_the_winner_is_shown_and_copied_in_its_simplified_spelling(tmp_path):
    findings = findings_of([finding("x * x / 1", noisy(0.6, 1, 5))], [baseline("relu", noisy(0.5, 2, 5))])
    material = material_of(confirm_into(tmp_path / "confirm", findings))
    winner = material.winner
    assert str(winner) == "x**2"
    copied = Page(page_of(material)).values("data-copy")
    assert copied == ["x**2", winner.latex(), winner.source()]


def test_a_sentence_with_code():
    assert prose("`a < b` beats `c` & d") == "<code>a &lt; b</code> beats <code>c</code> &amp; d"
    assert prose("no formula beats it") == "No formula beats it"


def test_the_verb(run, tmp_path):
    folder = free_run(tmp_path)
    wanted = tmp_path / "page.html"
    assert run("report", folder, "-o", wanted) == (0, f"wrote {wanted}\n", "")
    assert "<h1>free</h1>" in wanted.read_text()
    code, _, err = run("report", tmp_path / "no")
    assert (code, err.startswith("rlsearch: there is no run")) == (2, True)


def test_the_verbs_do_without_the_page():
    code = "import sys, rlsearch.cli.verbs, rlsearch.api; print([m for m in sys.modules if 'rlsearch.reports' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_damaged_confirmation_is_named(tmp_path, whole):
    run = tmp_path / "copy"
    shutil.copytree(whole, run)
    (run / "transfer-pears" / "confirm.json").write_text("{")
    with pytest.raises(RunError, match=r"transfer-pears.confirm.json cannot be read"):
        report(run)
