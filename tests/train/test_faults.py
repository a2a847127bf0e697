"""Runs whose disk fails them, or whose clock."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perceiver_jax.errors import CheckpointError
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.loop import train
from tests.train.fake import MLP, Crash, experiment, history, run
from tests.train.small_disk import SmallDisk, small_disk

__all__ = ["small_disk"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves the picture out: it takes longer than the training."""
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
    yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which nothing fails."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
        run(workdir)
    return workdir


def _assert_same_results(found: Path, expected: Path) -> None:
    assert history(found) == history(expected)
    name = "final_metrics.json"
    assert (found / name).read_bytes() == (expected / name).read_bytes()
    kept = [sorted(os.listdir(path / "checkpoints")) for path in (found, expected)]
    assert kept[0] == kept[1]


def _at(**actions: Callable[[], None]) -> Callable[[int], None]:
    """Returns an `on_step` that acts after steps: `_at(step_7=...)`."""

    def on_step(step: int) -> None:
        actions.get(f"step_{step}", lambda: None)()

    return on_step


@pytest.mark.core
def test_disk_full_by_a_limit_on_files(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.full_disk", str(tmp_path)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    told, _, results = done.stdout.partition("\nresults ")
    runs = json.loads(results)

    # Steps 6 and 12 could not be saved, nothing of it stayed, and nothing else was lost.
    assert runs["passing"]["errors"] == []
    for step in (6, 12):
        assert f"Saving checkpoint {step} in {tmp_path / 'passing'}/checkpoints failed: " in told
    assert "File too large. Raise the limit on the size of files (ulimit -f). Training goes" in told
    assert "metrics.jsonl cannot be written: File too large" in told
    for name in ("passing", "at the end"):
        assert {**runs[name], "errors": []} == runs["whole"]

    (error,) = runs["lasting"]["errors"]
    for part in ("checkpoint 15 in", "File too large", "number 3 in a row",
                 "The last good checkpoint is of step 6; run the same command again"):  # fmt: skip
        assert part in error
    (error,) = runs["at the end"]["errors"]
    assert "checkpoint 23 in" in error and "The last good checkpoint is of step 18" in error
    assert runs["lasting"]["history"] == runs["whole"]["history"]
    assert runs["lasting"]["final"] == runs["whole"]["final"]


def test_a_disk_that_is_full_for_a_while(
    small_disk: SmallDisk, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = small_disk.path / "run"
    on_step = _at(step_4=small_disk.fill, step_14=small_disk.empty)
    train(experiment(), workdir, model=MLP(), on_step=on_step)
    told = capsys.readouterr().out
    assert "Saving checkpoint 6 in" in told and "Saving checkpoint 12 in" in told
    assert told.count("No space left on device. Free some space there. Training goes on") >= 2
    _assert_same_results(workdir, whole)


def test_a_disk_that_becomes_read_only(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does it after an error of the disk; nobody else may while files are open."""
    real = os.mkdir

    def refuse(path: Any, *rest: Any, **options: Any) -> None:
        if "checkpoint-tmp" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        real(path, *rest, **options)

    def on_step(step: int) -> None:
        if step == 8:
            monkeypatch.setattr(os, "mkdir", refuse)

    with pytest.raises(CheckpointError) as caught:
        train(experiment(), tmp_path / "run", model=MLP(), on_step=on_step)
    message = str(caught.value)
    assert "Saving checkpoint 12 in" in message  # at once, though 18 is to come
    assert "Read-only file system. Mount it for writing. The last good checkpoint is" in message
    monkeypatch.setattr(os, "mkdir", real)
    run(tmp_path / "run")
    _assert_same_results(tmp_path / "run", whole)


def test_a_disk_that_is_read_only_from_the_start(small_disk: SmallDisk, whole: Path) -> None:
    """Also for root, whom permissions do not stop."""
    small_disk.set_writable(False)
    with pytest.raises(CheckpointError, match="run cannot be written: Read-only file system. Ch"):
        run(small_disk.path / "run")
    small_disk.set_writable(True)
    with pytest.raises(Crash):
        run(small_disk.path / "run", crash_at=14)
    small_disk.set_writable(False)
    with pytest.raises(CheckpointError, match="run cannot be written: Read-only file system. Ch"):
        run(small_disk.path / "run")
    found = evaluate_checkpoint(small_disk.path / "run", model=MLP())  # reading needs no writing
    assert found["step"] == 12
    small_disk.set_writable(True)
    run(small_disk.path / "run")
    _assert_same_results(small_disk.path / "run", whole)


def test_a_disk_that_is_unmounted(small_disk: SmallDisk) -> None:
    workdir = small_disk.path / "run"
    with pytest.raises(CheckpointError, match="run has vanished: it was deleted, moved or unmoun"):
        train(experiment(), workdir, model=MLP(), on_step=_at(step_8=small_disk.unmount))
    assert os.listdir(small_disk.path) == []  # nothing was made anew beneath


@pytest.mark.parametrize("at", [7, 12])
def test_a_workdir_that_is_deleted(tmp_path: Path, at: int) -> None:
    workdir = tmp_path / "run"

    def delete(step: int) -> None:
        while step == at and workdir.exists():  # a save may be writing there
            shutil.rmtree(workdir, ignore_errors=True)

    with pytest.raises(CheckpointError, match="run has vanished"):
        train(experiment(), workdir, model=MLP(), on_step=delete)
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_jumps(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Years back and forth at every look, in one life and from one life to the next."""
    real, jumps, year = time.time, random.Random(5), 365.0 * 24 * 3600

    def jumping() -> float:
        return real() + jumps.uniform(-20, 20) * year

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    for crash_at in (9, 14):
        with pytest.raises(Crash):
            run(tmp_path / "run", crash_at=crash_at)
    run(tmp_path / "run")
    _assert_same_results(tmp_path / "run", whole)
    found = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    stamps = [entry["timing"]["unix_time"] for entry in found]
    assert stamps != sorted(stamps)  # it did jump
    assert all(entry["timing"].get("examples_per_second", 0) >= 0 for entry in found)


def test_the_best_checkpoint(tmp_path: Path) -> None:
    changes = {"trainer__checkpoint_every": "5", "trainer__keep__last": "1",
               "trainer__keep__metric": "loss", "schedule": "Constant",
               "schedule__base_lr": "0.3"}  # fmt: skip
    run(tmp_path, **changes)
    losses = {entry["step"]: entry["loss"] for entry in history(tmp_path)
              if entry["split"] == "test"}  # fmt: skip
    best = min(losses, key=lambda step: losses[step])
    assert best != 23  # else the test shows nothing
    assert sorted(map(int, os.listdir(tmp_path / "checkpoints"))) == [best, 23]
    found = evaluate_checkpoint(tmp_path, step="best", model=MLP())
    assert found["step"] == best and found["loss"] == pytest.approx(losses[best], rel=1e-6)
    shutil.rmtree(tmp_path / "checkpoints" / str(best))
    assert evaluate_checkpoint(tmp_path, step="best", model=MLP())["step"] == 23
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match="no best checkpoint: none of those there .23. was"):
        evaluate_checkpoint(tmp_path, step="best", model=MLP())
