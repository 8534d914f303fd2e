"""Runs that die."""

import sqlite3
import subprocess
import time
from contextlib import contextmanager

from helpers import command, environment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import rlsearch.runs.train as training
from rlsearch.judging.archive import Archive


def steps_by_tag(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


class Killed(BaseException):
    """As sudden as a signal: nothing catches it, and nothing is written after it."""


@contextmanager
def death(monkeypatch, moment):
    """Dies at the given one of all moments before and after something is written."""
    moments = 0

    def pass_by():
        nonlocal moments
        moments += 1
        if moments >= moment:
            raise Killed

    def dangerous(write):
        def wrapped(*arguments, **options):
            pass_by()
            write(*arguments, **options)
            pass_by()

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("add_evaluations", "add_round"):
            patch.setattr(Archive, name, dangerous(getattr(Archive, name)))
        patch.setattr(training, "save_checkpoint", dangerous(training.save_checkpoint))
        patch.setattr(training.Monitor, "on_round", dangerous(training.Monitor.on_round))
        yield


def trained(folder):
    """The number of trainings in the archive of a process that is writing it; 0 before there is one."""
    try:
        with sqlite3.connect(f"file:{folder / 'archive.sqlite'}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()
        connection.close()
    except sqlite3.Error:
        return 0
    return count


def start(*arguments):
    return subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_for(condition, process):
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
