"""Settings and proxies of a user's own network, for the tests of how it is trained."""

import pytest

from rlsearch import Formula
from rlsearch.kernels import default_kernel
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.proxy import Proxy

SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "gelu(x)", "x + sin(x)", "softplus(x)")]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
KERNEL = default_kernel("cpu")

NETWORKS = {
    "mlp": {"data": "vectors"},
    "odd widths": {"network": "mlp", "data": "vectors", "arguments": {"width": 13}},
    "dropout": {"network": "mlp", "data": "vectors", "arguments": {"dropout": 0.3}},
    "ConvNet": {"data": "images"},
    "Transformer": {"data": "sequences"},
}
ALL = pytest.mark.parametrize("name", NETWORKS)


def settings(name="mlp", examples=256, **values):
    chosen = NETWORKS.get(name, {"data": "sequences"})
    given = {
        "target": f"helpers_networks:{chosen.get('network', name)}",
        "arguments": chosen.get("arguments", {}),
        "data": {"target": f"helpers_networks:{chosen['data']}", "examples": examples},
        "batch_size": 32, "epochs": 2, "population": 8, "batched": True, "learning_rate": 3e-3,
    }  # fmt: skip
    return OwnProxySettings.check(given | values)


def proxy(name="mlp", kernel=KERNEL, **values):
    return Proxy(settings(name, **values), kernel, "cpu")
