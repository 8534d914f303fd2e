import math

import numpy as np
import pytest
import torch

from rlsearch.controller.model import make_ppo
from rlsearch.controller.policy import MaskedPolicy
from rlsearch.controller.settings import ControllerSettings
from rlsearch.formula import Grammar, Vocabulary
from rlsearch.formula.rules import ALL_RULES
from rlsearch.rewards.base import RewardResult
from rlsearch_envs.lockstep import LockstepVecEnv

torch.set_num_threads(1)

RULED = Grammar(Vocabulary(("add", "mul", "exp", "log", "sin", "cos", "neg"), ("x", "g"), (1.0, 2.0)), 3, 9, ALL_RULES)
# One binary operator, five unary ones, four leaves; no rule forbids an operator.
UNEVEN = Grammar(Vocabulary(("mul", "sin", "exp", "tanh", "abs", "erf"), ("x",), (1.0, 2.0, 3.0)), max_length=9)


def free_reward(formulas):
    return [RewardResult(float(f.size)) for f in formulas]


def make_policy(grammar=RULED, seed=0, **settings):
    env = LockstepVecEnv(grammar, free_reward, 8)
    return make_ppo(ControllerSettings(**settings), env, seed).policy


def some_observations(grammar=RULED, rows=64, seed=0):
    """Observations of random legal walks, from every step, idle ones too: ``[steps * rows, size]`` and their masks."""
    env = LockstepVecEnv(grammar, free_reward, rows)
    rng = np.random.default_rng(seed)
    observations, masks = [env.reset()], [env.action_masks()]
    for _ in range(grammar.max_length - 1):
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in env.action_masks()])
        observations.append(env.step(actions)[0])
        masks.append(env.action_masks())
    return np.concatenate(observations), np.concatenate(masks)


def shaken(policy, scale, seed=0):
    """The policy with weights from a wide normal distribution, so that illegal logits compete."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return policy


OBSERVATIONS, MASKS = some_observations()


def is_legal(actions):
    return MASKS[np.arange(len(MASKS)), np.asarray(actions).astype(int).flatten()]


def test_the_observations_are_of_all_kinds():
    counts = MASKS.sum(axis=1)
    assert counts.min() == 1
    assert counts.max() >= 9
    assert MASKS[:, 0].any()  # idle steps


@pytest.mark.parametrize("scale", [None, 1.0, 30.0])
def test_no_illegal_action_anywhere(scale):
    policy = make_policy() if scale is None else shaken(make_policy(), scale)
    tensor = torch.as_tensor(OBSERVATIONS)
    torch.manual_seed(0)
    for _ in range(20):
        actions, values, log_probs = policy(tensor)
        assert is_legal(actions).all()
        assert log_probs.isfinite().all()
        assert is_legal(policy.predict(OBSERVATIONS)[0]).all()
    assert is_legal(policy.predict(OBSERVATIONS, deterministic=True)[0]).all()
    assert is_legal(policy(tensor, deterministic=True)[0]).all()
    probabilities = policy.get_distribution(tensor).distribution.probs
    assert (probabilities[torch.as_tensor(~MASKS)] == 0).all()
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(MASKS)))
    assert values.shape == (len(MASKS), 1)


def test_rollouts_take_legal_actions_only():
    """LockstepVecEnv raises at an illegal action, so getting through is the proof."""
    sizes = []

    def reward(formulas):
        sizes.extend(f.size for f in formulas)
        return free_reward(formulas)

    env = LockstepVecEnv(RULED, reward, 64)
    controller = make_ppo(ControllerSettings(), env, seed=0)
    shaken(controller.policy, 1.0)
    controller.learn(3 * 64 * RULED.max_length)
    assert len(sizes) == 3 * 64
    assert RULED.min_length <= min(sizes) <= max(sizes) <= RULED.max_length


def test_evaluate_actions_agrees_with_the_forward_pass():
    policy = shaken(make_policy(), 0.5)
    tensor = torch.as_tensor(OBSERVATIONS)
    actions, values, log_probs = policy(tensor)
    again, log_probs_again, entropy = policy.evaluate_actions(tensor, actions)
    assert torch.equal(values, again)
    assert torch.equal(log_probs, log_probs_again)
    assert torch.allclose(policy.predict_values(tensor), values)
    probabilities = policy.get_distribution(tensor).distribution.probs.double()
    by_hand = -(probabilities * probabilities.clamp(min=1e-300).log()).sum(dim=1)
    assert torch.allclose(entropy.double(), by_hand, atol=1e-5)
    illegal = torch.as_tensor([int(np.flatnonzero(~mask)[0]) for mask in MASKS])
    assert policy.evaluate_actions(tensor, illegal)[1].exp().max() == 0


def test_the_entropy_of_n_equal_actions_is_log_n():
    policy = make_policy()
    with torch.no_grad():
        policy.action_net.weight.zero_()
        policy.action_net.bias.zero_()
    entropy = policy.get_distribution(torch.as_tensor(OBSERVATIONS)).entropy()
    expected = [math.log(n) for n in MASKS.sum(axis=1)]
    assert entropy.tolist() == pytest.approx(expected, abs=1e-6)


def test_each_arity_is_equally_likely_at_the_start():
    """After ``mul`` all ten tokens are legal: 4 leaves, 5 unary and 1 binary operator get a third per arity.

    The last layer's weights are not 0 but small (an orthogonal matrix times 0.01), hence the tolerance.
    """
    env = LockstepVecEnv(UNEVEN, free_reward, 2)
    env.reset()
    observations, *_ = env.step(np.array([1, 1]))
    assert env.action_masks()[0].tolist() == [False] + [True] * 10
    with torch.no_grad():
        probabilities = make_policy(UNEVEN).get_distribution(torch.as_tensor(observations)).distribution.probs[0]
    arities = torch.as_tensor(UNEVEN.arities)
    for arity in range(3):
        assert float(probabilities[arities == arity].sum()) == pytest.approx(1 / 3, abs=0.02)
    assert probabilities[1:].tolist() == pytest.approx([1 / 3] + [1 / 15] * 5 + [1 / 12] * 4, rel=0.06)


def test_gradients_are_finite():
    """Also where one action is legal, and where the policy is as good as certain."""
    for policy in (make_policy(), shaken(make_policy(), 30.0)):
        tensor = torch.as_tensor(OBSERVATIONS)
        actions, *_ = policy(tensor)
        values, log_probs, entropy = policy.evaluate_actions(tensor, actions)
        (log_probs.exp().mean() + entropy.mean() + log_probs.mean() + values.mean()).backward()
        gradients = [p.grad for p in policy.parameters()]
        assert all(g.isfinite().all() for g in gradients)
        assert any(g.abs().max() > 0 for g in gradients)


def test_illegal_logits_get_no_gradient():
    policy = make_policy()
    tensor = torch.as_tensor(OBSERVATIONS[:1])  # the root: with at least three tokens, only operators are legal
    policy.evaluate_actions(tensor, torch.tensor([1]))[1].sum().backward()
    gradient = policy.action_net.bias.grad
    assert (gradient[torch.as_tensor(~MASKS[0])] == 0).all()
    assert (gradient[torch.as_tensor(MASKS[0])] != 0).all()


def test_no_legal_action_is_an_error():
    observations = torch.as_tensor(OBSERVATIONS[:3].copy())
    observations[1, -MASKS.shape[1] :] = 0
    policy = make_policy()
    for use in (policy, policy.get_distribution, lambda o: policy.predict(o.numpy())):
        with pytest.raises(ValueError, match="no action is legal"):
            use(observations)


def test_weights_carry_over():
    policy, other = shaken(make_policy(seed=0), 1.0), make_policy(seed=1)
    tensor = torch.as_tensor(OBSERVATIONS)
    assert not torch.equal(policy.predict_values(tensor), other.predict_values(tensor))
    other.load_state_dict(policy.state_dict())
    assert torch.equal(policy.predict_values(tensor), other.predict_values(tensor))
    assert torch.equal(policy(tensor, deterministic=True)[0], other(tensor, deterministic=True)[0])
    assert is_legal(other.predict(OBSERVATIONS)[0]).all()


def test_it_can_be_built_again_from_its_parameters(tmp_path):
    policy = shaken(make_policy(), 1.0)
    built = MaskedPolicy(**policy._get_constructor_parameters())
    built.load_state_dict(policy.state_dict())
    policy.save(str(tmp_path / "policy"))
    loaded = MaskedPolicy.load(str(tmp_path / "policy"), device="cpu")
    tensor = torch.as_tensor(OBSERVATIONS)
    for other in (built, loaded):
        assert other.layout == policy.layout
        assert other.arities == policy.arities
        assert torch.equal(policy.get_distribution(tensor).distribution.probs,
                           other.get_distribution(tensor).distribution.probs)  # fmt: skip
        assert is_legal(other.predict(OBSERVATIONS)[0]).all()


@pytest.mark.parametrize("net_arch", [(), (5,), (8, 4)])
def test_the_networks_are_as_wide_as_asked(net_arch):
    policy = make_policy(ppo={"net_arch": net_arch})
    widths = [layer.out_features for layer in policy.mlp_extractor.policy_net if isinstance(layer, torch.nn.Linear)]
    assert widths == list(net_arch)
    assert is_legal(policy.predict(OBSERVATIONS)[0]).all()


def test_the_mask_is_not_a_feature_of_the_networks():
    """Of the features (parent and sibling one-hot, two counts, mask) the networks see all but the mask."""
    n_actions = len(RULED.vocabulary) + 1
    policy = make_policy()
    assert policy.features_dim == 3 * n_actions + 2
    assert policy.mlp_extractor.policy_net[0].in_features == 2 * n_actions + 2
    features = policy.extract_features(torch.as_tensor(OBSERVATIONS))
    assert np.array_equal(features[:, -n_actions:].numpy(), MASKS)
    assert features[:, : 2 * n_actions].sum(dim=1).tolist() == [2.0] * len(MASKS)
    assert features.min() == 0
    assert features.max() == 1
