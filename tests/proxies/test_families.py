"""Networks and data sets that were added from outside of the package train with every trainer that can."""

import importlib
import linecache
import math
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import helpers_families
import pytest
import torch
from helpers_proxies import scores
from torch import nn
from torch.nn import functional

from rlsearch import Formula
from rlsearch.bench.limits import layer_sizes, operations_per_candidate
from rlsearch.bench.proxies import train_eagerly
from rlsearch.common.pool import LokyPool
from rlsearch.common.registry import Registry
from rlsearch.errors import ConfigError
from rlsearch.kernels import TorchKernel, default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.data import DATASETS
from rlsearch.proxies.data.load import load_dataset
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.networks.mlp import Mlp
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import ProxySettings, source_of_outsiders
from rlsearch.proxies.starts import batches
from rlsearch.proxies.tasks import CLASSIFICATION, Classification
from rlsearch.proxies.trainers.population import PopulationTrainer, most_members

torch.set_num_threads(1)

SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "gelu(x)", "x + sin(x)", "softplus(x)")]
MEMBERS = [Training(formula, "", seed) for seed, formula in enumerate(SMOOTH)]


def settings(**values):
    own = {"dataset": "spirals", "network": "residual", "widths": (16, 16, 16), "epochs": 4, "batch_size": 40}
    return ProxySettings.check(own | {"population": 4} | values)


def by_hand(s, formula, seed):
    """The residual network in torch's own words, trained by a plain loop."""
    data = load_dataset(s)
    start = NETWORKS["residual"].build(s, [torch.Generator().manual_seed(seed)], None)
    linears = []
    for layer, n_out in zip((*start.layers, start.head), (16, 16, 16, 5), strict=True):
        linear = nn.Linear(layer.weight.shape[1], n_out)
        linear.weight.data = layer.weight[0, :, :n_out].T.clone()
        linear.bias.data = layer.bias[0, 0, :n_out].clone()
        linears.append(linear)

    def network(x):
        x = formula(linears[0](x))
        for linear in linears[1:-1]:
            x = x + formula(linear(x))
        return linears[-1](x)

    optimiser = torch.optim.Adam([p for linear in linears for p in linear.parameters()], lr=s.learning_rate)
    for rows in batches(s, seed, s.sizes[0]):
        loss = functional.cross_entropy(network(data.train.inputs[rows]), data.train.labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (network(data.validation.inputs).argmax(dim=1) == data.validation.labels).double().mean().item()


@pytest.mark.parametrize("kernel", [TorchKernel(), default_kernel("cpu")], ids=lambda kernel: kernel.name)
def test_a_residual_network_is_trained_as_one_whatever_the_kernel(kernel):
    """In process and by two workers, which import the module that registers it. Guessing scores 0.2."""
    s = settings()
    proxy = Proxy(s, kernel, "cpu")
    assert not proxy.is_native
    found = scores(proxy, MEMBERS)
    assert type(proxy._trainers[("x",), 4]) is PopulationTrainer
    expected = [by_hand(s, member.formula, member.seed) for member in MEMBERS]
    assert found == pytest.approx(expected, abs=2.5 / 200)
    assert min(found) > 0.4
    assert scores(proxy, MEMBERS, pool=LokyPool(2)) == found
    plain = scores(Proxy(settings(network="mlp"), kernel, "cpu"), MEMBERS)
    assert found != plain


def test_a_network_that_says_so_is_trained_by_the_native_trainer():
    native = pytest.importorskip("rlsearch.proxies.trainers.native", reason="no numba", exc_type=ImportError)
    from rlsearch.kernels.numba_kernel import NumbaKernel

    s = settings(network="pyramid", widths=(32, 4))
    proxy = Proxy(s, NumbaKernel(), "cpu")
    found = scores(proxy, MEMBERS)
    assert [type(trainer) for trainer in proxy._trainers.values()] == [native.NativeTrainer]
    assert found == pytest.approx(scores(Proxy(s, TorchKernel(), "cpu"), MEMBERS), abs=2.5 / 200)
    assert len(set(found)) > 1
    assert scores(proxy, MEMBERS, pool=LokyPool(2)) == found


def test_a_class_of_a_script_reaches_the_workers(tmp_path):
    """What a script or a notebook defines cannot be imported by workers; it comes with the call."""
    script = tmp_path / "script.py"
    script.write_text(
        "from helpers_families import Residual\n"
        "from helpers_proxies import scores\n"
        "from rlsearch import Formula\n"
        "from rlsearch.common.pool import LokyPool\n"
        "from rlsearch.kernels import TorchKernel\n"
        "from rlsearch.proxies.base import Training\n"
        "from rlsearch.proxies.networks import NETWORKS\n"
        "from rlsearch.proxies.proxy import Proxy\n"
        "from rlsearch.proxies.settings import ProxySettings\n"
        "@NETWORKS.add\n"
        "class Mine(Residual):\n"
        "    name = 'mine'\n"
        "if __name__ == '__main__':\n"
        "    values = {'widths': (8, 8), 'epochs': 1, 'batch_size': 40, 'population': 1}\n"
        "    s = ProxySettings(dataset='spirals', network='mine', **values)\n"
        "    p = Proxy(s, TorchKernel(), 'cpu')\n"
        "    members = [Training(Formula.parse('silu(x)'), '', seed) for seed in range(3)]\n"
        "    print(scores(p, members) == scores(p, members, pool=LokyPool(2)))\n"
    )
    paths = os.pathsep.join([str(Path(helpers_families.__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


@dataclass(frozen=True, slots=True)
class Hinge(Classification):
    """Classification by another loss, which the native trainer does not know."""

    def loss(self, outputs, labels):
        """Each output is to be on its own side of 0, by a margin of 1."""
        signs = 2 * functional.one_hot(labels, outputs.shape[-1]) - 1
        return (1 - signs * outputs).relu().sum(dim=-1).mean(dim=-1).sum()


@DATASETS.add
class HingeSpirals(helpers_families.Spirals):
    name = "hinge-spirals"
    task = Hinge(name="hinge", score="accuracy", unit="percentage points", gain="points", scale="%")


def test_another_loss_is_the_population_trainers():
    """Of a plain chain too, with whatever kernel."""
    s = settings(dataset="hinge-spirals", network="mlp")
    proxy = Proxy(s, default_kernel("cpu"), "cpu")
    assert not proxy.is_native
    found = scores(proxy, MEMBERS)
    assert type(proxy._trainers[("x",), 4]) is PopulationTrainer
    assert max(found) > 0.5  # guessing scores 0.2
    assert found != scores(Proxy(settings(network="mlp"), TorchKernel(), "cpu"), MEMBERS)


def regression_by_hand(s, formula, seed):
    """A plain chain in torch's own words, trained on squared errors; the share of the variance that it explains."""
    data = load_dataset(s)
    start = NETWORKS["mlp"].build(s, [torch.Generator().manual_seed(seed)], None)
    weights = []
    for layer, n_out in zip((*start.layers, start.head), (*s.widths, 1), strict=True):
        weights.append((layer.weight[0, :, :n_out].clone(), layer.bias[0, 0, :n_out].clone()))
    parameters = [parameter.detach().requires_grad_() for pair in weights for parameter in pair]

    def network(x):
        *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)
        for inner, shift in hidden:
            x = formula(x @ inner + shift)
        return (x @ weight + bias)[:, 0]

    optimiser = torch.optim.Adam(parameters, lr=s.learning_rate)
    for rows in batches(s, seed, s.sizes[0]):
        loss = functional.mse_loss(network(data.train.inputs[rows]), data.train.labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    labels = data.validation.labels
    errors = (network(data.validation.inputs) - labels).square().mean()
    return 1 - (errors / labels.var(correction=0)).item()


@pytest.mark.parametrize("kernel", [TorchKernel(), default_kernel("cpu")], ids=lambda kernel: kernel.name)
def test_a_regression_is_the_population_trainers_whatever_the_kernel(kernel):
    """Labels that are no classes, a network of one output, and scores that are no accuracies; also by two workers."""
    s = settings(dataset="ridge", network="mlp", epochs=8)
    assert (s.n_outputs, s.task.score) == (1, "R2")
    assert load_dataset(s).train.labels.dtype == torch.float32
    proxy = Proxy(s, kernel, "cpu")
    assert not proxy.is_native
    found = scores(proxy, MEMBERS)
    assert type(proxy._trainers[("x",), 4]) is PopulationTrainer
    assert found == pytest.approx([regression_by_hand(s, m.formula, m.seed) for m in MEMBERS], abs=5e-3)
    assert max(found) > 0.5  # the mean of all labels scores 0
    assert scores(proxy, MEMBERS, pool=LokyPool(2)) == found


def test_a_task_refuses_labels_that_are_none_of_its_own():
    @DATASETS.add
    class Holes(helpers_families.Ridge):
        name = "holes"

        def examples(self, seed, count):
            inputs, labels = super().examples(seed, count)
            labels[3] = math.nan
            return inputs, labels

    with pytest.raises(ConfigError, match="labels of holes are not all finite"):
        load_dataset(settings(dataset="holes", network="mlp"))


def test_sizes_classes_and_caveat_come_from_the_data_set():
    s = settings()
    assert (s.sizes, s.n_features, s.n_outputs, s.caveat) == ((400, 200, 200), 6, 5, None)
    assert load_dataset(s).train.inputs.shape == (400, 6)
    assert s.name == "spirals-residual"
    assert "cannot be generated anew" in ProxySettings(dataset="digits").caveat


def test_settings_are_checked_by_the_network():
    with pytest.raises(ConfigError, match=r"the residual network has one width, got \[8, 16\]"):
        settings(widths=(8, 16))
    with pytest.raises(ConfigError, match=r"conv1d network is for sequences \(mnist1d.*\), not for spirals"):
        settings(network="conv1d")
    with pytest.raises(ConfigError, match=r"unknown network 'residul'; .*did you mean 'residual'"):
        settings(network="residul")


def test_limits_are_counted_from_the_layers():
    s = settings(network="pyramid", widths=(32, 4))
    assert layer_sizes(s) == [(1, 6, 32), (1, 32, 16), (1, 16, 5)]
    step = 2 * 40 * (2 * 6 * 32 + 3 * 32 * 16 + 3 * 16 * 5)
    assert operations_per_candidate(s) == 4 * 10 * step + 2 * 200 * (6 * 32 + 32 * 16 + 16 * 5)


def test_a_gpus_memory_is_counted_from_the_layers(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**33, 2**40))
    small, large = (most_members(settings(network="pyramid", widths=(w, 4)), "cuda") for w in (32, 3200))
    assert small > 8 * large


@pytest.mark.parametrize("network", ["residual", "pyramid"])
def test_the_plain_loop_of_the_bench_trains_them(network):
    s = settings(network=network)
    assert train_eagerly(s, SMOOTH[0], 0, load_dataset(s)) > 0.3


# --- the tables ---


def test_a_name_is_taken_once():
    with pytest.raises(ConfigError, match=r"Other cannot be the network 'mlp': .*mlp\.Mlp has that name already"):

        @NETWORKS.add
        class Other(helpers_families.Residual):
            name = "mlp"

    assert type(NETWORKS["mlp"]).__name__ == "Mlp"


def test_a_cell_that_runs_again_replaces_its_class():
    registry = Registry("thing")

    def cell():
        @registry.add
        class Thing:
            name = "a"

        return Thing

    first, second = cell(), cell()
    assert first is not second
    assert type(registry["a"]) is second
    registry.add(second)
    assert list(registry) == ["a"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda x, y: (x[:, :3], y), r"made inputs \[4, 3\] and labels \[4\]; expected \[4, 6\] and as many labels"),
        (lambda x, y: (x[:8], y[:8]), r"made inputs \[0, 6\] and labels \[0\]; expected \[4, 6\]"),
        (lambda x, y: (x, y[:11]), r"made inputs \[4, 6\] and labels \[3\]; expected \[4, 6\] and as many labels"),
        (lambda x, y: (x, y + 1), r"labels of wrong reach from \d to 5; expected 0 to 4"),
        (lambda x, y: (x, y - 1), "labels of wrong reach from -1 to"),
    ],
)
def test_a_data_set_that_is_not_what_it_says(made, message):
    @DATASETS.add
    class Wrong(helpers_families.Spirals):
        name = "wrong"
        sizes = (4, 4, 4)

        def examples(self, seed, count):
            inputs, labels = super().examples(seed, count)
            labels[:5] = range(5)
            return made(inputs, labels)

    with pytest.raises(ConfigError, match=message):
        load_dataset(settings(dataset="wrong", batch_size=4))


def test_nothing_of_torch_is_needed_to_read_settings():
    """Reading a run checks its config, and needs no torch for that."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from rlsearch.proxies.settings import ProxySettings, proxy_name\n"
        "s = ProxySettings.check({'network': 'conv1d', 'widths': [8, 8]})\n"
        "print(proxy_name(s, 'numba', 'cpu'), s.n_outputs, s.caveat, s.task.score)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("mnist1d-conv1d-"), done.stderr
    assert done.stdout.endswith(" 10 None accuracy\n")


def test_names_are_those_of_ever():
    """A name that changes makes every run's scores those of another proxy."""
    from rlsearch.proxies.settings import proxy_name

    names = {kernel: proxy_name(ProxySettings(), kernel, "cpu") for kernel in ("numba", "torch")}
    assert names == {"numba": "mnist1d-mlp-70c5648d98", "torch": "mnist1d-mlp-c66a0494e8"}
    conv = ProxySettings(network="conv1d", widths=(16, 16, 16), epochs=2)
    assert proxy_name(conv, "numba", "cpu") == "mnist1d-conv1d-c14ccd13c0"
    assert proxy_name(ProxySettings(dataset="digits", widths=(8,)), "torch", "cpu") == "digits-mlp-deb63a7b57"


def test_what_inherits_from_a_plain_chain_is_none_unless_it_says_so():
    """Otherwise the native trainer would train it from its layers, whatever its own forward pass does."""

    class Halved(Mlp):
        name = "halved"

        def forward(self, network, inputs):
            return 0.5 * super().forward(network, inputs)

    class Smoothed(Classification):
        def loss(self, outputs, labels):
            return 0.5 * Classification.loss(self, outputs, labels)

    class Renamed(Mlp):
        name = "renamed"
        native = True

    assert Mlp.native
    assert CLASSIFICATION.native
    assert Renamed.native
    assert not Halved.native
    assert not Smoothed(**asdict(CLASSIFICATION)).native


def test_an_edited_class_from_outside_is_another_proxy(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "network_of_mine.py"
    text = "from rlsearch.proxies.networks.mlp import Mlp\n\n\nclass Mine(Mlp):\n    name = 'mine'\n"
    names = []
    for version in (text, text, text + "    # edited\n"):
        file.write_text(version)
        linecache.clearcache()
        sys.modules.pop("network_of_mine", None)
        importlib.invalidate_caches()
        cls = importlib.import_module("network_of_mine").Mine
        names.append(source_of_outsiders([cls, Mlp]))
    assert names[0] == names[1]
    assert names[0] != names[2]
    assert source_of_outsiders([Mlp, Classification]) == ""
