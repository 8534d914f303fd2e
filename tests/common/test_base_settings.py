"""The base of all settings; each group's own rules are tested beside its package."""

from typing import Annotated

import pytest
from pydantic import Field, Tag, ValidationError

from rlsearch.common.settings import Settings, settings_in
from rlsearch.errors import ConfigError


class Inner(Settings):
    width: int = Field(8, ge=1)
    names: tuple[str, ...] = ()


class Outer(Settings):
    rate: float = 1.0
    inner: Inner = Inner()
    layers: tuple[Inner, ...] = ()


def test_values_are_checked_and_frozen():
    settings = Outer.check({"rate": 2, "inner": {"width": 3}, "layers": [{}, {"names": ["a"]}]})
    assert settings == Outer(rate=2.0, inner=Inner(width=3), layers=(Inner(), Inner(names=("a",))))
    assert Outer.check({}) == Outer()
    with pytest.raises(ValidationError, match="frozen"):
        settings.rate = 3.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ratte": 1}, r"^ratte: unknown key; did you mean 'rate'\? \(known: rate, inner, layers\)$"),
        ({"inner": {"widht": 1}}, r"^inner\.widht: unknown key; did you mean 'width'\? \(known: width, names\)$"),
        ({"layers": [{}, {"zzz": 1}]}, r"^layers\.1\.zzz: unknown key \(known: width, names\)$"),
        ({"inner": {"width": 0}}, r"^inner\.width: input should be greater than or equal to 1, got 0$"),
        ({"inner": 3}, r"^inner: expected a group of settings, got 3$"),
        ({"layers": 3}, r"^layers: expected a list, got 3$"),
        ({"rate": True}, r"^rate: expected a number, got true$"),
        ({"inner": {"width": False}}, r"^inner\.width: expected a number, got false$"),
        ({"rate": "fast"}, r"^rate: .*valid number.*got 'fast'$"),
        ({"rate": float("inf")}, r"^rate: .*finite number.*got inf$"),
        ([1, 2], r"^settings: expected a group of settings, got \[1, 2\]$"),
    ],
)
def test_one_line_per_problem(values, message):
    with pytest.raises(ConfigError, match=message):
        Outer.check(values)


def test_settings_made_by_name_are_refused_in_the_same_words():
    with pytest.raises(ConfigError, match=r"^ratte: unknown key; did you mean 'rate'\?"):
        Outer(ratte=1)
    with pytest.raises(ConfigError, match=r"^inner\.width: input should be greater than or equal to 1, got 0$"):
        Outer(inner={"width": 0})


def test_all_problems_are_told():
    with pytest.raises(ConfigError) as caught:
        Outer.check({"rate": "fast", "inner": {"width": 0, "nmaes": []}})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["rate", "inner.width", "inner.nmaes"]


def test_settings_of_an_annotation_are_found_in_order_and_by_kind():
    both = tuple[Annotated[Inner, Tag("a")] | Annotated[Outer, Tag("b")], ...] | None
    assert list(settings_in(both)) == [Inner, Outer]
    assert list(settings_in(both, "b")) == [Outer]
    assert list(settings_in(both, "c")) == list(settings_in(int)) == []
