"""The reference of settings and tags: nothing is left out, and every setting says what it is."""

import re

import pytest

from rlsearch.common.settings import TargetSettings
from rlsearch.proxies.own.settings import OwnProxySettings, OwnTrainingSettings
from rlsearch.proxies.settings import TrainingSettings
from rlsearch.runs.config import Config
from rlsearch.runs.reference import settings_as_markdown, settings_classes, tags_as_markdown
from rlsearch.runs.tags import DESCRIPTIONS


def described():
    return [(cls, name) for cls in settings_classes() for name in cls.model_fields]


def test_the_classes_are_those_of_a_config():
    found = settings_classes()
    assert found[0] is Config
    assert {OwnProxySettings, OwnTrainingSettings, TargetSettings} < set(found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(("cls", "name"), described())
def test_a_setting_says_what_it_is(cls, name):
    """In the same style everywhere: part of a sentence, that begins small or with a name, and has no full stop."""
    description = cls.model_fields[name].description
    assert description, f"{cls.__name__}.{name} has no description: write Field(..., description=...)"
    assert not description.endswith(".")
    assert "|" not in description, "a bar ends the cell of a table"


def test_every_setting_stands_in_the_page():
    sections = re.split(r"^## ", settings_as_markdown(), flags=re.MULTILINE)[1:]
    assert len(sections) == len(settings_classes()) + 1  # and what all proxies share
    written = {section.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) for section in sections}
    assert written["Config"] == list(Config.model_fields)
    assert written["Training"] == list(TrainingSettings.model_fields)
    assert written["Own training"] == ["kind", "target", "arguments", "source"]


def test_types_and_defaults_are_those_of_yaml():
    lines = settings_as_markdown().splitlines()
    rows = [line.strip("| ").split(" | ")[:3] for line in lines if line.startswith("| `")]
    assert ["`seed`", "whole number", "`0`"] in rows
    assert ["`kernel`", "`auto` or `torch` or `numba` or `triton`", "`auto`"] in rows
    assert ["`inputs`", "list of text", "`[x]`"] in rows
    assert ["`overlap`", "`true` or `false`", "`false`"] in rows
    assert ["`functions`", "whole number", "required"] in rows
    assert ["`code`", "path", "`null`"] in rows
    proxies = "list of [group](#proxy) or [group](#own-proxy) or [group](#own-training)"
    assert ["`proxies`", proxies, "`general`"] in rows


def test_links_within_the_page_lead_to_a_section():
    page = settings_as_markdown()
    sections = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.*)", page, re.MULTILINE)}
    assert set(re.findall(r"\(#([\w-]+)\)", page)) <= sections


def test_every_tag_stands_in_the_page():
    assert {tag for tag in DESCRIPTIONS if f"| `{tag}` |" in tags_as_markdown()} == set(DESCRIPTIONS)
