import functools
import inspect
import sys
from pathlib import Path

import pytest

import rlsearch_envs.curve
from rlsearch.common.targets import (
    build_callable,
    build_target,
    code_of,
    find_target,
    lies_in,
    refresh,
    search_first,
    search_too,
    source_of,
    takes_argument,
)
from rlsearch.errors import ConfigError
from rlsearch_envs import CurveReward

NOT_CALLABLE = 3


def make_pair(a, b=2):
    return a, b


class Confused:
    """Its constructor takes its argument, and fails within."""

    def __init__(self, weight):
        self.weight = weight + "heavy"


prepared = functools.partial(make_pair, b=7)


class Callable:
    def __call__(self, a):
        return self, a


instance = Callable()


def test_a_class_or_function_is_found():
    assert find_target("rlsearch_envs:CurveReward") is CurveReward
    assert find_target("rlsearch_envs.curve:CurveReward") is CurveReward
    assert find_target("math:sqrt")(4.0) == 2.0


def test_arguments_are_handed_over_and_the_config_is_kept():
    config = {"target": f"{__name__}:make_pair", "a": 1, "b": 5}
    assert build_target(config) == (1, 5)
    assert config == {"target": f"{__name__}:make_pair", "a": 1, "b": 5}
    assert build_target({"target": f"{__name__}:make_pair", "a": 1}) == (1, 2)
    assert build_target("builtins:dict") == {}
    assert build_target({"target": f"{__name__}:prepared", "a": 1}) == (1, 7)
    assert build_target({"target": f"{__name__}:instance", "a": 1}) == (instance, 1)


@pytest.mark.parametrize("path", ["", "math", "math.sqrt", "math:", ":sqrt", ":"])
def test_another_form(path):
    with pytest.raises(ConfigError, match=r"is not of the form 'package.module:name'"):
        find_target(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.module:name", "cannot be imported: No module named 'no_such_package'"),
        (".relative:name", "cannot be imported: TypeError: "),
        ("math.no:name", "cannot be imported: No module named 'math.no'"),
        ("rlsearch_envs:CurveRewrad", "rlsearch_envs has no 'CurveRewrad'; did you mean 'CurveReward'"),
        ("math:zzzzzz", "math has no 'zzzzzz'$"),
        (f"{__name__}:NOT_CALLABLE", "is a int, not a class or function"),
    ],
)
def test_what_is_not_there(path, message):
    with pytest.raises(ConfigError, match=message):
        find_target(path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"target": f"{__name__}:make_pair", "a": 1, "c": 2}, "make_pair does not take {'a': 1, 'c': 2}: .*'c'"),
        (f"{__name__}:make_pair", "make_pair does not take {}: .*missing a required .*argument: 'a'"),
        ({"target": f"{__name__}:prepared", "c": 1}, "prepared does not take {'c': 1}: .*'a'"),
        ({"target": f"{__name__}:instance", "b": 1}, "instance does not take {'b': 1}: .*'a'"),
        (
            {"target": f"{__name__}:Confused", "weight": 1},
            "Confused called with .* raised TypeError: unsupported",
        ),
        ({"target": "math:sqrt", "x": 4}, r"math:sqrt (does not take|called with) {'x': 4}"),
        ({"a": 1}, "expected a 'target' of the form 'package.module:name', got {'a': 1}"),
        ({"target": 3}, "expected a 'target'"),
    ],
)
def test_arguments_that_do_not_fit(config, message):
    with pytest.raises(ConfigError, match=message):
        build_target(config)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", True), ("b", True), ("c", False)],
)
def test_parameters_that_can_be_given_by_name(name, expected):
    assert takes_argument(f"{__name__}:make_pair", name) is expected
    assert takes_argument("builtins:dict", name) is False


def test_the_source_is_of_the_modules_that_name_and_define_a_target():
    own = Path(__file__).read_text()
    assert source_of(f"{__name__}:make_pair") == own
    assert inspect.getsource(rlsearch_envs.curve) in source_of("rlsearch_envs:CurveReward")
    assert inspect.getsource(rlsearch_envs) in source_of("rlsearch_envs:CurveReward")
    with pytest.raises(ConfigError, match="the source of 'math:sqrt' cannot be read"):
        source_of("math:sqrt")


class Shortness:
    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, formulas):
        return [-self.weight * len(formula) for formula in formulas]


def made_by_a_function(weight=1.0):
    return lambda formulas: [-weight * len(formula) for formula in formulas]


def plain(formulas):
    return [-len(formula) for formula in formulas]


def weighted(formulas, weight=1.0, *, power=1):
    return [-weight * len(formula) ** power for formula in formulas]


ready = Shortness(2.0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"target": f"{__name__}:Shortness"}, -3.0),
        ({"target": f"{__name__}:Shortness", "weight": 0.5}, -1.5),
        ({"target": f"{__name__}:made_by_a_function", "weight": 0.5}, -1.5),
        (f"{__name__}:plain", -3),
        ({"target": f"{__name__}:plain"}, -3),
        ({"target": f"{__name__}:weighted", "weight": 0.5}, -1.5),
        ({"target": f"{__name__}:weighted", "weight": 0.5, "power": 2}, -4.5),
        ({"target": f"{__name__}:ready"}, -6.0),
    ],
)
def test_what_is_to_be_called_is_made_or_is_the_target_itself(config, expected):
    assert build_callable(config, "formulas")(("abc",)) == [expected]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"target": f"{__name__}:plain", "weight": 2},
            r"plain takes \(formulas\), and the config gives weight; expected a factory that takes these alone, or a "
            "function that takes formulas and these",
        ),
        (f"{__name__}:two", r"two takes \(a, b\), and the config gives no arguments"),
        ({"target": f"{__name__}:Shortness", "wieght": 2}, "Shortness does not take {'wieght': 2}"),
        ({"a": 1}, "expected a 'target' of the form"),
        (f"{__name__}:NOT_CALLABLE", "is a int, not a class or function"),
    ],
)
def test_what_can_be_called_in_neither_way(config, message):
    with pytest.raises(ConfigError, match=message):
        build_callable(config, "formulas")


def two(a, b):
    return a, b


def leaving(code):
    raise SystemExit(code)


def test_a_factory_that_ends_the_process_does_not():
    with pytest.raises(ConfigError, match=r"leaving called with {'code': 3} raised SystemExit: 3"):
        build_target({"target": f"{__name__}:leaving", "code": 3})


# --- what a source does ---

SOURCE = '''"""A module."""
import math

def build(x, *, y=None, **more):
    """Builds."""
    # what for
    return {"a": f"{x:.3f}", **more}, None, 0, False, [math.pi], b"", ...
'''


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the source of a module, and gives its code."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "module_with_code", raising=False)

    def write(text):
        (tmp_path / "module_with_code.py").write_text(text)
        return code_of("module_with_code:build")

    return write


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# what for", "# or not", True),
        ("    # what for\n", "\n\n", True),
        ("Builds.", "Makes.", True),
        ('    """Builds."""\n', "", True),
        ('"""A module."""', "", True),
        ("(x, *, y=None, **more)", "(\n    x,\n    *,\n    y = None,\n    **more,\n)", True),
        ('"a"', "'a'", True),
        ("0", "1", False),
        ("0", "False", False),
        ("0", "0.0", False),
        ("None, 0", "0", False),
        ("False", "None", False),
        (".3f", ".4f", False),
        ("y=None", "y=()", False),
        ('b""', '""', False),
        ("[math.pi]", "[]", False),
        ("import math", "import math, os", False),
    ],
)
def test_code_is_what_a_source_does(written, old, new, same):
    before = written(SOURCE)
    assert old in SOURCE
    assert (written(SOURCE.replace(old, new, 1)) == before) is same


def test_code_is_the_same_in_every_python(written):
    """Written down from Python 3.11; later ones have more fields, which are empty here."""
    assert written("def build(x: int) -> None: return -x") == (
        "Module(body=[FunctionDef(name='build',args=arguments(args=[arg(arg='x',annotation=Name(id='int',ctx=Load()))])"
        ",body=[Return(value=UnaryOp(op=USub(),operand=Name(id='x',ctx=Load())))],returns=Constant())])"
    )


def test_a_source_that_is_no_longer_python(written):
    written(SOURCE)
    with pytest.raises(ConfigError, match="the source of 'module_with_code:build' is not Python any more"):
        written("def build(:")


def test_what_lies_in_a_folder(tmp_path):
    (tmp_path / "one.py").touch()
    (tmp_path / "two").mkdir()
    assert [lies_in(tmp_path, path) for path in ("one:f", "one.more:f", "two.more:f", "three:f", ":f", "")] == [
        *[True] * 3,
        *[False] * 3,
    ]


# --- the right file of a name ---


@pytest.fixture
def two_folders(tmp_path, monkeypatch):
    """Folders ``a`` and ``b``, each with a module of the same name and one that this imports."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twice_written.py").write_text("from twice_helping import NAME\ndef give(): return NAME\n")
        (tmp_path / name / "twice_helping.py").write_text(f"NAME = {name!r}\n")
    yield tmp_path
    for name in ("twice_written", "twice_helping"):
        sys.modules.pop(name, None)


def test_each_folder_gives_its_own_module_and_comes_before_the_current_one(two_folders):
    search_too(two_folders / "b")  # as the command does for the folder that one stands in
    for name in ("a", "b", "a"):
        search_first(two_folders / name)
        assert find_target("twice_written:give")() == name
        assert sys.path.count(str((two_folders / name).resolve())) == 1


def test_what_is_python_s_own_stays(two_folders):
    (two_folders / "a" / "json.py").write_text("raise RuntimeError\n")
    (two_folders / "a" / "rlsearch_envs.py").write_text("raise RuntimeError\n")
    kept = [sys.modules["json"], sys.modules["rlsearch_envs"]]
    search_first(two_folders / "a")
    assert [sys.modules["json"], sys.modules["rlsearch_envs"]] == kept


def test_an_edited_file_is_imported_anew(two_folders):
    """Also when the edit leaves its size, and its time in whole seconds, as they were."""
    search_first(two_folders / "a")
    file, path = two_folders / "a" / "twice_written.py", "twice_written:give"
    found = []
    for number in (1, 2, 3):
        file.write_text(f"def give(): return {number}\n")
        refresh([path])
        found.append(find_target(path)())
    assert found == [1, 2, 3]
    file.write_text("def give(:\n")
    with pytest.raises(ConfigError, match="'twice_written:give' cannot be imported anew: SyntaxError"):
        refresh([path])


def test_an_edited_file_that_another_names_is_imported_anew(two_folders):
    search_first(two_folders / "a")
    (two_folders / "a" / "twice_written.py").write_text("from twice_helping import give\n")
    found = []
    for number in (1, 2):
        (two_folders / "a" / "twice_helping.py").write_text(f"def give(): return {number}\n")
        refresh(["twice_written:give"])
        found.append(find_target("twice_written:give")())
    assert found == [1, 2]


def test_what_has_no_source_is_left_alone():
    refresh(["math:sqrt"])
    assert find_target("math:sqrt")(9.0) == 3.0
