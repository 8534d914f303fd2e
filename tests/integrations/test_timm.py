import copy
import pickle

import pytest
import torch

from rlsearch import Formula
from rlsearch.errors import InputError
from rlsearch.formula.module import Activation
from rlsearch.integrations.timm import act_layer

torch.set_num_threads(1)


@pytest.mark.parametrize("arguments", [{}, {"inplace": True}, {"inplace": False}], ids=str)
def test_a_layer_is_made_as_timm_makes_one(arguments):
    layer = act_layer("atanline(x)")(**arguments)
    x = torch.linspace(-3, 3, 7)
    kept = x.clone()
    expected = Formula.parse("atanline(x)")(kept)
    for module in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(module(x), expected)
        assert torch.equal(x, kept)
    assert isinstance(layer, Activation)
    assert repr(layer) == f"Activation({Formula.parse('atanline(x)')})"
    assert not layer.state_dict()


def test_another_input_is_refused():
    with pytest.raises(InputError, match="has the inputs x, g; expected a function of x alone"):
        act_layer("swiglu(x, g)")


@pytest.mark.parametrize(("name", "settings"), [("resnet10t", {}), ("vit_tiny_patch16_224", {"depth": 2})])
def test_a_model_trains(name, settings):
    """Two images of two classes by heart: a guess costs log(2) = 0.69 nats."""
    timm = pytest.importorskip("timm", reason="timm takes torchvision, which does not go with CPU builds of torch")
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8} if name.startswith("vit") else {}
    model = timm.create_model(name, act_layer=act_layer("atanline(x)"), num_classes=2, **settings, **sizes)
    assert sum(isinstance(module, Activation) for module in model.modules()) >= 2
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    for _ in range(20):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.35
