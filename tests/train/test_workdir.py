"""The work directory: whose it is, and what happens when it is taken, gone or closed to writing."""

import errno
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.checkpoints.processes import GivenProcesses
from perceiver_jax.errors import CheckpointError, ConfigError
from perceiver_jax.train.metrics import MetricsFile
from perceiver_jax.train.workdir import Workdir, write_json
from tests.checkpoints.several import together
from tests.train.fake import experiment


def test_another_host_is_named(tmp_path: Path) -> None:
    lock = (tmp_path / ".lock").open("a+")
    lock.write("process 4711 on worker-7\n00ff\n")
    lock.flush()
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(CheckpointError, match="in use by process 4711 on worker-7. Wait until"):
        Workdir(tmp_path, experiment())
    lock.close()
    # What a killed process of another host has left does not matter: the lock is free.
    assert (tmp_path / ".lock").read_text().startswith("process 4711")
    workdir = Workdir(tmp_path, experiment())
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    workdir.close()


def test_where_locks_do_not_reach_the_later_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts on a file system that knows no locks."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    lines: list[str] = []
    first = Workdir(tmp_path, experiment(), report=lines.append)
    first.check()
    second = Workdir(tmp_path, experiment(), report=lines.append)
    assert len(lines) == 2 and "cannot be locked (No locks available): see to it" in lines[0]
    second.check()
    with pytest.raises(CheckpointError, match=f"was taken over by process {os.getpid()} on "):
        first.check()
    first.close()
    second.close()


@pytest.mark.parametrize("way", ["deleted", "moved", "replaced", "lock deleted"])
def test_a_vanished_workdir_is_noticed_at_the_next_write(tmp_path: Path, way: str) -> None:
    path = tmp_path / "run"
    workdir = Workdir(path, experiment())
    metrics = MetricsFile(workdir.metrics_path, last_step=0, check=workdir.check)
    metrics.write(1, "train", {"loss": 1.0}, {})
    if way == "deleted":
        shutil.rmtree(path)
    elif way == "lock deleted":
        (path / ".lock").unlink()
    else:
        path.rename(tmp_path / "elsewhere")
        if way == "replaced":
            path.mkdir()
    expected = "its .lock is gone" if way == "lock deleted" else "run has vanished"
    for write in (
        lambda: metrics.write(2, "train", {"loss": 1.0}, {}),
        metrics.sync,
        lambda: workdir.write_final_metrics({"step": 1}),
    ):
        with pytest.raises(CheckpointError, match=expected):
            write()
    assert path.exists() == (way in ("replaced", "lock deleted"))
    assert way != "replaced" or not list(path.iterdir())
    metrics.close()
    workdir.close()


def test_entries_wait_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lines = tmp_path / "metrics.jsonl", list[str]()
    metrics = MetricsFile(path, last_step=0, report=lines.append)
    metrics.write(1, "train", {"loss": 1.0}, {})
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if len(data) > 10:
            return real(descriptor, bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    for step in (2, 3):
        metrics.write(step, "train", {"loss": 1.0 / step}, {})
    with pytest.raises(OSError, match="No space left"):
        metrics.sync()
    with pytest.raises(CheckpointError, match="cannot be written: No space .* the same command ag"):
        metrics.complete()
    assert [entry["step"] for entry in read_metrics(path)] == [1]
    assert path.read_bytes().endswith(b"}\n")  # no half of a line
    assert len(lines) == 1 and "metrics.jsonl cannot be written: No space left" in lines[0]
    monkeypatch.undo()
    metrics.write(4, "test", {"loss": 0.5}, {"unix_time": 1.0})
    metrics.close()
    assert read_metrics(path) == metrics.entries
    assert [entry["step"] for entry in metrics.entries] == [1, 2, 3, 4]


def test_metrics_that_were_deleted_are_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path, last_step=0)
    metrics.write(1, "train", {"loss": 1.0}, {})
    path.unlink()
    metrics.write(2, "train", {"loss": 0.5}, {})
    metrics.write(3, "train", {"loss": 0.25}, {})
    metrics.close()
    assert [entry["loss"] for entry in read_metrics(path)] == [1.0, 0.5, 0.25]


def test_metrics_that_were_deleted_from_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lines = tmp_path / "metrics.jsonl", list[str]()
    metrics = MetricsFile(path, last_step=0, report=lines.append)
    metrics.write(1, "train", {"loss": 1.0}, {})
    path.unlink()

    def write_bytes(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    metrics.write(2, "train", {"loss": 0.5}, {})
    assert len(lines) == 1 and "what is to be written waits" in lines[0]
    with pytest.raises(CheckpointError, match="No space left"):
        metrics.complete()
    monkeypatch.undo()
    metrics.complete()
    metrics.close()
    assert [entry["loss"] for entry in read_metrics(path)] == [1.0, 0.5]


def test_metrics_that_cannot_be_written_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl", last_step=0)

    def write(*_: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(CheckpointError, match="Read-only file system. Mount it for writing. Then"):
        metrics.write(1, "train", {"loss": 1.0}, {})
    metrics.close()


def test_a_json_file_that_cannot_be_written_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "final_metrics.json"
    write_json(path, {"step": 1})

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match="final_metrics.json cannot be written: No space"):
        write_json(path, {"step": 2})
    assert json.loads(path.read_text()) == {"step": 1} and os.listdir(tmp_path) == [path.name]


def test_one_of_several_processes_claims_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def body(processes: GivenProcesses) -> Any:
        workdir = Workdir(path, experiment(), processes=processes)
        metrics = MetricsFile(
            workdir.metrics_path, last_step=0, read_only=not processes.primary, check=workdir.check
        )
        metrics.write(1, "train", {"loss": 0.5}, {})
        metrics.sync()
        assert workdir.final_metrics() is None
        workdir.write_final_metrics({"step": 1 if processes.primary else 2})
        final = workdir.final_metrics()
        metrics.close()
        workdir.close()
        return final, metrics.entries

    found = together(body, body, body)
    entry = {"step": 1, "split": "train", "loss": 0.5, "timing": {}}
    assert found == [({"step": 1}, [entry])] * 3
    assert read_metrics(path / "metrics.jsonl") == [entry]


def test_processes_with_different_experiments_are_refused(tmp_path: Path) -> None:
    def body(processes: GivenProcesses) -> None:
        every = 6 if processes.primary else 7  # Only what is written when: they would wait.
        Workdir(tmp_path / "run", experiment(trainer__checkpoint_every=every), processes=processes)

    first, second = together(body, body)
    assert isinstance(first, ConfigError) and "have different configurations." in str(first)
    assert isinstance(second, ConfigError)
    assert "trainer.checkpoint_every: 6 in process 0, 7 here" in str(second)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("reason", ["in use", "another experiment", "not shared"])
def test_no_process_goes_on_if_one_is_refused(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "run"
    other = tmp_path / "other host" / "run"
    held: Workdir | None = None
    if reason == "in use":
        held = Workdir(path, experiment())
    elif reason == "another experiment":
        (path / "checkpoints" / "5").mkdir(parents=True)
        config = config_lib.to_dict(experiment(trainer__seed=5))
        (path / "config.json").write_text(json.dumps(config))

    def body(processes: GivenProcesses) -> None:
        mine = other if reason == "not shared" and not processes.primary else path
        Workdir(mine, experiment(), processes=processes)

    first, second = together(body, body)
    assert isinstance(second, CheckpointError)
    if reason == "not shared":
        assert "other host/run cannot be opened: No such file" in str(second)
        assert str(first) == f"Another process of this run was refused: {second}"
        Workdir(path, experiment()).close()  # it was given back
    else:
        assert isinstance(first, ConfigError if reason == "another experiment" else CheckpointError)
        assert str(second) == f"Another process of this run was refused: {first}"
    if held is not None:
        held.close()
