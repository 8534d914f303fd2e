import logging
import subprocess
import sys
from typing import get_args

import pytest

from rlsearch.errors import ConfigError
from rlsearch.kernels import choice, default_kernel, kernel_named
from rlsearch.runs.config import Config


@pytest.fixture
def _without(monkeypatch):
    choice._advise.cache_clear()
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    yield
    choice._advise.cache_clear()


@pytest.mark.usefixtures("_without")
@pytest.mark.parametrize(
    ("device", "name", "install"), [("cpu", "numba", r"pip install 'rlsearch\[numba\]'"), ("cuda:1", "triton", "pip")]
)
def test_without_the_compiler_torch_is_taken_and_advice_given_once(device, name, install, caplog):
    with caplog.at_level(logging.INFO, logger="rlsearch"):
        assert [default_kernel(device).name, kernel_named("auto", device).name] == ["torch", "torch"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{name} is not installed")
    assert "pip install" in record.getMessage()
    with pytest.raises(ConfigError, match=f"the kernel '{name}' needs {name}, which is not installed: {install}"):
        kernel_named(name, device)


@pytest.mark.parametrize(("name", "device"), [("numba", "cpu"), ("triton", "cuda"), ("triton", "cuda:1")])
def test_the_fastest_kernel_of_a_device(name, device, caplog):
    pytest.importorskip(name)
    with caplog.at_level(logging.WARNING, logger="rlsearch"):
        assert default_kernel(device).name == name
        chosen = [kernel_named(wanted, device).name for wanted in ("auto", "torch", name)]
    assert chosen == [name, "torch", name]
    assert not caplog.records


@pytest.mark.parametrize(("name", "device", "kind"), [("numba", "cuda", "the CPU"), ("triton", "cpu", "CUDA devices")])
def test_a_kernel_of_another_device_is_refused(name, device, kind):
    pytest.importorskip(name)
    with pytest.raises(ConfigError, match=f"the kernel '{name}' is for {kind}, and the device is '{device}'; take"):
        kernel_named(name, device)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="'numbda'; expected one of auto, torch, numba, triton; did you mean 'numba'"):
        kernel_named("numbda", "cpu")
    assert get_args(Config.model_fields["kernel"].annotation) == choice.NAMES


def test_compilers_are_imported_where_they_are_used():
    code = "import sys, rlsearch.kernels, rlsearch.runs.train; assert not {'numba', 'triton'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
