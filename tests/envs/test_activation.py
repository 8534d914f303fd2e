import subprocess
import sys
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env as check_gymnasium
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.monitor import Monitor

from rlsearch.errors import ConfigError, RewardError, RlsearchError
from rlsearch.formula import Formula, Grammar, Vocabulary
from rlsearch.formula.rules import ALL_RULES
from rlsearch.formula.settings import LanguageSettings
from rlsearch.rewards.base import RewardResult, Status
from rlsearch_envs import ActivationEnv, CurveReward

ID = "rlsearch_envs:rlsearch/Activation-v0"
SILU = Grammar(Vocabulary(("mul", "sigmoid")), max_length=5)  # mul 1, sigmoid 2, x 3
GATED = Grammar(Vocabulary(("mul", "sigmoid", "sin"), ("x", "g"), (1.0,)), 2, 7, ALL_RULES)
ONE_TOKEN = Grammar(Vocabulary(()), max_length=1)  # the only formula is x


def run_python(code):
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\n")


def factory_of_grammar():
    return SILU


def factory_of_reward():
    return CurveReward("silu(x)")


def size_reward(formulas):
    return [RewardResult(float(f.size), Status.OK, score=0.5, latency=2.0) for f in formulas]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("grammar", [SILU, GATED, LanguageSettings().grammar(), ONE_TOKEN])
def test_both_checkers_pass_without_a_warning(grammar, seed):
    """Warnings are errors here. The checkers take unmasked actions, drawn from the space's seed."""
    rewards = []

    class Recorded(ActivationEnv):
        def step(self, action):
            result = super().step(action)
            rewards.append(result[1])
            return result

    curve = "x * g" if "g" in grammar.vocabulary.inputs else "gelu(x)"
    env = Recorded(grammar, CurveReward(curve), illegal_reward=-7.0)
    env.action_space.seed(seed)
    check_gymnasium(env, skip_render_check=True)  # rendering needs a spec; see the next test
    assert rewards
    steps = len(rewards)
    check_sb3(env)
    assert len(rewards) > steps
    assert -7.0 in rewards or grammar is not ONE_TOKEN  # half of its two actions are illegal


@pytest.mark.parametrize("render_mode", [None, "ansi", "rgb_array"])
def test_gymnasium_check_with_a_spec_renders_too(render_mode):
    env = gymnasium.make(ID, render_mode=render_mode)
    check_gymnasium(env.unwrapped)
    assert env.spec.id == "rlsearch/Activation-v0"


def test_make_in_a_fresh_interpreter_is_light():
    output = run_python(
        "import gymnasium, sys\n"
        f"env = gymnasium.make('{ID}')\n"
        "observation, info = env.reset(seed=0)\n"
        "over = False\n"
        "while not over:\n"
        "    *_, reward, over, _, info = env.step(env.action_space.sample(mask=info['action_mask']))\n"
        "print(info['formula'], reward)\n"
        "print(*sys.modules)\n"
    )
    formula, _, reward = output[0].rpartition(" ")
    (expected,) = CurveReward()([Formula.parse(formula)])
    assert float(reward) == expected.value
    assert "gymnasium" in output[1].split()
    assert not {"torch", "stable_baselines3", "rlsearch.runs.config"} & set(output[1].split())


def test_importing_the_package_is_light():
    loaded = run_python("import sys, rlsearch_envs; print(*sys.modules)")[0].split()
    assert "rlsearch_envs.activation" in loaded
    assert not {"torch", "stable_baselines3", "matplotlib", "sklearn"} & set(loaded)


@pytest.mark.parametrize(
    "language",
    [
        {"operators": ["mul", "sigmoid"], "constants": [], "min_length": 1, "max_length": 5},
        LanguageSettings(operators=("mul", "sigmoid"), constants=(), min_length=1, max_length=5).grammar,
    ],
    ids=["mapping", "factory"],
)
@pytest.mark.parametrize(
    "make_reward",
    [
        {"target": "rlsearch_envs:CurveReward", "curve": "silu(x)"},
        f"{__name__}:factory_of_reward",
        factory_of_reward,
    ],
    ids=["mapping", "string", "factory"],
)
def test_language_and_reward_through_make(language, make_reward):
    env = gymnasium.make(ID, language=language, make_reward=make_reward)
    assert env.unwrapped.grammar.vocabulary == SILU.vocabulary
    assert env.unwrapped.grammar.max_length == 5
    env.reset()
    rewards = [env.step(action)[1] for action in (1, 3, 2, 3)]
    assert rewards == [0.0, 0.0, 0.0, 1.0]  # the formula is the curve


def test_live_objects_are_used_as_they_are():
    env = ActivationEnv(SILU, size_reward)
    assert env.grammar is SILU
    assert env.reward is size_reward


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grammar": SILU, "language": {}}, "either grammar or language, not both"),
        ({"reward": size_reward, "make_reward": factory_of_reward}, "either reward or make_reward, not both"),
        ({"language": {"operator": ["mul"]}}, "operator: unknown key; did you mean 'operators'"),
        ({"language": {"operators": ["sigmiod"]}}, "unknown operator 'sigmiod'.*did you mean 'sigmoid'"),
        ({"language": lambda: "x"}, "the language is a str; expected a Grammar"),
        ({"make_reward": "rlsearch_envs:CurveRewad"}, "rlsearch_envs has no 'CurveRewad'; did you mean 'CurveReward'"),
        ({"make_reward": {"target": "rlsearch_envs:CurveReward", "curv": "x"}}, "does not take {'curv': 'x'}"),
        ({"make_reward": {"curve": "x"}}, "expected a 'target'"),
        ({"make_reward": {"target": "rlsearch_envs:CurveReward", "curve": "gelv(x)"}}, "did you mean 'gelu'"),
        ({"make_reward": lambda: 3}, "the reward is a int, which cannot be called"),
        ({"illegal_action": "ignore"}, "illegal_action is 'ignore'; expected 'end' or 'raise'"),
        ({"render_mode": "human"}, r"render_mode is 'human'; expected one of \['ansi', 'rgb_array'\]"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(RlsearchError, match=message):
        ActivationEnv(**arguments)
    if "curve" not in str(arguments):
        with pytest.raises(ConfigError, match=message):
            ActivationEnv(**arguments)


def test_the_episode_of_a_formula():
    """Golden: x * sigmoid(x) in a vocabulary of mul (1), sigmoid (2), x (3), at most 5 tokens, no optional rule.

    An observation is 5 ids, parent, sibling, open slots, length, then the mask of pad, mul, sigmoid, x.
    After ``mul x sigmoid`` one slot is open and two tokens are left, so mul no longer fits.
    """
    env = ActivationEnv(SILU, size_reward)
    observation, info = env.reset()
    assert observation.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1]
    expected = [
        (1, [1, 0, 0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1]),
        (3, [1, 3, 0, 0, 0, 1, 3, 1, 2, 0, 1, 1, 1]),
        (2, [1, 3, 2, 0, 0, 2, 0, 1, 3, 0, 0, 1, 1]),
        (3, [1, 3, 2, 3, 0, 0, 0, 0, 4, 1, 0, 0, 0]),
    ]
    for step, (action, wanted) in enumerate(expected, start=1):
        observation, reward, terminated, truncated, info = env.step(np.int64(action))
        assert observation.tolist() == wanted
        assert observation.dtype == np.int64
        assert env.observation_space.contains(observation)
        assert (reward, terminated, truncated) == (4.0 if step == 4 else 0.0, step == 4, False)
        assert info["action_mask"].tolist() == wanted[-4:]
        assert info["action_mask"].dtype == np.int8
        assert env.action_masks().tolist() == [bool(m) for m in wanted[-4:]]
        assert env.action_masks().dtype == np.bool_
        assert info["illegal_action"] is False
    assert info["formula"] == Formula.parse("x * sigmoid(x)")
    assert (info["status"], info["score"], info["latency"]) == ("ok", 0.5, 2.0)


def test_stepping_needs_a_reset():
    env = ActivationEnv(SILU)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.int64(3))
    env.reset()
    assert env.step(np.int64(3))[2]
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.int64(3))
    env.reset()
    assert not env.step(np.int64(1))[2]


@pytest.mark.parametrize("action", [0, 4, -1, 99])
def test_an_illegal_action_ends_the_episode(action):
    env = ActivationEnv(SILU, illegal_reward=-3.5)
    env.reset()
    before, *_ = env.step(np.int64(1))
    observation, reward, terminated, truncated, info = env.step(np.int64(action))
    assert (reward, terminated, truncated) == (-3.5, True, False)
    assert info["illegal_action"] is True
    assert observation.tolist() == before.tolist()
    with pytest.raises(ResetNeeded):
        env.step(np.int64(3))


def test_an_illegal_action_raises_on_request():
    env = ActivationEnv(SILU, illegal_action="raise")
    env.reset()
    with pytest.raises(
        InvalidAction, match=r"^action 0 \(pad\) is illegal after '_'; legal are mul \(1\), sigmoid \(2\), x \(3\)$"
    ):
        env.step(np.int64(0))
    with pytest.raises(InvalidAction, match=r"action 7 \(no token\)"):
        env.step(np.int64(7))
    assert not env.step(np.int64(1))[2]  # the episode goes on as if nothing had happened


def test_masked_samples_always_end_in_a_formula():
    env = ActivationEnv(GATED, size_reward, illegal_action="raise")
    env.action_space.seed(0)
    formulas = []
    for _ in range(200):
        _, info = env.reset()
        over, steps = False, 0
        while not over:
            _, reward, over, _, info = env.step(env.action_space.sample(mask=info["action_mask"]))
            steps += 1
        assert reward == steps == info["formula"].size
        assert GATED.min_length <= steps <= GATED.max_length
        formulas.append(info["formula"])
    assert len(set(formulas)) > 50
    assert {f.inputs for f in formulas} == {("x",), ("g",), ("x", "g")}


def test_a_reward_that_returns_the_wrong_number_is_named():
    env = ActivationEnv(SILU, lambda formulas: [])
    env.reset()
    with pytest.raises(RewardError, match="0 results for one formula, 'x'"):
        env.step(np.int64(3))


def test_render_ansi():
    env = gymnasium.make(ID, language=factory_of_grammar, render_mode="ansi")
    env.reset()
    texts = [env.render()]
    for action in (1, 3, 2, 3):
        env.step(action)
        texts.append(env.render())
    assert texts == ["_", "mul _ _", "mul x _", "mul x sigmoid _", "x * sigmoid(x)"]


def test_render_rgb_array():
    env = ActivationEnv(SILU, render_mode="rgb_array")
    env.reset()
    pictures = [env.render()]
    for action in (1, 3, 2, 3):
        env.step(np.int64(action))
        pictures.append(env.render())
    for picture in pictures:
        assert picture.shape == (300, 400, 3)
        assert picture.dtype == np.uint8
    assert not any((a == b).all() for a, b in pairwise(pictures))
    # The title is above row 40; below, only the last one has a curve, in the colour #1f77b4 of the first line.
    coloured = [(np.abs(p[40:].astype(int) - (0x1F, 0x77, 0xB4)).sum(axis=-1) < 30).sum() for p in pictures]
    assert coloured[:-1] == [0, 0, 0, 0]
    assert coloured[-1] > 200


@pytest.mark.parametrize("text", ["exp(exp(exp(x)))", "g * sigmoid(g)", "log(x) / x + g", "1 / x * 1e300"])
def test_any_formula_can_be_drawn(text):
    from matplotlib.figure import Figure

    from rlsearch.formula.drawing import plot_curve

    axes = Figure().add_subplot()
    plot_curve(axes, Formula.parse(text), label="a")
    (line,) = axes.get_lines()
    values = np.asarray(line.get_ydata())
    assert np.isfinite(values).any()
    assert np.nanmax(np.abs(values)) <= 1e3
    axes.figure.draw_without_rendering()


def test_without_a_render_mode_nothing_is_rendered():
    env = ActivationEnv(SILU)
    env.reset()
    assert env.render() is None


def test_episode_statistics_of_the_usual_wrappers(tmp_path):
    for wrapped in (RecordEpisodeStatistics(ActivationEnv(SILU, size_reward)),
                    Monitor(ActivationEnv(SILU, size_reward), str(tmp_path / "log"))):  # fmt: skip
        wrapped.reset()
        assert "episode" not in wrapped.step(1)[-1]
        wrapped.step(3)
        *_, info = wrapped.step(3)
        assert (float(info["episode"]["r"]), int(info["episode"]["l"])) == (3.0, 3)
        wrapped.close()


def test_a_seed_changes_nothing_but_sampled_actions():
    first, second = ActivationEnv(GATED), ActivationEnv(GATED)
    assert first.reset(seed=1)[0].tolist() == second.reset(seed=2)[0].tolist()


class TestCurveReward:
    # On the grid -1, 0, 1 the target x has the standard deviation sqrt(2/3).
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("x", 1.0),
            ("0 * x", 0.5),  # RMSE = sqrt(2/3): NRMSE 1
            ("-x", 1 / 3),  # RMSE twice that
            ("relu(x)", 1 / (1 + np.sqrt(1 / 2))),  # only -1 is missed, by 1: RMSE sqrt(1/3)
            ("x + 1", 1 / (1 + np.sqrt(3 / 2))),  # RMSE 1
        ],
    )
    def test_golden_values(self, text, expected):
        (result,) = CurveReward("x", reach=1.0, points=3)([Formula.parse(text)])
        assert result.status is Status.OK
        assert result.value == pytest.approx(expected, rel=1e-12)
        assert result.score == result.value

    def test_one_result_per_formula_in_order(self):
        formulas = [Formula.parse(t) for t in ("relu(x)", "gelu(x)", "x")]
        results = CurveReward()(formulas)
        assert [r.value for r in results] == [CurveReward()([f])[0].value for f in formulas]
        assert results[1].value == 1.0
        assert results[0].value > results[2].value

    @pytest.mark.parametrize(
        ("text", "message"), [("exp(exp(x**2))", "not finite on the grid"), ("x * g", "no input g")]
    )
    def test_unfit(self, text, message):
        (result,) = CurveReward("gelu(x)", reach=10)([Formula.parse(text)])
        assert result.status is Status.UNFIT
        assert message in result.message
        assert result.score is None

    def test_two_inputs(self):
        reward = CurveReward("x * sigmoid(g)")
        exact, other = reward([Formula.parse("sigmoid(g) * x"), Formula.parse("g")])
        assert exact.value == 1.0
        assert other.value < 0.7
        assert CurveReward("sigmoid(g)")([Formula.parse("x")])[0].status is Status.OK

    @pytest.mark.parametrize("curve", ["x - x", "exp(exp(x))"])
    def test_a_curve_without_spread_or_with_infinities_is_refused(self, curve):
        with pytest.raises(ConfigError, match="constant or not finite"):
            CurveReward(curve, reach=100.0)
