import math

import pytest
import torch
from helpers_plain import PlainResNet, plain_norm
from helpers_proxies import of_the_package
from torch import nn
from torch.nn import functional

from rlsearch import Formula
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.networks import NETWORKS, Layer
from rlsearch.proxies.networks.layers import PopulationEmbedding, PopulationLinear
from rlsearch.proxies.settings import ProxySettings

torch.set_num_threads(1)

SILU = Formula.parse("silu(x)")
# A transformer has layers of other kinds; see test_transformer.py.
NAMES = [name for name in of_the_package(NETWORKS) if name != "transformer"]
KINDS = [(name, normalisation) for name in NAMES for normalisation in NETWORKS[name].normalisations]


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def settings_of(network, **values):
    return ProxySettings(network=network, **{"widths": (12, 8)} | NEEDS.get(network, {}) | values)


def built(members=1, network="mlp", seeds=None, formula=SILU, **values):
    settings = settings_of(network, **values)
    activation = TorchKernel().population([formula] * members)
    return NETWORKS[network].build(settings, generators(*(seeds or range(members))), activation)


def inputs(*shape, network="mlp"):
    """So many members and examples, with the features that a network's data set has here."""
    return torch.randn(*shape, settings_of(network).n_features, generator=torch.Generator().manual_seed(5))


def disturb(network):
    """Gives the normalisations scales and shifts that are seen."""
    generator = torch.Generator().manual_seed(8)
    for norm in network.norms:
        for parameter in norm.parameters():
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)


def linear(population, k, n_out=None):
    """Training k of a PopulationLinear as torch's own layer."""
    _, n_in, columns = population.weight.shape
    layer = nn.Linear(n_in, n_out or columns)
    layer.weight.data = population.weight[k].T[: layer.out_features].clone()
    layer.bias.data = population.bias[k, 0, : layer.out_features].clone()
    return layer


def single_mlp(network, k):
    layers = []
    for layer, n in zip(network.layers, network.norms, strict=True):
        layers += [linear(layer, k), plain_norm(n, k), nn.SiLU()]
    return nn.Sequential(*layers, linear(network.head, k, 10))


def single_conv(network, k):
    layers = [nn.Unflatten(1, (1, 40))]
    for layer, n in zip(network.layers, network.norms, strict=True):
        _, n_in, n_out = layer.weight.shape
        conv = nn.Conv1d(n_in // 4, n_out, kernel_size=4, stride=2, padding=1)
        conv.weight.data = layer.weight[k].T.reshape(n_out, n_in // 4, 4).clone()
        conv.bias.data = layer.bias[k, 0].clone()
        layers += [conv, plain_norm(n, k, images=True), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), linear(network.head, k, 10))


def single_resnet(network, k):
    return PlainResNet(network, k, nn.SiLU())


# Every network of the package in torch's own layers, in the order of its own: any module will do.
SINGLE = {"mlp": single_mlp, "conv1d": single_conv, "resnet": single_resnet}

# What it needs beside the settings of the tests.
NEEDS = {"resnet": {"dataset": "digits", "widths": (8, 12)}}


def in_own_layout(layer, weights):
    """Weights of a layer of torch's, or their gradients, as a population has those of a member."""
    return weights.permute(0, 2, 3, 1).flatten(1) if isinstance(layer, nn.Conv2d) else weights.flatten(1).T


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("name", "normalisation"), KINDS)
def test_equals_torchs_own_layers(name, normalisation, members):
    """Logits, and the gradient of every weight."""
    network = built(members, name, normalisation=normalisation)
    disturb(network)
    x = inputs(members, 6, network=name)
    logits = network(x)
    assert logits.shape == (members, 6, 10)
    logits.square().sum().backward()
    for k in range(members):
        single = SINGLE[name](network, k)
        torch.testing.assert_close(single(x[k]), logits[k], rtol=1e-5, atol=1e-5)
        single(x[k]).square().sum().backward()
        *hidden, head = (m for m in single.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d))
        for theirs, layer in zip(hidden, network.layers, strict=True):
            expected = in_own_layout(theirs, theirs.weight.grad)
            torch.testing.assert_close(layer.weight.grad[k], expected, rtol=1e-4, atol=1e-4)
            if layer.bias is not None:
                torch.testing.assert_close(layer.bias.grad[k, 0], theirs.bias.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(head.weight.grad, network.head.weight.grad[k].T[:10], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(head.bias.grad, network.head.bias.grad[k, 0, :10], rtol=1e-4, atol=1e-4)
        if normalisation != "none":
            theirs = next(m for m in single.modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm | nn.BatchNorm2d))
            # Scale and, but for the mean square's, shift.
            for single_one, mine in zip(theirs.parameters(), network.norms[0].parameters(), strict=True):
                torch.testing.assert_close(single_one.grad, mine.grad[k, 0], rtol=1e-4, atol=1e-4)


def test_the_padding_classes_are_cut_off_and_learn_nothing():
    network = built(2)
    functional.cross_entropy(network(inputs(2, 4)).transpose(1, 2), torch.zeros(2, 4, dtype=torch.int64)).backward()
    assert network.head.weight.shape[-1] % 4 == 0
    assert network.head.weight.grad[..., :10].abs().min() > 0
    assert (network.head.weight.grad[..., 10:] == 0).all()
    assert (network.head.bias.grad[..., 10:] == 0).all()


@pytest.mark.parametrize(("name", "normalisation"), KINDS)
def test_members_do_not_see_each_other(name, normalisation):
    network, x = built(3, name, normalisation=normalisation), inputs(3, 4, network=name)
    leaf = x.clone().requires_grad_()
    network(leaf)[1].sum().backward()
    assert (leaf.grad[[0, 2]] == 0).all()
    assert leaf.grad[1].abs().max() > 0
    for parameter in network.parameters():
        assert (parameter.grad[[0, 2]] == 0).all()
    other = x.clone()
    other[[0, 2]] = math.nan
    assert torch.equal(network(other)[1], network(x)[1])


@pytest.mark.parametrize(("layers", "n_out"), [(1, 20), (2, 10), (3, 5), (4, 2), (5, 1)])
def test_each_convolution_halves_the_length(layers, n_out):
    seen = []

    def activation(x):
        seen.append(x.shape)
        return x

    settings = ProxySettings(network="conv1d", widths=(4,) * layers)
    network = NETWORKS["conv1d"].build(settings, generators(0), activation)
    assert network(inputs(1, 3)).shape == (1, 3, 10)
    assert seen[-1] == (1, 3 * n_out, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", [4, 8, 8]),
        ("conv1d", [4, 8, 8]),
        ("resnet", [4, 4, 4, 8, 8, 8, 8]),
    ],  # two for each block, and one before
)
def test_the_activation_is_applied_once_per_width(name, expected):
    calls = []
    settings = settings_of(name, widths=(4, 8, 8))
    network = NETWORKS[name].build(settings, generators(0), lambda x: calls.append(x.shape[-1]) or x)
    network(inputs(1, 2, network=name))
    assert calls == expected


# --- initial weights ---


def test_initial_weights_are_distributed_as_torchs():
    """nn.Linear draws weights and biases evenly from -1/sqrt(n_in) to 1/sqrt(n_in): sd 1/sqrt(3 n_in)."""
    layer = PopulationLinear(generators(*range(8)), 64, 100)
    torch.manual_seed(0)
    theirs = [nn.Linear(64, 100) for _ in range(8)]
    pairs = [
        (layer.weight, torch.stack([t.weight.data for t in theirs])),
        (layer.bias, torch.stack([t.bias.data for t in theirs])),
    ]
    for mine, reference in pairs:
        bound = 1 / math.sqrt(64)
        assert mine.abs().max() <= bound
        assert mine.abs().max() > 0.98 * bound
        assert abs(mine.mean()) < 0.05 * bound  # 800 biases: standard error 0.02
        assert mine.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        quantiles = torch.linspace(0.05, 0.95, 10)
        torch.testing.assert_close(
            mine.data.flatten().quantile(quantiles), reference.flatten().quantile(quantiles), rtol=0, atol=0.1 * bound
        )


def test_normalisations_start_as_torchs():
    network = built(2, normalisation="layer")
    assert [type(n).__name__ for n in built(2).norms] == ["Identity", "Identity"]
    for n in network.norms:
        assert (n.scale == 1).all()
        assert (n.shift == 0).all()
    for n in built(2, normalisation="rms").norms:
        assert (n.scale == 1).all()
        assert len(list(n.parameters())) == 1


def test_an_embedding_is_a_table_of_each_members_own():
    """As torch's own: normal numbers of sd 1; and each token's row in its place."""
    embedding = PopulationEmbedding(generators(0, 1, 0), 50, 12)
    tokens = torch.randint(50, (3, 6, 4), generator=torch.Generator().manual_seed(0))
    found = embedding(tokens)
    assert found.shape == (3, 6, 48)
    for k in range(3):
        theirs = nn.Embedding.from_pretrained(embedding.weight[k])
        assert torch.equal(found[k], theirs(tokens[k]).flatten(1))
    assert embedding.weight[1].mean().item() == pytest.approx(0.0, abs=0.15)  # of 600 numbers: standard error 0.04
    assert embedding.weight[1].std().item() == pytest.approx(1.0, abs=0.1)
    assert torch.equal(embedding.weight[0], embedding.weight[2])
    assert not torch.equal(embedding.weight[0], embedding.weight[1])


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_depend_on_the_members_seed_only(name):
    a = built(3, name, seeds=(7, 8, 7))
    b = built(2, name, seeds=(8, 7), formula=Formula.parse("x * x"), epochs=1, learning_rate=0.5)
    torch.manual_seed(99)
    c = built(1, name, seeds=(7,))
    for p, q, r in zip(a.parameters(), b.parameters(), c.parameters(), strict=True):
        assert torch.equal(p[0], p[2])
        assert torch.equal(p[0], q[1])
        assert torch.equal(p[0], r[0])
        assert torch.equal(p[1], q[0])
        assert not torch.equal(p[0], p[1])


def test_global_random_numbers_are_untouched():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    built(2)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("name", "normalisation"), KINDS)
def test_every_slice_starts_on_a_16_byte_boundary(name, normalisation):
    """Of weights and of what an activation gets, so that a member's bits do not depend on its slot."""
    seen = []

    def activation(x):
        seen.append(x)
        return x.sigmoid()

    settings = settings_of(name, widths=(12, 20), normalisation=normalisation)
    network = NETWORKS[name].build(settings, generators(*range(5)), activation)
    network(inputs(5, 4, network=name))
    for tensor in (*network.parameters(), *seen):
        assert tensor.is_contiguous()
        assert tensor.stride(0) * tensor.element_size() % 16 == 0


def test_layers_by_hand():
    """Channels, outputs, positions of the input and of the output, taps; the head of a convolution sees their mean."""
    assert NETWORKS["mlp"].layers(ProxySettings(widths=(12, 8))) == (Layer(40, 12), Layer(12, 8), Layer(8, 10))
    conv = NETWORKS["conv1d"].layers(ProxySettings(network="conv1d", widths=(12, 8)))
    assert conv == (Layer(1, 12, 40, 20, 4), Layer(12, 8, 20, 10, 4), Layer(8, 10, 10))
    assert [layer.inputs for layer in conv] == [4, 48, 8]
    resnet = NETWORKS["resnet"].layers(ProxySettings(dataset="digits", network="resnet", widths=(8, 8, 12)))
    whole, half = 8 * 8, 4 * 4
    assert resnet == (
        Layer(1, 8, whole, whole, 9),
        *[Layer(8, 8, whole, whole, 9)] * 4,
        Layer(8, 12, whole, half, 9),
        Layer(12, 12, half, half, 9),
        Layer(12, 10, half),
    )
