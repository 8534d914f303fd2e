"""Small proxies for the population trainer, and what must hold of every population."""

from helpers_proxies import scores

from rlsearch import Formula
from rlsearch.kernels import TorchKernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings

TEXTS = ["relu(x)", "silu(x)", "tanh(x)", "x + sin(x)", "gelu(x)", "max(x, sigmoid(x))", "x * atan(x)"]
FORMULAS = [Formula.parse(text) for text in TEXTS]
SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "gelu(x)", "x + sin(x)", "softplus(x)")]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
SIZES = {"train_size": 96, "validation_size": 80, "test_size": 40, "batch_size": 32}


def settings(**values):
    return ProxySettings.check(SIZES | {"widths": (12, 8), "epochs": 2, "population": 4} | values)


def proxy(**values):
    return Proxy(settings(**values), TorchKernel(), "cpu")


def members_of(proxy, start=0):
    """A full population: other formulas and seeds from ``start`` on."""
    size = proxy.settings.population
    return [Training(FORMULAS[k % len(FORMULAS)], "p", k) for k in range(start, start + size)]


def state(network, k):
    """What member ``k`` has learned: its weights, and what it keeps beside them."""
    return [tensor.detach()[k].clone() for tensor in (*network.parameters(), *network.buffers())]


def assert_same_bits(a, b):
    for p, q in zip(a, b, strict=True):
        assert p.numpy().tobytes() == q.numpy().tobytes()


def assert_a_nan_changes_no_bit_of_the_others(proxy, slot, trained):
    """Trains twice, with another member in a slot that becomes NaN; ``trained`` is the fixture of that name."""
    members = members_of(proxy)
    clean = scores(proxy, members)
    first = trained[-1]
    members[slot] = Training(EXPLODING, "p", slot)
    found = scores(proxy, members)
    assert found[slot] is None
    assert None not in clean
    assert not all(each.isfinite().all() for each in state(trained[-1], slot))
    others = [k for k in range(len(members)) if k != slot]
    assert [found[k] for k in others] == [clean[k] for k in others]
    for k in others:
        assert_same_bits(state(first, k), state(trained[-1], k))


def assert_a_members_bits_do_not_depend_on_its_population(proxy, trained):
    """Other neighbours, every slot, a short last population that is filled up."""
    size = proxy.settings.population
    member = Training(FORMULAS[1], "p", 11)
    (alone,) = scores(proxy, [member])
    expected = state(trained[-1], 0)
    for slot in range(size):
        for others in (members_of(proxy), members_of(proxy, size)):
            found = scores(proxy, [*others[:slot], member, *others[slot + 1 :]])
            assert found[slot] == alone
            assert_same_bits(state(trained[-1], slot), expected)
    # The second population has two members.
    found = scores(proxy, [*members_of(proxy), Training(FORMULAS[0], "p", 0), member])
    assert found[size + 1] == alone
    assert_same_bits(state(trained[-1], 1), expected)
