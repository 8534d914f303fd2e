"""Progress that nobody reads does not stop the work."""

import errno
import io
import os
import subprocess
import sys

import pytest
from helpers import command, environment, make_config

from rlsearch.cli.progress import Forgiving, watching
from rlsearch.runs.config import dump_config
from rlsearch.runs.folder import Run
from rlsearch.runs.overview import summary_of


class Full(io.StringIO):
    """A stream on a disk without room."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self):
        raise BrokenPipeError


def test_a_stream_that_cannot_be_written_is_no_error(monkeypatch):
    stream = Forgiving(Full())
    assert stream.write("text") == 4
    stream.flush()
    assert stream.isatty() is False
    monkeypatch.setattr(sys, "stderr", Full())
    with watching() as events:
        events.on_note("a note")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("how", ["a closed pipe", "a full device"])
def test_a_search_whose_log_cannot_be_written_goes_on(tmp_path, how):
    (tmp_path / "c.yaml").write_text(dump_config(make_config(rounds=4)))
    arguments = command("train", "c.yaml", "--name", "r")
    if how == "a full device":
        with open("/dev/full", "w") as full:
            code = subprocess.run(arguments, cwd=tmp_path, env=environment(), stderr=full, timeout=120).returncode
    else:
        reading, writing = os.pipe()
        os.close(reading)
        code = subprocess.run(arguments, cwd=tmp_path, env=environment(), stderr=writing, timeout=120).returncode
        os.close(writing)
    assert code == 0
    summary = summary_of(Run(tmp_path / "runs" / "r"))
    assert (summary.state, summary.rounds) == ("finished", 4)
