"""Losses and scores of a user's own network: by name or as functions, masked labels, clipping, precision."""

import helpers_tasks
import pytest
import torch
from helpers_proxies import scores
from helpers_tasks import IGNORED
from torch.nn import functional

from rlsearch import Formula
from rlsearch.common.rng import random_numbers_of
from rlsearch.errors import ConfigError
from rlsearch.kernels import default_kernel
from rlsearch.proxies.base import Training
from rlsearch.proxies.own.batching import _dependence, _difference
from rlsearch.proxies.own.factories import build_network, check_network, load_own_dataset, source_digest
from rlsearch.proxies.own.settings import OwnProxySettings
from rlsearch.proxies.own.tasks import default_score, masked, own_task
from rlsearch.proxies.own.trainer import OwnTrainer
from rlsearch.proxies.proxy import Proxy
from rlsearch.proxies.settings import proxy_name
from rlsearch.proxies.starts import batches, rates
from rlsearch.proxies.tasks import BITS, CLASSIFICATION, CLASSIFICATION_LOSS, REGRESSION
from rlsearch.rewards.settings import RewardSettings

torch.set_num_threads(1)

KERNEL = default_kernel("cpu")
SMOOTH = [Formula.parse(text) for text in ("silu(x)", "tanh(x)", "gelu(x)", "x + sin(x)")]
EXPLODING = Formula.parse("exp(exp(exp(exp(x))))")
MEMBERS = [Training(formula, "p", 1) for formula in SMOOTH]

KINDS = {
    "classes": {"target": "helpers_networks:mlp", "data": "helpers_networks:vectors"},
    "letters": {"target": "helpers_networks:Transformer", "data": "helpers_networks:sequences"},
    "padded": {"target": "helpers_networks:Transformer", "data": "helpers_tasks:padded_sequences"},
    "numbers": {"target": "helpers_tasks:two_outputs", "data": "helpers_tasks:numbers"},
    "bits": {"target": "helpers_tasks:two_outputs", "data": "helpers_tasks:bits"},
}


def settings(kind="classes", **values):
    chosen = KINDS[kind]
    given = {
        "target": chosen["target"], "data": {"target": chosen["data"]}, "batch_size": 32, "epochs": 2,
        "population": 4, "batched": True, "learning_rate": 3e-3,
    }  # fmt: skip
    return OwnProxySettings.check(given | values)


def trained(kind="classes", members=MEMBERS, part="validation", **values):
    return scores(Proxy(settings(kind, **values), KERNEL, "cpu"), members, part)


def by_hand(s, member, loss, score):
    """A plain loop over one network, with torch's own clipping and autocast."""
    data = load_own_dataset(s)
    network = build_network(s, member.seed, member.formula.to_module())
    optimiser = torch.optim.Adam(network.parameters(), lr=s.learning_rate)
    if s.optimiser == "adamw":
        optimiser = torch.optim.AdamW(network.parameters(), lr=s.learning_rate, weight_decay=s.decay)
    orders = batches(s, member.seed, len(data.train.labels))
    bfloat16 = s.precision == "bfloat16"
    for rows, rate in zip(orders, rates(s, len(orders)), strict=True):
        optimiser.param_groups[0]["lr"] = float(rate)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = network(data.train.inputs[rows])
        optimiser.zero_grad()
        loss(outputs.float(), data.train.labels[rows]).backward()
        if s.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), s.clip_norm)
        optimiser.step()
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        outputs = network(data.validation.inputs)
    return float(score(outputs.float(), data.validation.labels))


# --- which loss and which score ---


def minus(loss):
    return lambda outputs, labels: -loss(outputs, labels)


def masked_loss(outputs, labels):
    return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)


def masked_accuracy(outputs, labels):
    kept = labels != IGNORED
    return (outputs.argmax(dim=-1) == labels)[kept].double().mean()


def digits(outputs, labels):
    shares = (outputs - labels).square().sum(dim=0) / (labels - labels.mean(dim=0)).square().sum(dim=0)
    return -shares.log10().mean()


def bits_right(outputs, labels):
    return ((outputs > 0) == (labels > 0.5)).double().mean()


MASK = {"ignore_index": IGNORED}
BCE = functional.binary_cross_entropy_with_logits


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    ("kind", "values", "loss", "score"),
    [
        ("classes", {"score": "loss"}, helpers_tasks.cross_entropy, minus(helpers_tasks.cross_entropy)),
        ("padded", MASK | {"score": "loss"}, masked_loss, minus(masked_loss)),
        ("numbers", {"loss": "squared_error"}, functional.mse_loss, digits),
        ("numbers", {"loss": "squared_error", "score": "loss"}, functional.mse_loss, minus(functional.mse_loss)),
        ("bits", {"loss": "binary_cross_entropy", "score": "loss"}, BCE, minus(BCE)),
        ("numbers", {"loss": "helpers_tasks:squared_error"}, functional.mse_loss, minus(functional.mse_loss)),
        (
            "classes",
            {"score": "helpers_tasks:range_of_outputs"},
            helpers_tasks.cross_entropy,
            helpers_tasks.range_of_outputs,
        ),
        (
            "letters",
            {"loss": "helpers_tasks:cross_entropy", "score": "helpers_tasks:range_of_outputs"},
            helpers_tasks.cross_entropy,
            helpers_tasks.range_of_outputs,
        ),
    ],
)
def test_whole_trainings_equal_a_plain_loop(kind, values, loss, score, batched):
    s = settings(kind, **values)
    check_network(s)
    expected = [by_hand(s, member, loss, score) for member in MEMBERS]
    assert trained(kind, batched=batched, **values) == pytest.approx(expected, rel=2e-3, abs=2e-4)
    assert len({round(each, 3) for each in expected}) > 2


@pytest.mark.parametrize(
    ("kind", "values", "score", "labels"),
    [
        ("padded", MASK, masked_accuracy, 64 * 12),
        ("bits", {"loss": "binary_cross_entropy"}, bits_right, 64 * 2),
    ],
)
def test_counts_equal_a_plain_loop(kind, values, score, labels):
    """A few predictions may flip by rounding."""
    loss = masked_loss if kind == "padded" else BCE
    expected = [by_hand(settings(kind, **values), member, loss, score) for member in MEMBERS]
    assert trained(kind, **values) == pytest.approx(expected, abs=3.5 / labels)


def test_the_users_loss_and_score_are_those_of_the_same_name():
    expected = trained("letters")
    assert trained("letters", score="helpers_tasks:accuracy") == expected
    # Another order of sums.
    assert trained("letters", loss="helpers_tasks:cross_entropy", score="accuracy") == pytest.approx(expected, abs=0.01)


def test_masked_labels_by_hand():
    """Two members, three labels of which one does not count; all logits 0 but one of 2 for the first label.

    Cross-entropies: member 0 log(1 + 2 exp(-2)) = 0.2395, member 1 log(3) = 1.0986; the other label that counts has
    log(3) with both. A class may be the ignored label: nothing of it counts.
    """
    outputs = torch.zeros(2, 3, 3)
    outputs[0, 0, 1] = 2.0
    outputs[:, 2, 2] = 9.0
    labels = torch.tensor([1, 0, 2])
    accuracy, loss = (masked(task, 2) for task in (CLASSIFICATION, CLASSIFICATION_LOSS))
    found = accuracy.loss(outputs, labels.expand(2, 3))
    assert found.item() == pytest.approx((0.2395 + 1.0986) / 2 + 1.0986, abs=1e-4)
    assert accuracy.count(outputs, labels).tolist() == [2, 1]
    assert accuracy.scores(accuracy.count(outputs, labels).numpy(), labels).tolist() == [1.0, 0.5]
    scored = loss.scores(loss.count(outputs, labels).numpy(), labels)
    assert scored.tolist() == pytest.approx([-(0.2395 + 1.0986) / 2, -1.0986], abs=1e-4)
    nothing = torch.full((2, 3), 2)
    assert accuracy.loss(outputs, nothing).item() == 0


def test_without_a_masked_label_nothing_changes():
    assert trained("letters", ignore_index=IGNORED) == pytest.approx(trained("letters"), abs=0.01)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ({}, CLASSIFICATION),
        ({"score": "accuracy"}, CLASSIFICATION),
        ({"score": "loss"}, CLASSIFICATION_LOSS),
        ({"loss": "squared_error"}, REGRESSION),
        ({"loss": "binary_cross_entropy", "score": "bits_right"}, BITS),
    ],
)
def test_names_stand_for_the_tasks_of_this_package(values, task):
    assert settings(**values).task == task


def test_what_goes_with_a_loss():
    assert [default_score(loss) for loss in ("cross_entropy", "squared_error", "binary_cross_entropy", "a:b")] == [
        "accuracy", "digits", "bits_right", "loss",
    ]  # fmt: skip
    assert own_task("a:b", "digits", None).unit == REGRESSION.unit


def test_gains_are_in_points_where_the_score_is_an_accuracy():
    """And in spreads of the baselines where it is anything else."""
    for values, in_spreads in (({}, False), (MASK, False), ({"score": "loss"}, True), ({"loss": "a:b"}, True)):
        assert RewardSettings(proxies=(settings("padded", **values),)).in_spreads is in_spreads


# --- members are alone ---


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("classes", {"clip_norm": 0.1}),
        ("padded", MASK),
        ("classes", {"loss": "helpers_tasks:cross_entropy"}),
        ("letters", {"precision": "bfloat16"}),
    ],
)
def test_members_feel_no_neighbour_and_no_place(kind, values):
    trainer = OwnTrainer(settings(kind, **values), KERNEL, "cpu", 4)
    assert _dependence(trainer) == ""
    clean = trained(kind, score="loss", **values)
    found = trained(kind, [*MEMBERS[:1], Training(EXPLODING, "p", 1), *MEMBERS[2:]], score="loss", **values)
    assert found[1] is None
    assert [found[k] for k in (0, 2, 3)] == [clean[k] for k in (0, 2, 3)]


@pytest.mark.parametrize("batched", [True, False])
def test_a_gradient_is_cut_as_torch_cuts_that_of_one_network(batched):
    """Nearly every step is cut at 0.05; gradients alone would hardly show, for Adam divides by their size."""
    values = {"clip_norm": 0.05, "optimiser": "sgd", "learning_rate": 0.5, "score": "loss"}
    s = settings(**values)
    loss = helpers_tasks.cross_entropy
    data = load_own_dataset(s)
    expected = []
    for member in MEMBERS:
        network = build_network(s, 1, member.formula.to_module())
        optimiser = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
        for rows in batches(s, 1, len(data.train.labels)):
            optimiser.zero_grad()
            loss(network(data.train.inputs[rows]), data.train.labels[rows]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05)
            optimiser.step()
        expected.append(-loss(network(data.validation.inputs), data.validation.labels).item())
    found = trained(batched=batched, **values)
    assert found == pytest.approx(expected, rel=1e-3)
    assert found != pytest.approx(trained(batched=batched, **values | {"clip_norm": None}), rel=1e-3)


def test_a_scalar_parameter_s_gradient_counts_for_the_cut():
    """Stacked, it has no dimension beside the members'; together and alone must agree."""
    values = {"target": "helpers_tasks:with_a_scalar", "clip_norm": 0.05, "score": "loss"}
    together, alone = (trained(batched=batched, **values) for batched in (True, False))
    assert together == pytest.approx(alone, rel=1e-3)
    assert together != pytest.approx(trained(batched=True, **values | {"clip_norm": None}), rel=1e-3)
    trainer = OwnTrainer(settings(target="helpers_tasks:with_a_scalar"), KERNEL, "cpu", 4)
    networks = trainer.together(MEMBERS)
    trainer.backward(networks, trainer.orders(MEMBERS)[0])
    networks.clip(1e-3)
    lengths = sum(p.grad.reshape(4, -1).square().sum(dim=1) for p in networks.parameters.values()).sqrt()
    assert networks.parameters["scale"].grad.shape == (4,)
    # The length of each member's gradient is what it was cut to.
    assert lengths.tolist() == pytest.approx([1e-3] * 4, rel=1e-2)


def test_adamw_schedule_and_warm_up_equal_a_plain_loop():
    values = {
        "optimiser": "adamw", "weight_decay": 0.5, "schedule": "cosine", "warmup": 0.25, "learning_rate": 3e-2,
        "score": "loss",
    }  # fmt: skip
    loss = helpers_tasks.cross_entropy
    expected = [by_hand(settings(**values), member, loss, minus(loss)) for member in MEMBERS]
    assert trained(**values) == pytest.approx(expected, rel=1e-3)
    assert trained(**values | {"weight_decay": 0.0}) != pytest.approx(expected, rel=1e-3)


# --- precision ---


@pytest.mark.parametrize("batched", [True, False])
def test_bfloat16_equals_a_plain_loop_under_autocast(batched):
    """To within bfloat16's three digits: an activation of ours computes in float32, torch's own in bfloat16."""
    values = {"precision": "bfloat16", "score": "loss"}
    loss = helpers_tasks.cross_entropy
    expected = [by_hand(settings(**values), member, loss, minus(loss)) for member in MEMBERS]
    found = trained(batched=batched, **values)
    assert found == pytest.approx(expected, rel=1e-2)
    assert found != trained(batched=batched, score="loss")


def test_bfloat16_together_is_bfloat16_alone():
    s = settings("letters", precision="bfloat16")
    trainer = OwnTrainer(s, KERNEL, "cpu", 4)
    check_network(s)
    with random_numbers_of(0):
        together = trainer.backward(trainer.together(MEMBERS), trainer.orders(MEMBERS)[0])
        alone = trainer.backward(trainer.alone(MEMBERS[1]), trainer.orders(MEMBERS[1:2])[0])
    assert together.dtype == alone.dtype == torch.float32
    assert torch.allclose(together[1], alone[0], rtol=0.05, atol=0.05)
    assert _difference(OwnTrainer(settings("letters"), KERNEL, "cpu", 4)) == ""


# --- what is wrong is said ---


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "cross_entrpy"}, "unknown loss 'cross_entrpy'; expected one of .*did you mean 'cross_entropy'"),
        ({"score": "accurcy"}, "unknown score 'accurcy'; expected one of accuracy, .*did you mean 'accuracy'"),
        ({"score": "digits"}, "score digits does not go with loss cross_entropy; try accuracy"),
        ({"loss": "squared_error", "ignore_index": 0}, "ignore_index goes with loss cross_entropy"),
        ({"loss": "a:b", "ignore_index": 0}, "leaves such labels out itself"),
        ({"clip_norm": 0}, "clip_norm: .*greater than 0"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_refused_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        settings(**values)


def all_ignored(seed=0):
    return [(inputs, torch.full_like(labels, 3)) for inputs, labels in helpers_tasks.vectors(seed)]


def constant(seed=0):
    return [(inputs, torch.ones(len(labels), 2)) for inputs, labels in helpers_tasks.vectors(seed)]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("padded", {}, "the lowest label of the training part .* is -100; expected .* ignore_index: -100"),
        ("numbers", {}, r"are torch.float32 \[128, 2\]; expected torch.int64 \[examples\] or \[examples, positions\]"),
        (
            "classes",
            {"loss": "squared_error"},
            r"are torch.int64 \[128\]; expected torch.float32 \[examples, targets\]",
        ),
        ("numbers", {"loss": "binary_cross_entropy"}, "hold other numbers than 0 and 1"),
        (
            "numbers",
            {"loss": "squared_error", "target": "helpers_networks:mlp"},
            r"returned torch.float32 \[32, 4\]; expected outputs torch.float32 \[32, 2\]",
        ),
        ("classes", {"ignore_index": 3, "data": {"target": f"{__name__}:all_ignored"}}, "are 3, the ignore_index"),
        (
            "numbers",
            {"loss": "squared_error", "data": {"target": f"{__name__}:constant"}},
            "a target of the training part .* is the same for all",
        ),
        ("classes", {"loss": "helpers_tasks:raising"}, "helpers_tasks:raising raised SystemExit: no more; expected a"),
        (
            "classes",
            {"loss": "helpers_tasks:per_example"},
            r"per_example returned a tensor \[32\]; expected a tensor of",
        ),
        ("classes", {"loss": "helpers_tasks:without_gradient"}, r"returned a tensor \[\]; expected .* with a gradient"),
        ("classes", {"score": "helpers_tasks:no_number"}, "raised ValueError: .*; expected a number"),
        ("classes", {"score": "helpers_tasks:gone"}, "helpers_tasks has no 'gone'"),
    ],
)
def test_what_does_not_fit_is_said(kind, values, message):
    with pytest.raises(ConfigError, match=message):
        check_network(settings(kind, **values))


# --- the name ---


def test_a_proxy_without_later_settings_has_the_name_that_it_had_before_them():
    """Written down from a commit that did not have them."""
    assert proxy_name(settings(source="0123456789abcdef"), "torch", "cpu") == "helpers_networks:mlp-7822ae1da7"


def test_the_source_of_loss_and_score_counts():
    """They lie in another file than network and data."""
    digests = {source_digest(settings(**v)) for v in ({}, {"loss": "helpers_tasks:cross_entropy"}, {"score": "loss"})}
    assert len(digests) == 2
