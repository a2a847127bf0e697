"""Reader processes: the same batches, and an error instead of a wait whatever becomes of them."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.loader import Shard, eval_batches, train_batches
from perceiver_jax.data.processes import ReaderPool
from perceiver_jax.errors import DataError
from tests.data.sources import Constant, Faulty, OnlyHere, Unpicklable


def _train(data: Faulty, **changes: Any) -> Iterator[dict[str, Any]]:
    options = {"batch_size": 4, "seed": 0, "start_step": 0, "stop_step": 9} | changes
    return train_batches(data, data.make_source("train"), **options)


def _assert_same(found: Any, expected: Any) -> None:
    assert found.keys() == expected.keys()
    for key in expected.keys() - {"process"}:
        if isinstance(expected[key], dict):
            _assert_same(found[key], expected[key])
        else:
            np.testing.assert_array_equal(found[key], expected[key])
            assert found[key].dtype == expected[key].dtype


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.core
def test_processes_read_what_threads_read() -> None:
    expected = list(_train(Faulty(), threads=0))
    found = list(_train(Faulty(), processes=2))
    for each, other in zip(found, expected, strict=True):
        _assert_same(each, other)
    readers = {process for batch in found for process in batch["process"]}
    assert os.getpid() not in readers
    assert not any(_is_alive(process) for process in readers)  # closed at the end of the stream
    for each, other in zip(_train(Faulty(), threads=3), expected, strict=True):
        _assert_same(each, other)


def test_evaluation_by_processes_in_part_of_the_batches() -> None:
    def read(**options: int) -> list[dict[str, Any]]:
        source = Faulty().make_source("test")
        return list(eval_batches(source, batch_size=6, shard=Shard(1, 2), **options))

    for each, other in zip(read(processes=1), read(threads=0), strict=True):
        _assert_same(each, other)


def test_large_arrays_come_whole() -> None:
    rng = np.random.default_rng(0)
    arrays = {  # More than a socket holds, no multiple of a chunk, not contiguous, and none.
        "large": rng.standard_normal((3, 700_001)).astype(np.float32),
        "strided": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        "none": np.zeros((0, 5), np.int16),
        "scalar": np.float64(7.5),
    }
    pool = ReaderPool(Constant(arrays), 1)
    found, corrupt = pool.read(0)
    pool.close()
    assert corrupt == ()
    _assert_same(found, {name: np.asarray(value) for name, value in arrays.items()})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("kill", r"A reader process \(process id \d+\) was killed by SIGKILL.* memory runs out"),
        ("exit", "ended by itself, with exit code 0.*Run the same command again to go on"),
    ],
)
def test_a_reader_that_dies_while_it_reads(fault: str, message: str) -> None:
    batches = _train(Faulty(at=3, fault=fault), processes=2)
    with pytest.raises(DataError, match=message):
        list(batches)


def test_a_reader_that_is_killed_from_outside() -> None:
    batches = _train(Faulty(), processes=2, prefetch=2, stop_step=200)
    readers = {int(next(batches)["process"][0]) for _ in range(9)}
    os.kill(readers.pop(), signal.SIGKILL)
    with pytest.raises(DataError, match="killed by SIGKILL. That is how .* memory runs out: fewer"):
        list(batches)
    assert not any(_is_alive(process) for process in readers)  # the others are gone too
    with pytest.raises(StopIteration):  # and asking again does not wait
        next(batches)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_a_reader_that_has_hardly_begun(number: int) -> None:
    before = set(multiprocessing.active_children())
    pool = ReaderPool(Constant({"x": np.arange(3)}), 2)
    for process in set(multiprocessing.active_children()) - before:
        os.kill(process.pid or 0, number)  # Python is not up there yet
    for batch in range(4):
        np.testing.assert_array_equal(pool.read(batch)[0]["x"], [0, 1, 2])
    pool.close()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()  # and here nothing stays blocked


def test_readers_leave_stopping_to_the_program() -> None:
    batches = _train(Faulty(), processes=1, stop_step=50)
    reader = int(next(batches)["process"][0])
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(reader, number)
    assert {int(batch["process"][0]) for batch in batches} == {reader}


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 2}, {"processes": 1}])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bug", "ValueError: cannot reshape array of size 3"),
        ("sys.exit", "SystemExit: 3"),
        ("stop", "StopIteration: "),
        ("memory", "MemoryError: no 3 TB"),
    ],
)
def test_a_program_that_fails_is_no_corrupt_example(
    options: dict[str, int], fault: str, kind: str
) -> None:
    with pytest.raises(DataError) as caught:
        list(_train(Faulty(at=3, fault=fault), **options))
    message = str(caught.value)
    assert f"Reading example 3 (file_3.bin) failed with {kind}" in message
    assert "in _go_wrong" in message and "let the source raise CorruptExample" in message


def test_data_sets_that_processes_cannot_read() -> None:
    with pytest.raises(DataError, match="cannot pickle an open file.*reader_processes=0"):
        list(_train(Unpicklable(), processes=1))
    with pytest.raises(DataError, match="No module named 'perceiver_jax_experiment_mine'.*import"):
        list(_train(OnlyHere(), processes=1))


def test_readers_keep_off_the_accelerator() -> None:
    with pytest.raises(DataError, match=r"devices: \[CpuDevice\(id=0\)\]"):
        list(_train(Faulty(at=3, fault="jax"), processes=1))


@pytest.mark.parametrize(("how", "code"), [("kill", -signal.SIGKILL), ("leave", 0)])
def test_readers_end_with_their_program(how: str, code: int) -> None:
    program = subprocess.run(
        [sys.executable, "-m", "tests.data.sources", how],
        capture_output=True,
        text=True,
    )
    # The pipes close when the last reader, which holds them too, is gone: run() waits for that.
    assert program.returncode == code, program.stderr
    assert program.stderr == ""
    if how == "leave":
        assert not any(_is_alive(int(process)) for process in program.stdout.split())
