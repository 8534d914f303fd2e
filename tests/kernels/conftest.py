import pytest
import torch

GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=GPU)])
def device(request):
    """The Triton kernel on the CPU by Triton's interpreter, and on a GPU where there is one."""
    from helpers_triton import device_named

    with device_named(request.param) as device:
        yield device
