"""Processes that die, or whose code fails, are reported with the item they were at."""

import multiprocessing
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from perceiver_jax.data.conversion import workers
from perceiver_jax.data.conversion.workers import work_through
from perceiver_jax.errors import DataError
from tests.data.conversion.trouble import Trouble


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("killed", r"was killed by SIGKILL, at mesh 6\. That is .* memory runs out: fewer --work"),
        ("gone", r"ended by itself, with exit code 3, at mesh 6\. .*the same command goes on"),
        ("bug", r"(?s)Converting mesh 6 failed:.*ZeroDivisionError: by zero"),
        ("mistake", r"^the disk is full$"),
    ],
)
def test_a_process_that_dies_is_reported_with_the_mesh_it_was_at(kind, message):
    items = []
    with pytest.raises(DataError, match=message):
        work_through(Trouble(kind), [0, 1, 2], 1, items.append)
    assert items == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("crash", "crashed the process that read it (SIGSEGV)"), ("loop", "kept the process that re")],
)
def test_what_crashes_its_process_is_left_out_by_another_one(tmp_path, kind, reason):
    items = []
    work_through(Trouble(kind, str(tmp_path)), [0, 1, 2], 1, items.append)
    assert items == list(range(12))  # Each is told of once.
    assert (tmp_path / "6").read_text().startswith(reason)


def test_an_item_has_an_hour_of_the_processor(monkeypatch):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (5, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append((kind, limit)))
    monkeypatch.setattr(time, "process_time", lambda: 100.5)
    workers._allow_seconds()
    assert limits == [(resource.RLIMIT_CPU, (3701, resource.RLIM_INFINITY))]


_PROGRAM = """
import os, signal

from perceiver_jax.data.conversion.workers import work_through
from tests.data.conversion.trouble import Trouble

if __name__ == "__mp_main__":  # A process that imports the program, before it does anything.
    os.kill(os.getpid(), signal.SIGINT)
if __name__ == "__main__":
    try:
        work_through(Trouble("bug"), [0], 2, print)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_while_processes_start_is_silent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, program], env={"PYTHONPATH": root}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_ctrl_c_that_another_thread_gets_waits_until_a_process_has_started(monkeypatch):
    """Between the two the process would be told half of what to do."""
    seen = []
    context = multiprocessing.get_context("spawn")
    start = context.Process.start

    def raise_here():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.raise_signal(signal.SIGINT)

    def interrupted(process):
        other = threading.Thread(target=raise_here)
        other.start()
        other.join()
        start(process)
        seen.append(process)

    monkeypatch.setattr(context.Process, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work_through(Trouble("bug"), [0], 1, seen.append)
    (process,) = seen  # It was started, and nothing was done.
    assert process.exitcode == -signal.SIGKILL  # And taken away.
