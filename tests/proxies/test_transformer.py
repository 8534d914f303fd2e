"""The transformer beside torch's own layers: outputs, gradients, initial weights, and what it refuses."""

import math

import helpers_families  # noqa: F401 (adds data sets)
import pytest
import torch
from helpers_plain import PlainTransformer

from rlsearch import Formula
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.networks import NETWORKS, Layer
from rlsearch.proxies.networks.attention import PopulationAttention
from rlsearch.proxies.networks.transformer import hidden_width
from rlsearch.proxies.settings import ProxySettings

torch.set_num_threads(1)

VARIANTS = [
    {"normalisation": "rms", "positions": "rotary"},
    {"normalisation": "layer", "positions": "rotary"},
    {"normalisation": "rms", "positions": "learned"},
    {"normalisation": "layer", "positions": "learned", "widths": (8,), "heads": 1},
]
FORMULAS = {("x",): Formula.parse("silu(x)"), ("x", "g"): Formula.parse("x * silu(g)")}
KINDS = pytest.mark.parametrize("kind", FORMULAS, ids="-".join)


def settings(**values):
    return ProxySettings.check({"dataset": "walks", "network": "transformer", "widths": (16, 16), "heads": 2} | values)


def built(seeds=(0,), kind=("x",), activation=None, **values):
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    activation = activation or TorchKernel().population([FORMULAS[kind]] * len(seeds), kind)
    return NETWORKS["transformer"].build(settings(**values), generators, activation, kind)


def tokens(*shape):
    return torch.randint(12, (*shape, 8), generator=torch.Generator().manual_seed(5))


def disturbed(network):
    """With scales and shifts of normalisations that are seen."""
    generator = torch.Generator().manual_seed(8)
    for norm in network.norms:
        for parameter in norm.parameters():
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return network


def named_gradients(single):
    """Of a plain transformer, in the order of a population's parameters and in its layout."""
    gradients = [single.embedding.weight.grad]
    if single.positions is not None:
        gradients.insert(0, single.positions.grad)
    blocks = [[linear.weight.grad.T for linear in block] for block in single.blocks]
    of_attention = [[torch.cat(block[:3], dim=1), block[3]] for block in blocks]
    of_feed_forward = [block[4:] for block in blocks]
    for some in (*of_attention, *of_feed_forward):
        gradients += some
    return gradients + [parameter.grad for norm in single.norms for parameter in norm.parameters()]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("values", VARIANTS, ids=lambda values: "-".join(map(str, values.values())))
@KINDS
def test_equals_torchs_own_layers(kind, values, members):
    """Logits, and the gradient of every weight; of the rows behind the tokens it is zero."""
    network = disturbed(built(range(members), kind, **values))
    inputs = tokens(members, 4)
    logits = network(inputs)
    assert logits.shape == (members, 4, 8, 12)
    logits.square().sum().backward()
    for k in range(members):
        single = PlainTransformer(network, k, FORMULAS[kind].to_module())
        torch.testing.assert_close(logits[k], single(inputs[k]), rtol=1e-4, atol=1e-5)
        single(inputs[k]).square().sum().backward()
        for mine, theirs in zip(network.parameters(), named_gradients(single), strict=True):
            own = mine.grad[k].reshape(-1, mine.shape[-1]).squeeze(0)
            own, filling = own[: len(theirs)], own[len(theirs) :]
            torch.testing.assert_close(own, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())
            assert not filling.any()


@KINDS
def test_members_do_not_see_each_other(kind):
    network = built(range(3), kind)
    network(tokens(3, 4))[1].sum().backward()
    for parameter in network.parameters():
        assert not parameter.grad[[0, 2]].any()
        assert parameter.grad[1].any()
    clean = network(tokens(3, 4))[1]
    for parameter in network.parameters():
        parameter.data[[0, 2]] = math.nan
    assert torch.equal(network(tokens(3, 4))[1], clean)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_no_position_sees_a_later_one(positions):
    """Another sixth token changes the answers from there on, and no bit before."""
    network, inputs = built(positions=positions), tokens(1, 4)
    other = inputs.clone()
    other[..., 5] = (other[..., 5] + 1) % 12
    before, after = network(inputs), network(other)
    assert torch.equal(before[..., :5, :], after[..., :5, :])
    assert (before[..., 5:, :] != after[..., 5:, :]).any(dim=-1).all()


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_positions_are_seen(positions):
    """The last answer changes with the order of the first tokens, which attention alone does not see."""
    network = built(positions=positions, widths=(16,))
    inputs = torch.arange(8).reshape(1, 1, 8)
    swapped = inputs[..., [3, 1, 2, 0, 4, 5, 6, 7]]
    assert not torch.allclose(network(inputs)[..., -1, :], network(swapped)[..., -1, :], atol=1e-6)


def test_rotary_attention_sees_distances_alone():
    """Of tokens that are all alike, turned or not, an answer is the same: only differences of positions count."""
    attention = PopulationAttention([torch.Generator().manual_seed(0)], 16, 2, 8, rotary=True)
    x = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1)).expand(1, 8, 16)
    mixed = attention(x)
    torch.testing.assert_close(mixed, mixed[:, :1].expand_as(mixed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "expected"), [(("x",), [64, 64]), (("x", "g"), [44, 44, 44, 44])])
def test_the_activation_is_applied_once_per_block(kind, expected):
    """To rows of the hidden width; a gated one is given two tensors."""
    seen = []

    def activation(*tensors):
        seen.extend(tensors)
        return tensors[0]

    built((0, 1), kind, activation)(tokens(2, 4))
    assert [tensor.shape for tensor in seen] == [(2, 4 * 8, width) for width in expected]
    assert all(tensor.is_contiguous() for tensor in seen)


def test_every_slice_starts_on_a_16_byte_boundary():
    network = built(range(5), ("x", "g"))
    for parameter in network.parameters():
        assert parameter.is_contiguous()
        assert parameter.stride(0) * parameter.element_size() % 16 == 0


@pytest.mark.parametrize(("width", "gated"), [(16, 44), (32, 84), (64, 172), (96, 256), (128, 340), (256, 684)])
def test_hidden_widths_have_as_many_weights(width, gated):
    """8/3 of the width are 42.7, 85.3, 170.7, 256, 341.3 and 682.7."""
    assert hidden_width(width, gated=False) == 4 * width
    assert hidden_width(width, gated=True) == gated
    assert 3 * gated == pytest.approx(2 * 4 * width, rel=0.01 if width >= 64 else 0.04)


def test_initial_weights_depend_on_the_members_seed_only():
    a, b = built((7, 8, 7)), built((8, 7), epochs=1, learning_rate=0.5)
    for name, weights in a.named_parameters():
        other = b.get_parameter(name)
        assert torch.equal(weights[0], weights[2])
        assert torch.equal(weights[0], other[1])
        assert torch.equal(weights[1], other[0])
        assert torch.equal(weights[0], weights[1]) == name.startswith("norms")


def test_initial_weights_have_their_sizes():
    """Those of layers as torch's, even within 1 / sqrt(inputs); those of tables normal with 0.02."""
    network = built(range(8), positions="learned")
    assert network.embedding.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert network.positions.std().item() == pytest.approx(0.02, rel=0.1)
    down = network.feed_forwards[0].down.weight
    assert down.shape == (8, 64, 16)
    assert 0.98 / 8 < down.abs().max().item() <= 1 / 8


def test_layers_by_hand():
    """Two blocks on eight positions: query, key and value; their result; up; down. Then the head."""
    block = (Layer(16, 48, 8, 8), Layer(16, 16, 8, 8), Layer(16, 64, 8, 8), Layer(64, 16, 8, 8))
    assert NETWORKS["transformer"].layers(settings()) == (*block, *block, Layer(16, 12, 8, 8))


# --- settings ---


def test_rms_is_the_normalisation_unless_another_is_named():
    assert settings().normalisation == "rms"
    assert settings(normalisation="layer").normalisation == "layer"
    assert ProxySettings.check(settings().model_dump()) == settings()
    assert ProxySettings.check({"network": "resnet", "dataset": "digits"}).normalisation == "none"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "mnist1d"}, "gives an answer at every position, and mnist1d has .*; expected .*text_sequences"),
        (
            {"network": "mlp", "heads": 4},
            "walks has a label at every position, .* mlp .*; expected .* transformer",
        ),
        ({"widths": (16, 32)}, r"all blocks of a transformer have one width, got \[16, 32\]"),
        ({"heads": 3}, "heads must divide the width of 16 into multiples of 4; expected 1 or 2 or 4, got 3"),
        ({"heads": 8}, "heads must divide the width of 16 into multiples of 4; expected 1 or 2 or 4, got 8"),
        ({"heads": 0}, "heads: .*greater than or equal to 1, got 0"),
        ({"embedding": 16}, "as wide as its blocks: expected no embedding, got 16"),
        ({"normalisation": "none"}, "the transformer network has no none normalisation; expected one of rms, layer"),
        ({"positions": "absolute"}, "positions: .*'rotary' or 'learned', got 'absolute'"),
        ({"clip_norm": 0}, "clip_norm: .*greater than 0, got 0"),
        ({"network": "mlp", "dataset": "mnist1d"}, "heads goes with the network transformer, not with mlp"),
        (
            {"network": "mlp", "dataset": "mnist1d", "heads": 4, "positions": "learned"},
            "positions goes with the network transformer, not with mlp",
        ),
    ],
)
def test_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        settings(**values)
