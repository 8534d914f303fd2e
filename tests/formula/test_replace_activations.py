import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from rlsearch import Formula, replace_activations
from rlsearch.errors import InputError
from rlsearch.formula.module import Activation
from rlsearch.formula.replacing import KINDS

torch.set_num_threads(1)

SILU = Formula.parse("x * sigmoid(x)")


def new():
    return SILU.to_module()


def test_replaces_and_counts():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Tanh())
    assert replace_activations(model, nn.ReLU, new()) == 2
    assert [type(m).__name__ for m in model.modules() if not list(m.children())] == [
        "Linear", "Activation", "Linear", "Activation", "Tanh",
    ]  # fmt: skip
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    silu = nn.functional.silu
    torch.testing.assert_close(model(x), torch.tanh(silu(model[2][0](silu(model[0](x))))))


def test_copies_are_independent_of_each_other_and_of_the_original():
    model, original = nn.Sequential(nn.ReLU(), nn.ReLU()), nn.PReLU()
    assert replace_activations(model, nn.ReLU, original) == 2
    assert len({id(model[0]), id(model[1]), id(original)}) == 3
    assert len({id(m.weight) for m in (*model, original)}) == 3


class _Shared(nn.Module):
    def __init__(self):
        super().__init__()
        relu = nn.ReLU()
        self.first = self.second = relu
        self.inner = nn.ModuleDict({"third": relu})
        self.none = None
        self.register_module("empty", None)


def test_a_shared_module_is_replaced_everywhere():
    """Under two names in one parent, and in two parents."""
    model = _Shared()
    assert replace_activations(model, nn.ReLU, new()) == 3
    assert all(isinstance(m, Activation) for m in (model.first, model.second, model.inner["third"]))
    assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    assert model.empty is None


def test_a_shared_parent_is_changed_once():
    block = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model = nn.Sequential(block, block)
    assert replace_activations(model, nn.ReLU, new()) == 1
    assert model[0] is model[1]
    assert isinstance(block[1], Activation)


class _LoudReLU(nn.ReLU):
    pass


def test_subclasses_are_replaced_too_but_not_the_other_way_round():
    model = nn.Sequential(_LoudReLU(), nn.ReLU())
    assert replace_activations(model, _LoudReLU, new()) == 1
    assert [type(m).__name__ for m in model] == ["Activation", "ReLU"]
    model = nn.Sequential(_LoudReLU(), nn.ReLU())
    assert replace_activations(model, nn.ReLU, new()) == 2
    assert replace_activations(model, Activation, nn.ReLU()) == 2  # and back


def test_nothing_to_replace():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Sequential(nn.Linear(2, 2), nn.GELU()))
    with pytest.raises(InputError, match=r"no ReLU module; its leaf modules are GELU, Linear, Tanh\."):
        replace_activations(model, nn.ReLU, new())
    assert type(model[1]) is nn.Tanh


def test_the_result_is_a_number_that_knows_its_places():
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(1, 1), nn.ReLU()))
    replaced = replace_activations(model, nn.ReLU, new())
    assert replaced == 2
    assert (repr(replaced), f"{replaced} in all") == ("2", "2 in all")
    assert replaced.places == ("0", "1.1")
    assert replaced.unreached == ()
    for twin in (copy.deepcopy(replaced), pickle.loads(pickle.dumps(replaced))):
        assert (twin, twin.places, twin.unreached) == (2, ("0", "1.1"), ())


# --- kinds ---


def library_class(name):
    """A class of a library that is not imported."""
    return type(name, (nn.Module,), {"forward": lambda self, x: x})


@pytest.mark.parametrize("name", KINDS)
def test_a_name_stands_for_every_librarys_classes(name):
    modules = [library_class(each)() for each in KINDS[name].modules]
    model = nn.Sequential(*modules, nn.Identity())
    assert replace_activations(model, name, new()) == len(modules)
    assert type(model[-1]) is nn.Identity


def test_a_name_stands_for_torchs_own_class_first():
    for name in KINDS:
        assert hasattr(nn, KINDS[name].modules[0])


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        ((nn.ReLU, nn.GELU), "SiLU"),
        ([nn.ReLU, "gelu"], "SiLU"),
        (("silu", "relu"), "GELU"),
        ("gelu", "ReLU SiLU"),
    ],
)
def test_several_at_once(old, kept):
    model = nn.Sequential(nn.ReLU(), nn.GELU(), nn.SiLU())
    assert replace_activations(model, old, new()) == 3 - len(kept.split())
    assert [type(m).__name__ for m in model if not isinstance(m, Activation)] == kept.split()


@pytest.mark.parametrize(
    ("old", "given", "message"),
    [
        ("geluu", new(), r"unknown activation 'geluu'; expected one of relu, .*; did you mean 'gelu'\?, or a class"),
        (nn.ReLU(), new(), r"the old activation is ReLU\(\); expected a class such as torch.nn.ReLU or its name"),
        ([nn.ReLU, int], new(), "the old activation is <class 'int'>; expected a class"),
        (nn.ReLU, SILU, r"the new activation is Formula.parse\(.*; expected a torch module, such as formula.to_module"),
        (nn.ReLU, nn.SiLU, "the new activation is <class .*SiLU'>; expected a torch module"),
        (("tanh", nn.GELU), new(), "the model contains no tanh or GELU module; its leaf modules are Linear, ReLU"),
    ],
)
def test_wrong_arguments(old, given, message):
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with pytest.raises(InputError, match=message):
        replace_activations(model, old, given)
    assert type(model[1]) is nn.ReLU


def test_the_model_itself():
    with pytest.raises(InputError, match="the model itself is a GELU; use the new module in its place"):
        replace_activations(nn.GELU(), "gelu", new())


# --- hooks ---


def test_hooks_and_their_handles_go_over():
    model, seen = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), []
    handles = [
        model[1].register_forward_hook(lambda *_: seen.append("forward")),
        model[1].register_forward_pre_hook(lambda *_: seen.append("before")),
        model[1].register_full_backward_hook(lambda *_: seen.append("backward")),
    ]
    given = new()
    given.register_forward_hook(lambda *_: seen.append("its own"))
    replace_activations(model, nn.ReLU, given)
    model(torch.ones(1, 2)).sum().backward()
    assert seen == ["before", "forward", "its own", "backward"]
    for handle in handles:
        handle.remove()
    model(torch.ones(1, 2)).sum().backward()
    assert seen[4:] == ["its own"]


def test_the_mode_goes_over():
    model = nn.Sequential(nn.ReLU(), nn.ReLU()).eval()
    replace_activations(model, nn.ReLU, nn.Dropout())
    assert not model[0].training


# --- torch's fast paths ---


@pytest.mark.parametrize("old", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize("padded", [False, True])
def test_a_transformer_computes_the_same_in_evaluation_as_in_training(old, padded):
    """Without gradients its layers would take a fast path, in which ReLU and GELU are built in."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=old(), batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    assert replace_activations(model, old, new()) == 2
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]]) if padded else None
    with torch.no_grad():
        trained, evaluated = model.train()(x, src_key_padding_mask=mask), model.eval()(x, src_key_padding_mask=mask)
    torch.testing.assert_close(trained, evaluated)  # attention has a fast path of its own, which rounds otherwise
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(model(leaf, src_key_padding_mask=mask), evaluated)


def test_other_layers_keep_their_fast_path():
    layers = [nn.TransformerEncoderLayer(8, 2, 16, activation=a, batch_first=True) for a in (nn.ReLU(), nn.GELU())]
    replace_activations(nn.ModuleList(layers), nn.ReLU, new())
    assert [layer.activation_relu_or_gelu for layer in layers] == [0, 2]


# --- what cannot be replaced ---


class _Held(nn.Module):
    """A module of the model, and others as a library may keep them."""

    def __init__(self, **attributes):
        super().__init__()
        self.act = nn.GELU()
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    ("held", "what"),
    [
        (functional.gelu, "the function gelu"),
        (partial(functional.gelu, approximate="tanh"), "the function gelu"),
        ([functional.relu, functional.gelu], "the function gelu"),
        ({"act": (functional.gelu,)}, "the function gelu"),
        ([nn.GELU(), nn.ReLU()], "a GELU in a list or dict"),
        ({"block": nn.Sequential(nn.Linear(1, 1), nn.GELU())}, "a GELU in a list or dict"),
    ],
)
@pytest.mark.parametrize("old", [nn.GELU, "gelu"])
def test_what_is_not_reached_is_said(held, what, old):
    model = nn.Sequential(_Held(other=held))
    with pytest.warns(UserWarning, match=f"^not replaced: 0.other .{what}.; make them modules of the model$"):
        replaced = replace_activations(model, old, new())
    assert (replaced, replaced.places) == (1, ("0.act",))
    assert replaced.unreached == (f"0.other ({what})",)


def test_functions_of_other_kinds_are_no_concern():
    model = _Held(other=functional.relu, more=[torch.tanh, print, None, 3])
    assert replace_activations(model, nn.GELU, new()).unreached == ()
    assert model.other is functional.relu


@pytest.mark.parametrize("function", [functional.relu, torch.relu, torch.relu_, functional.relu_])
def test_a_model_of_functions_alone_is_refused(function):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.activation = function

    name = function.__name__
    with pytest.raises(InputError, match=rf"for activation \(the function {name}\) cannot be; make it a module"):
        replace_activations(Functional(), nn.ReLU, new())


def test_a_transformer_by_name_is_refused():
    model = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    with pytest.raises(InputError, match=r"for activation \(the function gelu\) cannot be"):
        replace_activations(model, "gelu", new())
