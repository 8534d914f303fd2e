"""Runs, comparisons and confirmations to be reported, made without any training."""

import json
import re
import shutil
from html.parser import HTMLParser

from helpers import make_config
from helpers_findings import panel, typical

from rlsearch import train
from rlsearch.formula import Formula
from rlsearch.studies.comparison import MethodComparison, SearchRecord, write_comparison
from rlsearch.studies.files import to_json


def free_run(folder, name="free", rounds=3, **more):
    """A run with a free reward, which has neither proxies nor latencies."""
    return train(make_config(rounds=rounds, **more), name, runs=folder).run.folder


def confirm_into(folder, findings, proxies=None):
    """Writes a confirmation."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "confirm.json").write_text(to_json(findings, proxies or {}, {"source": findings.source}))
    return folder


def whole_run(folder, name="whole"):
    """A run with a confirmation on a panel, and on two other tasks."""
    run = free_run(folder, name)
    confirm_into(run / "confirm", *panel())
    confirm_into(run / "transfer-apples", typical())
    confirm_into(run / "transfer-pears", typical())
    return run


def comparison_in(folder):
    """A comparison of two methods with a run of each."""
    run = free_run(folder, "ppo-0")
    shutil.copytree(run, folder / "random-0")
    best = Formula.parse("x * tanh(x)")
    records = {
        "ppo": [SearchRecord(seed, (0.1, 0.2, 0.4 + seed / 10), 9, 1, 4, best) for seed in (0, 1)],
        "random": [SearchRecord(seed, (0.2, 0.1, 0.3), 8, 2, 3, best) for seed in (0, 1)],
    }
    write_comparison(MethodComparison.of(records, folder, 3, (), None))
    return folder


VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What a page is made of; elements that are not closed in order are an error."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.headings, self.attributes, self.tags, self.text = [], [], [], ""
        self._open = []
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self._open and self._open[-1] == "h2":
            self.headings[-1] += data
        if "style" not in self._open and "script" not in self._open:
            self.text += data

    def values(self, name):
        """The values of an attribute."""
        return [value for _, found, value in self.attributes if found == name]

    @property
    def words(self):
        """The text with single blanks."""
        return re.sub(r"\s+", " ", self.text)


def change_meta(run, **changes):
    """Changes metadata of a run."""
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps(meta | changes))
