import datetime
import math

import pytest
from helpers import CONFIGS, CURVE, make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FIXED

from rlsearch.errors import ConfigError
from rlsearch.formula.named import GATED_BASELINES, GATED_REFERENCE
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards.settings import RewardSettings
from rlsearch.runs.config import Config, RewardTarget, dump_config, load_config

NESTED = """\
# a comment
search:
  rounds: 5
reward:
  proxies:
    - dataset: digits
      epochs: 2
    - dataset: mnist1d
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="c.yaml"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write


def refusal(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_in_the_repository_loads_builds_its_grammar_and_comes_back(path, tmp_path):
    config = load_config(path)
    assert config.language.grammar().max_length == config.language.max_length
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(config))
    assert load_config(again) == config


def test_there_are_configs_in_the_repository():
    assert {"quickstart", "smoke", "curve"} <= {path.stem for path in CONFIGS}


def test_an_empty_file_is_the_default(write):
    assert load_config(write("")) == Config() == load_config(write("# nothing\n---\n"))


def test_numbers_are_those_of_yaml_1_2(write):
    config = load_config(
        write(
            "search: {rounds: 1e2, formulas_per_round: 0o20}\ncontroller: {ppo: {learning_rate: 3e-4, ent_coef: 1E-2}}"
        )
    )
    assert config.search.rounds == 100
    assert isinstance(config.search.rounds, int)
    assert config.search.formulas_per_round == 16
    assert config.controller.ppo.learning_rate == 3e-4
    assert config.controller.ppo.ent_coef == 0.01
    target = load_config(write("reward: {target: 'a:b', limit: 1e6, no: no, on: yes, sure: true}")).reward
    assert target == RewardTarget(target="a:b", limit=1e6, no="no", on="yes", sure=True)


def test_what_is_not_a_number_stays_text(write):
    assert "device: expected auto, cpu, cuda or cuda:N, got 'no'" in refusal(write("device: no"))
    assert "got 'no'" in refusal(write("device: no"))
    assert "search.rounds: input should be a valid integer, got a number with a frac" in refusal(
        write("search: {rounds: 1.5}")
    )


@pytest.mark.parametrize(
    ("text", "start", "parts"),
    [
        ("\n\nsed: 3\n", "c.yaml:3: sed: unknown key", ["did you mean 'seed'?", "known: seed, device"]),
        ("seed: -1", "c.yaml:1: seed: input should be greater than or equal to 0, got -1", []),
        ("seed: []", "c.yaml:1: seed: input should be a valid integer, got []", []),
        ("seed:", "c.yaml:1: seed: input should be a valid integer, got None", []),
        ("controller:\n  ppo:\n    gama: 1", "c.yaml:3: controller.ppo.gama: unknown key", ["'gamma'"]),
        ("controller: 5", "c.yaml:1: controller: expected a group of settings, got 5", []),
        ("controller:", "c.yaml:1: controller: expected a group of settings, got None", []),
        ("reward: [1]", "c.yaml:1: reward: expected a group of settings, got [1]", []),
        ("\nreward:\n  wieght: 1", "c.yaml:3: reward.wieght: unknown key", ["latency_weight"]),
        ("reward: {proxies: 3}", "c.yaml:1: reward.proxies: expected a list, got 3", []),
        ("reward: {proxies: []}", "c.yaml:1: reward.proxies: tuple should have at least 1 item", []),
        (NESTED + "      wdths: [8]", "c.yaml:9: reward.proxies.1.wdths: unknown key; did you mean 'widths'?", []),
        (NESTED + "      epochs: none", "c.yaml:9: reward.proxies.1.epochs: input should be a valid integer", []),
        (NESTED + "      widths: [6]", "c.yaml:8: reward.proxies.1: widths must be a multiple of 4, got [6]", []),
        ("language:\n  operators: [add, mull]", "c.yaml:1: language: unknown operator 'mull'", ["did you mean 'mul'?"]),
        ("status_values: {unfit: .nan}", "c.yaml:1: status_values.unfit: input should be a finite number", []),
        ("reward: {target: }", "c.yaml:1: reward.target: input should be a valid string, got None", []),
        ('"<x>": 1', "c.yaml:1: <x>: unknown key", []),
        ("3: 1", "c.yaml:1: 3: unknown key", []),
    ],
)
def test_a_wrong_key_type_or_value_is_named_with_its_line(write, text, start, parts):
    message = refusal(write(text))
    assert message.startswith(start)
    assert len(message.splitlines()) == 1
    assert all(part in message for part in parts)


def test_every_problem_has_a_line_of_its_own(write):
    lines = refusal(write("sed: 1\nsearch:\n  rounds: 0\ncontroller:\n  ppo: {gamma: 2}\n")).splitlines()
    assert {line.split(": ")[0] + " " + line.split(": ")[1] for line in lines} == {
        "c.yaml:1 sed", "c.yaml:3 search.rounds", "c.yaml:5 controller.ppo.gamma",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("n_envs", "it is search.formulas_per_round, without the offspring"),
        ("n_steps", "it is language.max_length"),
        ("normalize_advantage", "learn_from decides it"),
    ],
)
def test_settings_that_follow_from_others_are_refused_with_the_reason(write, name, reason):
    message = refusal(write(f"controller:\n  ppo:\n    {name}: 8"))
    assert f"controller.ppo: {name} is not a setting: {reason}" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\n\nseed: 2", 'c.yaml:3: not YAML: found duplicate key "seed" with value "2"'),
        ("search: {rounds: 1, rounds: 2}", "c.yaml:1: not YAML: found duplicate key"),
        ("- seed", "c.yaml:1: expected settings of the form 'key: value', got a list"),
        ("seed", "c.yaml:1: expected settings of the form 'key: value', got a single value"),
        ("search:\n\trounds: 3", "c.yaml:2: not YAML: found character '\\t' that cannot start any token"),
        ("seed: 1\ncontroller: [", "c.yaml:2: not YAML:"),
        ("seed: 'a", "c.yaml:1: not YAML: found unexpected end of stream"),
        ("--- {}\n--- {}", "c.yaml:2: not YAML: but found another document"),
        ("seed: *there", "c.yaml:1: not YAML: found undefined alias"),
        (b"seed: 1\x00", "c.yaml: not YAML: unacceptable character"),
        (b"\xff\xfe\xfd", "c.yaml cannot be read: it is not UTF-8 text"),
        ("[" * 1500, "c.yaml: nested too deeply"),
        ("{a: " * 1500, "c.yaml: nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(write, text, message):
    assert refusal(write(text)).startswith(message)


def test_a_missing_file_is_refused_with_those_that_are_there(write, tmp_path):
    assert refusal("nope.yaml") == "nope.yaml cannot be read: No such file or directory"
    (tmp_path / "configs").mkdir()
    write("", "configs/quick.yaml")
    assert refusal("nope.yaml").endswith("; there is configs/quick.yaml")
    assert refusal("configs/quik.yaml").endswith("; did you mean 'quick'?; there is configs/quick.yaml")
    for meant in ("configs\\quick.yaml", "quick.yaml"):
        assert refusal(meant).endswith("No such file or directory; did you mean configs/quick.yaml?")
    assert refusal("configs") == "configs cannot be read: Is a directory"


def test_overrides_are_merged_before_the_check(write):
    path = write(NESTED)
    config = load_config(
        path,
        ["seed=4", "controller.ppo.learning_rate=3e-4", "controller.ppo.net_arch=[8, 8]", "reward.proxies.0.epochs=3",
         "reward.proxies.1={dataset: digits, data_seed: 2}", " logging.every = 2", "seed=5"],
    )  # fmt: skip
    assert config.seed == 5
    assert config.search.rounds == 5
    assert config.controller.ppo.learning_rate == 3e-4
    assert config.controller.ppo.net_arch == (8, 8)
    assert [proxy.epochs for proxy in config.reward.proxies] == [3, 5]
    assert [proxy.dataset for proxy in config.reward.proxies] == ["digits", "digits"]
    assert config.logging.every == 2
    assert load_config(write("reward: {target: 'a:b'}"), ["reward.curve=x * sin(x) = 3"]).reward.curve == (
        "x * sin(x) = 3"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set 'seed' is not of the form a.b=value"),
        ("=3", "--set '=3' is not of the form a.b=value"),
        ("a..b=3", "--set 'a..b=3' is not of the form a.b=value"),
        ("seed=[1", "--set 'seed=[1': '[1' is not a YAML value"),
        ("seed=", "--set 'seed=' gives no value; write seed=null for none"),
        (
            "seed=no",
            "--set seed: input should be a valid integer, unable to parse string as an integer, got 'no'",
        ),
        ("search.rounds.x=1", "--set 'search.rounds.x=1': search.rounds is a value, not a group"),
        ("controller.ppo.gama=1", "--set controller.ppo.gama: unknown key; did you mean 'gamma'?"),
        ("serch.rounds=1", "c.yaml:1 with --set serch.rounds: serch: unknown key; did you mean"),
        ("reward.proxies.0.epochs=0", "--set reward.proxies.0.epochs: input should be"),
        ("reward.proxies.1.widths=[6]", "c.yaml:8 with --set reward.proxies.1.widths: reward.proxies.1: widths must"),
        (
            "reward.proxies.2.epochs=1",
            "--set 'reward.proxies.2.epochs=1': reward.proxies is a list of 2, counted from 0",
        ),
        (
            "reward.proxies.-1.epochs=1",
            "--set 'reward.proxies.-1.epochs=1': reward.proxies is a list of 2, counted from 0",
        ),
        ("reward.proxies.²=1", "--set 'reward.proxies.²=1': reward.proxies is a list of 2, counted from 0; got '²'"),
    ],
)
def test_a_wrong_override_is_named_and_not_the_file(write, override, message):
    assert refusal(write(NESTED), override).startswith(message)


def test_a_problem_of_the_file_is_not_blamed_on_an_override(write):
    assert refusal(write(NESTED + "      wdths: [8]"), "seed=1", "reward.proxies.1.epochs=3").startswith("c.yaml:9: ")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!Formula"])
def test_nothing_in_a_config_is_run(write, tmp_path, tag):
    path = write(f"seed: {tag} ['touch {tmp_path}/hacked']\n")
    assert "seed: input should be a valid integer" in refusal(path)
    path = write(f"reward: {{target: 'a:b', x: {tag} ['touch {tmp_path}/hacked'], y: {tag} touch}}\n")
    assert load_config(path).reward.model_extra == {"x": [f"touch {tmp_path}/hacked"], "y": "touch"}
    assert "seed" in refusal(write(""), f"seed={tag} ['touch {tmp_path}/hacked']")
    assert not (tmp_path / "hacked").exists()


def test_the_arguments_of_a_reward_are_any_yaml_values(write):
    reward = load_config(
        write("reward: {target: 'a:b', n: {deep: [1, {er: null}]}, day: 2020-01-01, far: .inf, 5: x, e: ''}")
    ).reward
    assert reward.model_extra == {
        "n": {"deep": [1, {"er": None}]}, "day": str(datetime.date(2020, 1, 1)), "far": math.inf, "5": "x", "e": "",
    }  # fmt: skip


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=12),
    st.sampled_from(["no", "1e3", "3e-4", "0o17", "0x1f", "12:30:45", "1_000", "~", "null", "", " ", "2020-01-01", "=",
                     "<<", "- a", "a: b", "# c", "!x", "&a", "*a", "[", "{", "'", '"', "%", "@", "`", "|", ">"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("abcde"), v, max_size=3), max_leaves=6
)


@settings(FIXED, max_examples=60)
@given(VALUES)
def test_any_config_comes_back_from_its_own_text(tmp_path_factory, value):
    config = make_config(CURVE | {"argument": value}, language={"constants": [-1e-5, 1e22, 0.1]})
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_a_shown_config_spells_every_setting_out():
    text = dump_config(Config())
    for name in ("seed", "device", "max_length", "learning_rate", "clip_range", "latency_weight", "max_seeds"):
        assert f"{name}: " in text
    assert "<" not in text


def test_what_is_not_finite_and_what_is_too_much_is_refused():
    with pytest.raises(ConfigError, match="seed: input should be less than"):
        Config.check({"seed": 10**9})
    with pytest.raises(ConfigError, match=r"language\.constants\.0: input should be a finite number"):
        Config.check({"language": {"constants": [math.inf]}})
    with pytest.raises(ConfigError, match="a: unknown key"):
        Config.check({"a": 1})


@pytest.mark.parametrize("value", ["2024-02-30", "!!int abc", "!!float abc", "!!bool maybe", "9" * 5000])
def test_a_value_that_yaml_cannot_make_is_told(write, value):
    with pytest.raises(ConfigError, match=r"c.yaml: a value is not what it seems to be: |input should be"):
        load_config(write(f"seed: {value}"))
    with pytest.raises(ConfigError, match=r"is not a YAML value|input should be"):
        load_config(write("seed: 1"), [f"seed={value}"])


def test_aliases_of_aliases_are_bounded(write):
    """Seven lines that come to a million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 7)]
    with pytest.raises(ConfigError, match=r"more than 20,000 values when aliases are written out"):
        load_config(write("\n".join(lines)))


# --- gated languages ---

GATED = """\
language: {inputs: [x, g]}
reward:
  proxies:
    - {dataset: text_sequences, network: transformer, widths: [16]}
"""


def test_a_gated_language_has_the_published_units_as_references(write):
    config = load_config(write(GATED))
    assert (config.reward.reference, config.reward.baselines) == (GATED_REFERENCE, GATED_BASELINES)
    assert "reference: swiglu" in dump_config(config)
    assert load_config(write(dump_config(config))) == config
    # What is said stands; and so do the defaults of a language of x.
    said = load_config(write(GATED + "  reference: relu\n  baselines: [relu, glu]\n"))
    assert (said.reward.reference, said.reward.baselines) == ("relu", ("relu", "glu"))
    assert load_config(write(GATED), ["language.inputs=[x]"]).reward.reference == "relu"
    assert load_config(write(GATED), ["reward.reference=geglu"]).reward.baselines == GATED_BASELINES


def test_the_same_holds_for_settings_that_are_made_already():
    proxy = {"dataset": "text_sequences", "network": "transformer", "widths": [16]}
    reward = RewardSettings(proxies=(proxy,), baselines=("glu", "tanh"))
    config = Config(language=LanguageSettings(inputs=("x", "g")), reward=reward)
    assert (config.reward.reference, config.reward.baselines) == ("swiglu", ("glu", "tanh"))
    assert Config(reward=reward).reward.reference == "relu"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("language.inputs=[x, h]", "language.inputs is ['x', 'h']; proxies train formulas of [x] or of [x, g], other"),
        ("language.inputs=[g]", "language.inputs is ['g']; proxies train formulas of [x] or of [x, g], other"),
        ("reward.proxies=general", "gated formulas are not trained by mnist1d-mlp, teacher-mlp, text-mlp, physics-mlp"),
        ("reward.baselines=[relu, sin(g)]", "reward.reference and reward.baselines: 'sin(g)' is a function of g; exp"),
    ],
)
def test_a_language_that_no_proxy_trains_is_refused(write, override, message):
    assert message in refusal(write(GATED), override)


def test_gated_references_need_a_network_that_trains_them(write):
    message = refusal(write("reward: {proxies: [{dataset: digits}], reference: reglu}"))
    assert "'x * relu(g)' is a function of x, g, and gated formulas are not trained by digits-mlp" in message


def test_gated_formulas_alone_need_a_gated_language(write):
    assert load_config(write(GATED), ["reward.screening.gated_only=true"]).reward.screening.gated_only
    message = "reward.screening.gated_only is true, and language.inputs is ['x']: no formula would be fit"
    assert message in refusal(write("reward: {screening: {gated_only: true}}"))
