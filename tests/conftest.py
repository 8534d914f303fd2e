"""What the tests of all verbs share."""

import signal
import sys

import pytest
from helpers import make_config, proxies

from rlsearch import cli, train


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process; returns exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rlsearch", *map(str, arguments)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        handler = signal.getsignal(signal.SIGTERM)
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return train(make_config(proxies(folder), 2, 12), "real", runs=folder).run.folder
