import pytest
import torch

from rlsearch.common.device import device_type, is_cpu


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "cpu:0"])
def test_the_type_is_the_one_that_torch_says(name):
    for device in (name, torch.device(name)):
        assert device_type(device) == torch.device(name).type
        assert is_cpu(device) is name.startswith("cpu")
