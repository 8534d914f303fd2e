import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor
from strategies import FIXED

from rlsearch.controller.model import make_ppo
from rlsearch.controller.settings import ControllerSettings
from rlsearch.errors import RewardError
from rlsearch.formula import Formula, FormulaBuilder, Grammar, Vocabulary
from rlsearch.formula.rules import ALL_RULES
from rlsearch.rewards.base import RewardResult, Status
from rlsearch_envs import ActivationEnv, CurveReward
from rlsearch_envs.lockstep import LockstepVecEnv

torch.set_num_threads(1)

PLAIN = Grammar(Vocabulary(("mul", "sigmoid")), max_length=5)  # mul 1, sigmoid 2, x 3
RULED = Grammar(Vocabulary(("add", "exp", "log", "sin", "cos"), ("x", "g"), (1.0,)), 3, 9, ALL_RULES)


class SizeReward:
    """The number of tokens; remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, formulas):
        self.calls.append(list(formulas))
        return [RewardResult(float(f.size), Status.OK, score=0.5, latency=float(i)) for i, f in enumerate(formulas)]


def random_actions(env, rng):
    return np.array([rng.choice(np.flatnonzero(mask)) for mask in env.action_masks()])


def play(env, rng):
    """Plays a round of random legal actions; yields what each step returned."""
    for _ in range(env.grammar.max_length):
        yield env.step(random_actions(env, rng))


@pytest.mark.parametrize("grammar", [PLAIN, RULED])
@settings(FIXED, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_it_is_the_state_machine_of_the_gymnasium_env(grammar, seed):
    """Random legal walks: the same actions give the same observations, masks, rewards and infos in every row."""
    reward = CurveReward("x * g")
    rows = 4
    lockstep = LockstepVecEnv(grammar, reward, rows)
    singles = [ActivationEnv(grammar, reward, illegal_action="raise") for _ in range(rows)]
    rng = np.random.default_rng(seed)
    expected = np.stack([single.reset()[0] for single in singles])
    starts = expected.copy()
    assert np.array_equal(lockstep.reset(), starts)
    ends = {}  # by row: the reward and info of a complete formula
    for _ in range(grammar.max_length):
        actions = random_actions(lockstep, rng)
        for row, single in enumerate(singles):
            if row in ends:
                assert np.flatnonzero(lockstep.action_masks()[row]).tolist() == [0]
                continue
            assert np.array_equal(lockstep.action_masks()[row], single.action_masks())
            expected[row], value, terminated, _, info = single.step(actions[row])
            if terminated:
                ends[row] = value, info
        found, values, dones, infos = lockstep.step(actions)
        if not dones.any():
            assert np.array_equal(found, expected)
            assert values.tolist() == [0.0] * rows
            assert infos == [{}] * rows
    assert dones.all()
    assert np.array_equal(found, starts)  # the next round
    for row, (value, info) in ends.items():
        assert values[row] == np.float32(value)
        assert np.array_equal(infos[row]["terminal_observation"], expected[row])
        for key in ("formula", "status", "score", "latency"):
            assert infos[row][key] == info[key]
    assert len(ends) == rows


@pytest.mark.parametrize("grammar", [PLAIN, RULED])
def test_following_known_formulas_shows_what_stepping_shows(grammar):
    env = LockstepVecEnv(grammar, SizeReward(), 50)
    rng = np.random.default_rng(3)
    observations, masks, actions = [env.reset()], [env.action_masks()], []
    for _ in range(grammar.max_length):
        actions.append(random_actions(env, rng))
        observations.append(env.step(actions[-1])[0])
        masks.append(env.action_masks())
    builder = FormulaBuilder(grammar, 50)
    for step, (state, mask, placed) in enumerate(builder.follow(np.stack(actions, axis=1))):
        assert state is builder
        assert np.array_equal(env.layout.observe(state, mask), observations[step])
        assert np.array_equal(mask, masks[step])
        assert np.array_equal(placed, actions[step])
    assert [builder.formula(row) for row in range(50)] == env.reward.calls[0]


def test_the_reward_is_called_once_per_round_with_all_formulas():
    reward = SizeReward()
    env = LockstepVecEnv(PLAIN, reward, 7)
    rng = np.random.default_rng(0)
    env.reset()
    for round_number in range(3):
        for step, (_, rewards, dones, infos) in enumerate(play(env, rng), start=1):  # noqa: B007
            last = step == PLAIN.max_length
            assert len(reward.calls) == round_number + last
            assert dones.tolist() == [last] * 7
        formulas = reward.calls[-1]
        assert len(formulas) == 7
        assert all(isinstance(f, Formula) for f in formulas)
        assert rewards.tolist() == [f.size for f in formulas]
        assert rewards.dtype == np.float32
        for row, info in enumerate(infos):
            assert info["formula"] == formulas[row]
            assert info["latency"] == row
            assert info["episode"] == {"r": float(formulas[row].size), "l": formulas[row].size}
            assert info["TimeLimit.truncated"] is False


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([1, 0, 3], r"row 1: action 0 \(pad\) is illegal after '_'; legal are mul \(1\), sigmoid \(2\), x \(3\)"),
        ([1, 1, 4], r"row 2: action 4 \(no token\)"),
        ([-1, 1, 1], r"row 0: action -1 \(no token\)"),
    ],
)
def test_an_illegal_action_raises_and_changes_nothing(actions, message):
    env = LockstepVecEnv(PLAIN, SizeReward(), 3)
    env.reset()
    masks = env.action_masks()
    with pytest.raises(InvalidAction, match=message):
        env.step(np.array(actions))
    assert np.array_equal(env.action_masks(), masks)
    observations, *_ = env.step(np.array([3, 1, 2]))
    assert observations[:, :5].tolist() == [[3, 0, 0, 0, 0], [1, 0, 0, 0, 0], [2, 0, 0, 0, 0]]


@pytest.mark.parametrize("action", [1, 2, 3])
def test_a_complete_row_takes_padding_only(action):
    env = LockstepVecEnv(PLAIN, SizeReward(), 2)
    env.reset()
    env.step(np.array([3, 1]))
    assert env.action_masks().tolist() == [[True, False, False, False], [False, True, True, True]]
    with pytest.raises(
        InvalidAction, match=rf"row 0: action {action} \(.+\) is illegal after 'x'; legal are pad \(0\)"
    ):
        env.step(np.array([action, 3]))
    with pytest.raises(InvalidAction, match="row 1: action 0"):
        env.step(np.array([0, 0]))
    observations, *_ = env.step(np.array([0, 3]))
    assert observations[0, :5].tolist() == [3, 0, 0, 0, 0]


def test_every_step_returns_fresh_arrays():
    env = LockstepVecEnv(PLAIN, SizeReward(), 3)
    rng = np.random.default_rng(1)
    seen = [env.reset()]
    copies = [seen[0].copy()]
    for _ in range(2):
        for observations, *_ in play(env, rng):
            seen.append(observations)
            copies.append(observations.copy())
    assert all(np.array_equal(a, b) for a, b in zip(seen, copies, strict=True))
    masks = env.action_masks()
    masks[:] = False
    assert env.action_masks().any()


def test_a_reward_of_the_wrong_length_is_refused():
    env = LockstepVecEnv(PLAIN, lambda formulas: [RewardResult(1.0)] * 2, 3)
    env.reset()
    rng = np.random.default_rng(0)
    with pytest.raises(RewardError, match="2 results for 3 formulas"):
        list(play(env, rng))


def test_attributes_are_shared():
    env = LockstepVecEnv(PLAIN, SizeReward(), 3)
    assert env.get_attr("grammar") == [PLAIN] * 3
    assert env.get_attr("grammar", indices=[1]) == [PLAIN]
    reward = SizeReward()
    env.set_attr("reward", reward)
    assert env.get_attr("reward", 0) == [reward]
    with pytest.raises(ValueError, match="share their attributes"):
        env.set_attr("reward", None, indices=[0])
    assert env.reward is reward
    assert env.has_attr("action_masks")
    assert not env.has_attr("actoin_masks")
    assert env.env_is_wrapped(Monitor) == [False] * 3
    assert list(env.get_images()) == [None] * 3
    env.close()


def test_methods_return_a_row_each():
    env = LockstepVecEnv(PLAIN, SizeReward(), 3)
    env.reset()
    env.step(np.array([1, 3, 2]))
    masks = env.action_masks()
    assert np.array_equal(env.env_method("action_masks"), masks)
    assert np.array_equal(env.env_method("action_masks", indices=[2, 1]), masks[[2, 1]])


def test_ppo_logs_the_mean_reward():
    reward = SizeReward()
    env = LockstepVecEnv(PLAIN, reward, 8)
    controller = make_ppo(ControllerSettings(), env, seed=0)
    controller.learn(2 * 5 * 8, log_interval=None)
    recorded = {}
    controller.logger.record = lambda key, value, exclude=None: recorded.update({key: value})
    controller.dump_logs()
    assert len(reward.calls) == 2
    expected = np.mean([f.size for call in reward.calls for f in call])  # sixteen; the window has a hundred
    assert recorded["rollout/ep_rew_mean"] == pytest.approx(expected)
    assert recorded["rollout/ep_len_mean"] == pytest.approx(expected)


def test_vec_monitor_counts_episodes(tmp_path):
    """VecMonitor counts the steps of the horizon, idle ones too, and the same return."""
    reward = SizeReward()
    env = VecMonitor(LockstepVecEnv(PLAIN, reward, 4), str(tmp_path / "log"))
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(PLAIN.max_length):
        *_, infos = env.step(np.array([rng.choice(np.flatnonzero(m)) for m in env.env_method("action_masks")]))
    env.close()
    assert [i["episode"]["r"] for i in infos] == [f.size for f in reward.calls[0]]
    assert [i["episode"]["l"] for i in infos] == [5] * 4


def test_stock_ppo_without_a_mask_meets_an_error():
    """Nothing illegal passes unnoticed: a policy that ignores the mask is stopped."""
    env = LockstepVecEnv(PLAIN, SizeReward(), 16)
    model = PPO("MlpPolicy", env, n_steps=5, batch_size=80, seed=0, device="cpu")
    with pytest.raises(InvalidAction):
        model.learn(80)


def test_maskable_ppo_of_sb3_contrib_learns():
    reward = SizeReward()
    env = LockstepVecEnv(PLAIN, reward, 16)
    model = MaskablePPO("MlpPolicy", env, n_steps=5, batch_size=80, n_epochs=2, seed=0, device="cpu")
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(3 * 80)
    assert [len(call) for call in reward.calls] == [16, 16, 16]
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
